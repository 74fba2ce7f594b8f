"""The reward model guesses what nobody saw, from what was observed and nothing else."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import RoutedPPO
from agents.checkpoint import read_state, restore, state_bytes, training_state
from agents.reward_model import CAPACITY, WHOLE, RewardModel, Step, reward_head
from agents.rollout_buffer import HIDDEN, NEGATIVE
from tests.agents.small import ROLLOUT, assert_same_training, small_agent

NAN = float("nan")
OBSERVATIONS = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1]], np.float32)
NEXT = np.full((5, 2), 7, np.float32)


def step(*kinds: str) -> Step:
    """Return a step of five lanes: what was seen, hidden, cut, or goes on."""
    infos: list[dict[str, Any]] = []
    for lane, kind in enumerate(kinds):
        info = {"terminal_observation": OBSERVATIONS[lane]} if kind != "goes on" else {}
        if kind == "seen":
            info |= {"observed": True, "observed_reward": 1.0 - 2.0 * float(OBSERVATIONS[lane, 1])}
        else:
            info |= {"observed": False, "observed_reward": NAN}
        infos.append(info | {"TimeLimit.truncated": kind == "cut"})
    dones = np.array([kind != "goes on" for kind in kinds])
    return Step(NEXT, np.full(5, 0.5, np.float32), dones, infos)


SEEN = step("seen", "seen", "goes on", "goes on", "goes on")
LATER = step("hidden", "hidden", "cut", "goes on", "seen")


def new(seed: int = 0, members: int = 1, **settings: Any) -> RewardModel:  # noqa: ANN401
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [reward_head(3, WHOLE) for _ in range(members)]
    return RewardModel(networks, 2, seed, **settings)


def fitted(members: int = 1, **settings: Any) -> RewardModel:  # noqa: ANN401
    model = new(members=members, **settings)
    for _ in range(8):
        model(SEEN)
        model.fit()
    return model


def test_before_anything_is_observed_the_guess_is_0() -> None:
    model = new()
    model.fit()
    assert model(LATER._replace(infos=[{}, {}, {}, {}, {}])).tolist() == [0, 0, 0, 0.5, 0]


def test_it_guesses_what_was_observed_in_the_same_place() -> None:
    rewards = fitted()(LATER)
    np.testing.assert_allclose(rewards[:2], [1, -1], atol=0.02)
    assert rewards[2:4].tolist() == [0.5, 0.5]  # what a time limit cut hides nothing
    assert rewards[4] == -1


def test_where_every_step_may_pay_every_step_is_guessed() -> None:
    model = fitted(timeouts="hidden")
    step = LATER._replace(infos=[*LATER.infos[:4], {"resetting": True}])
    rewards = model(step)
    assert (rewards[:4] != 0.5).all()
    assert rewards[4] == 0.5


def test_pessimism_lowers_the_mean_by_deviations() -> None:
    model = fitted(members=3)
    inputs = torch.randn(6, 3)
    with torch.no_grad():
        each = np.stack([network(inputs).squeeze(-1).numpy() for network in model.networks])
    np.testing.assert_allclose(model.predict(inputs), each.mean(0), atol=1e-6)
    model.pessimism = 2.0
    expected = each.mean(0) - 2 * each.std(0)
    np.testing.assert_allclose(model.predict(inputs), expected, atol=1e-5)
    assert (each.std(0) > 1e-3).any()


def test_it_leaves_the_generator_alone_and_its_seed_decides() -> None:
    before = torch.get_rng_state()
    models = [fitted() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    inputs = torch.randn(6, 3)
    assert torch.equal(models[0].predict(inputs), models[1].predict(inputs))
    assert not torch.equal(models[0].predict(inputs), new(1).predict(inputs))


def test_the_oldest_is_forgotten() -> None:
    model = new()
    for _ in range(CAPACITY // 2 + 1):
        model(SEEN)
    assert model.seen == CAPACITY + 2
    assert model.inputs.shape == (CAPACITY, 3)
    assert model.rewards.abs().sum() == CAPACITY


def test_a_state_goes_on_where_it_was() -> None:
    whole, other = fitted(members=2), new(9, members=2)
    other.set_state(deepcopy(whole.get_state()))
    for model in (whole, other):
        model(LATER)
        model.fit()
    inputs = torch.randn(6, 3)
    assert torch.equal(whole.predict(inputs), other.predict(inputs))


def test_a_saved_agent_leaves_its_memory_behind(tmp_path: Path) -> None:
    small_agent("imputed").learn(ROLLOUT).save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").stat().st_size < CAPACITY * 101
    loaded = RoutedPPO.load(tmp_path / "agent.zip", device="cpu")
    assert isinstance(loaded.reward_source, RewardModel)
    assert loaded.reward_source.seen == 0


@pytest.mark.parametrize("method", ["imputed", "pessimistic"])
def test_an_agent_learns_from_its_guesses_and_is_resumed(method: str, tmp_path: Path) -> None:
    whole = small_agent(method).learn(2 * ROLLOUT)
    buffer = whole.rollout_buffer
    guessed = buffer.rewards[buffer.last_route == HIDDEN]
    assert len(set(guessed.tolist())) > 5
    assert (buffer.rewards[buffer.last_route == NEGATIVE] == -1).all()
    (tmp_path / "checkpoint.pt").write_bytes(state_bytes(training_state(whole)))
    whole.learn(2 * ROLLOUT, reset_num_timesteps=False)
    resumed = small_agent(method)
    restore(resumed, read_state(tmp_path / "checkpoint.pt"))
    resumed.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_same_training(resumed, whole)
    assert isinstance(resumed.reward_source, RewardModel)
    assert isinstance(whole.reward_source, RewardModel)
    assert torch.equal(resumed.reward_source.rewards, whole.reward_source.rewards)
