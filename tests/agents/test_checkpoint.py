"""An agent restored from a checkpoint trains on bit for bit; what has no state is refused."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import RoutedPPO, VectorEnvAdapter, checkpoint
from agents.checkpoint import (
    load_policy,
    model_bytes,
    read_model_weights,
    read_state,
    restore,
    state_bytes,
    training_state,
)
from agents.rollout_buffer import NEGATIVE, OPEN, POSITIVE
from envs import Noisy, StepCoin, partial_grid_vec
from envs.wrappers import vector
from tests.agents.factories import (
    CORRIDOR,
    ROLLOUT,
    Corridor,
    assert_same_training,
    small_agent,
    small_env,
)

Vector = VectorEnv[Any, Any, Any]


def grid() -> Vector:
    return partial_grid_vec(32, horizon=12, flag="hidden", reward="true")


ENVIRONMENTS: dict[str, Callable[[], Vector]] = {
    "episodes": lambda: vector.PartialOversight(grid(), observed_probability=0.5),
    "steps": lambda: vector.PartialOversight(
        grid(), observer=Noisy(StepCoin(0.5), miss=0.2), flag="visible"
    ),
    "horizon": lambda: vector.PartialOversight(vector.FixedHorizon(grid(), 15)),
}


def wrapped_agent(case: str) -> RoutedPPO:
    return small_agent("naive", VectorEnvAdapter(ENVIRONMENTS[case]()))


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_restored_agent_equals_the_uninterrupted_one(case: str, tmp_path: Path) -> None:
    whole = wrapped_agent(case)
    whole.learn(3 * ROLLOUT)
    (tmp_path / "checkpoint.pt").write_bytes(state_bytes(training_state(whole)))
    whole.learn(2 * ROLLOUT, reset_num_timesteps=False)

    torch.manual_seed(1234)
    resumed = wrapped_agent(case)
    restore(resumed, read_state(tmp_path / "checkpoint.pt"))
    resumed.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_same_training(resumed, whole)
    assert resumed.num_timesteps == whole.num_timesteps
    np.testing.assert_array_equal(resumed._last_obs, whole._last_obs)
    ours, theirs = resumed.get_env(), whole.get_env()
    assert isinstance(ours, VectorEnvAdapter)
    assert isinstance(theirs, VectorEnvAdapter)
    for name, array in theirs.get_state().items():
        np.testing.assert_array_equal(ours.get_state()[name], array, err_msg=name)


def test_checkpoint_holds_the_outcomes_so_far() -> None:
    first = small_agent("routed", Corridor(3), n_steps=8, batch_size=8)
    state = deepcopy(training_state(first.learn(3 * 8)))
    first.learn(3 * 8, reset_num_timesteps=False)
    other = small_agent("routed", Corridor(3), n_steps=8, batch_size=8)
    restore(other, state)
    other.learn(3 * 8, reset_num_timesteps=False)
    assert_same_training(other, first)
    ends = other.rollout_buffer.last_route[CORRIDOR - 1 - 8]
    assert ends.tolist() == [POSITIVE, NEGATIVE, OPEN]
    np.testing.assert_array_equal(other.rollout_buffer.routes(), first.rollout_buffer.routes())


@pytest.mark.parametrize("wrap", [DummyVecEnv, SyncVectorEnv])
def test_checkpoint_refuses_an_environment_without_state(wrap: Any) -> None:  # noqa: ANN401
    settings = {"autoreset_mode": AutoresetMode.SAME_STEP} if wrap is SyncVectorEnv else {}
    env = wrap([lambda: gym.make("CartPole-v1")], **settings)
    agent = small_agent("oracle", env, batch_size=32).learn(32)
    with pytest.raises(ValueError, match=rf"{wrap.__name__} cannot be checkpointed.*get_state"):
        training_state(agent)


def test_model_bytes_hold_the_weights_that_are_read_back(tmp_path: Path) -> None:
    agent, path = small_agent("naive"), tmp_path / "model.zip"
    path.write_bytes(model_bytes(agent))
    read = read_model_weights(path)
    for name, tensor in agent.policy.state_dict().items():
        assert torch.equal(read[name], tensor), name


def test_reading_refuses_files_that_are_damaged_or_something_else(tmp_path: Path) -> None:
    path, whole = tmp_path / "file", state_bytes({"count": torch.ones(100)})
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", whole[:-100], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="file is not a whole checkpoint"):
            read_state(path)
    path.write_bytes(state_bytes([1, 2]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not a checkpoint: it holds list"):
        read_state(path)
    with pytest.raises(ValueError, match="is not a whole model saved by this project"):
        read_model_weights(path)


def test_restore_refuses_a_state_of_another_agent() -> None:
    state = training_state(small_agent("routed").learn(ROLLOUT))
    with pytest.raises(ValueError, match=r"does not fit this run: the weights are of another net"):
        restore(small_agent("naive"), state)
    del state["last_observation"]
    with pytest.raises(ValueError, match="does not fit this run: 'last_observation'"):
        restore(small_agent("routed"), state)


def test_restore_says_which_weights_of_a_reward_model_differ() -> None:
    state = training_state(small_agent("imputed").learn(ROLLOUT))
    networks = state["reward_source"]["networks"]
    networks["other"] = networks.popitem()[1]
    with pytest.raises(ValueError, match=r"fit this run: Missing key.*\S$") as caught:
        restore(small_agent("imputed"), state)
    assert "\n" not in str(caught.value)


def test_loading_names_the_policy_when_weights_are_of_another_network() -> None:
    plain = RoutedPPO("MlpPolicy", small_env(), "naive", n_steps=8, batch_size=64, device="cpu")
    with pytest.raises(ValueError, match="of another network than ActorCriticP") as caught:
        load_policy(plain.policy, {})
    line = str(caught.value)
    assert ": Missing key(s) in state_dict: " in line
    assert line.endswith("...; they were saved by another version, or with other settings")
    assert len(line) < 350


def test_arrays_keep_their_strides_also_along_axes_of_length_1() -> None:
    image = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5, 1).transpose(0, 3, 1, 2)
    stored = checkpoint._tensors({"image": image, "reversed": image[::-1], "none": image[:0]})
    assert stored["image"].stride() == (20, 1, 5, 1)
    assert torch.equal(stored["image"], torch.tensor(image.tolist()))
    assert torch.equal(stored["reversed"], stored["image"].flip(0))
    assert stored["none"].shape == (0, 1, 4, 5)
    image[:] = 0  # what is stored is a copy
    assert stored["image"].any()
