"""Reward sources: the fixed ones, and the reward model."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import METHODS, RoutedPPO
from agents.checkpoint import read_state, restore, state_bytes, training_state
from agents.method_definition import paid
from agents.reward_map import WHOLE, BoardReward, reward_head
from agents.reward_model import (
    BATCH,
    CAPACITY,
    Learner,
    RewardModel,
    convolutional_model,
    nearest,
    observed_else_paid,
    observed_else_zero,
    pessimistic_convolutions,
    pessimistic_ensemble,
    reward_model,
)
from agents.rollout_buffer import HIDDEN, NEGATIVE, Step
from tests.agents.factories import (
    ROLLOUT,
    assert_same_training,
    small_agent,
)

NAN = float("nan")

INFOS: list[dict[str, Any]] = [
    {"observed": True, "observed_reward": -1.0},
    {"observed": np.True_, "observed_reward": np.float64(0.5)},
    {"observed": False, "observed_reward": NAN, "true_reward": NAN},
    {},
    {"resetting": True},
]

STEP = Step(None, np.array([9, 9, 1, 0, 0], np.float32), np.zeros(5, np.bool_), INFOS)

LEARNER = Learner(spaces.Box(0, 1, (2,)), 0, "open", None, METHODS["naive"].table, None)


def test_fixed_sources_return_the_observed_reward_and_a_default() -> None:
    assert paid(LEARNER)(STEP).tolist() == [9, 9, 1, 0, 0]
    assert observed_else_paid(LEARNER)(STEP).tolist() == [-1.0, 0.5, 1.0, 0.0, 0.0]
    assert observed_else_zero(LEARNER)(STEP).tolist() == [-1.0, 0.5, 0.0, 0.0, 0.0]
    assert STEP.paid.tolist() == [9, 9, 1, 0, 0]


OBSERVATIONS = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1]], np.float32)

NEXT = np.full((5, 2), 7, np.float32)


def step_of(*kinds: str) -> Step:
    """Return a step of five lanes, each of which is observed, hidden, cut, or goes on."""
    infos: list[dict[str, Any]] = []
    for lane, kind in enumerate(kinds):
        info = {"terminal_observation": OBSERVATIONS[lane]} if kind != "goes on" else {}
        if kind == "observed":
            info |= {"observed": True, "observed_reward": 1.0 - 2.0 * float(OBSERVATIONS[lane, 1])}
        else:
            info |= {"observed": False, "observed_reward": NAN}
        infos.append(info | {"TimeLimit.truncated": kind == "cut"})
    dones = np.array([kind != "goes on" for kind in kinds])
    return Step(NEXT, np.full(5, 0.5, np.float32), dones, infos)


OBSERVED_STEP = step_of("observed", "observed", "goes on", "goes on", "goes on")

MIXED_STEP = step_of("hidden", "hidden", "cut", "goes on", "observed")


def new_model(seed: int = 0, members: int = 1, **settings: Any) -> RewardModel:  # noqa: ANN401
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [reward_head(3, WHOLE) for _ in range(members)]
    return RewardModel(networks, 2, seed, **settings)


def fitted_model(members: int = 1, **settings: Any) -> RewardModel:  # noqa: ANN401
    model = new_model(members=members, **settings)
    for _ in range(8):
        model(OBSERVED_STEP)
        model.fit()
    return model


def test_prediction_is_0_before_anything_is_observed() -> None:
    model = new_model()
    model.fit()
    assert model(MIXED_STEP._replace(infos=[{}, {}, {}, {}, {}])).tolist() == [0, 0, 0, 0.5, 0]


def test_model_predicts_what_was_observed_at_the_same_observation() -> None:
    rewards = fitted_model()(MIXED_STEP)
    np.testing.assert_allclose(rewards[:2], [1, -1], atol=0.02)
    assert rewards[2:4].tolist() == [0.5, 0.5]  # a time limit hides no reward
    assert rewards[4] == -1


def test_model_predicts_every_step_when_timeouts_are_hidden() -> None:
    model = fitted_model(timeouts="hidden")
    step = MIXED_STEP._replace(infos=[*MIXED_STEP.infos[:4], {"resetting": True}])
    rewards = model(step)
    assert (rewards[:4] != 0.5).all()
    assert rewards[4] == 0.5


def test_pessimism_lowers_the_mean_by_deviations() -> None:
    model = fitted_model(members=3)
    inputs = torch.randn(6, 3)
    with torch.no_grad():
        each = np.stack([network(inputs).squeeze(-1).numpy() for network in model.networks])
    np.testing.assert_allclose(model.predict(inputs), each.mean(0), atol=1e-6)
    model.pessimism = 2.0
    expected = each.mean(0) - 2 * each.std(0)
    np.testing.assert_allclose(model.predict(inputs), expected, atol=1e-5)
    assert (each.std(0) > 1e-3).any()


def test_rounded_predictions_are_rewards_remembered() -> None:
    model, inputs = fitted_model(rounds=True), torch.randn(50, 3)
    exact = fitted_model(rounds=True)
    exact.rounds = False
    rounded = torch.where(exact.predict(inputs) > 0, 1.0, -1.0)  # 1 and -1 were observed
    assert torch.equal(model.predict(inputs), rounded)


def test_nearest_choice_is_the_one_of_least_distance() -> None:
    torch.manual_seed(0)
    values, choices = torch.randn(3, 40), torch.randn(6).sort().values
    expected = choices[(values.unsqueeze(-1) - choices).abs().argmin(-1)]
    assert torch.equal(nearest(values, choices), expected)
    assert torch.equal(nearest(values, choices[:1]), choices[:1].expand(3, 40))


def test_model_depends_on_its_seed_and_not_on_the_global_generator() -> None:
    before = torch.get_rng_state()
    models = [fitted_model() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    inputs = torch.randn(6, 3)
    assert torch.equal(models[0].predict(inputs), models[1].predict(inputs))
    assert not torch.equal(models[0].predict(inputs), new_model(1).predict(inputs))


def test_oldest_steps_are_overwritten_at_capacity() -> None:
    model = new_model()
    for _ in range(CAPACITY // 2 + 1):
        model(OBSERVED_STEP)
    assert model.seen == CAPACITY + 2
    assert model.inputs.shape == (CAPACITY, 3)
    assert model.rewards.abs().sum() == CAPACITY


def test_model_goes_on_from_its_state() -> None:
    whole, other = fitted_model(members=2), new_model(9, members=2)
    other.set_state(deepcopy(whole.get_state()))
    for model in (whole, other):
        model(MIXED_STEP)
        model.fit()
    inputs = torch.randn(6, 3)
    assert torch.equal(whole.predict(inputs), other.predict(inputs))


def test_saved_agents_omit_the_reward_model(tmp_path: Path) -> None:
    small_agent("imputed").learn(ROLLOUT).save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").stat().st_size < CAPACITY * 101
    loaded = RoutedPPO.load(tmp_path / "agent.zip", device="cpu")
    assert isinstance(loaded.reward_source, RewardModel)
    assert loaded.reward_source.seen == 0


@pytest.mark.parametrize("method", ["imputed", "pessimistic", "imputed-conv", "pessimistic-conv"])
def test_agent_learns_from_predictions_and_resumes(method: str, tmp_path: Path) -> None:
    whole = small_agent(method).learn(2 * ROLLOUT)
    buffer = whole.rollout_buffer
    guessed = buffer.rewards[buffer.last_route == HIDDEN]
    distinct = 1 if method.endswith("conv") else 6  # since convolutions round to 1 and -1
    assert len(set(guessed.tolist())) >= distinct
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


BOARD = spaces.MultiBinary((2, 5, 6))
CONVOLUTIONS = {
    "imputed-conv": (convolutional_model, reward_model, 1),
    "pessimistic-conv": (pessimistic_convolutions, pessimistic_ensemble, 5),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_reward_models_are_convolutions_where_observations_are_planes(name: str) -> None:
    source, perceptrons, members = CONVOLUTIONS[name]
    assert METHODS[name].source is source
    model = source(LEARNER._replace(observation_space=BOARD))
    assert isinstance(model, RewardModel)
    assert [type(each) for each in model.networks] == [BoardReward] * members
    plain, other = source(LEARNER), perceptrons(LEARNER)
    assert isinstance(plain, RewardModel)
    assert isinstance(other, RewardModel)
    assert plain.pessimism == other.pessimism == model.pessimism
    assert (plain.rounds, other.rounds, model.rounds) == (False, False, True)
    pairs = zip(plain.networks.parameters(), other.networks.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_convolutions_predict_what_only_the_board_before_a_step_tells() -> None:
    """A mark is taken from a cell: only the board before shows that it was there."""
    model = convolutional_model(LEARNER._replace(observation_space=BOARD, timeouts="hidden"))
    assert isinstance(model, RewardModel)
    taken = np.arange(8) % 2 == 0
    before, after = (np.zeros((8, 2, 5, 6), np.float32) for _ in range(2))
    before[:, 0, 2, 1] = after[:, 0, 2, 2] = 1  # the agent moves
    before[taken, 1, 2, 2] = 1
    paid, dones = np.zeros(8, np.float32), np.zeros(8, np.bool_)
    infos = [{"observed": True, "observed_reward": float(each)} for each in taken]
    for _ in range(8):
        model.show(before)
        model(Step(after, paid, dones, infos))
        model.fit()
    model.show(before)
    hidden = model(Step(after, paid, dones, [{"observed": False}] * 8))
    np.testing.assert_array_equal(hidden, taken)


@pytest.mark.parametrize(
    ("inputs", "steps"), [(100, CAPACITY), (2047, CAPACITY), (84 * 84 * 3, 792), (70_000, BATCH)]
)
def test_fewer_steps_of_large_observations_are_remembered(inputs: int, steps: int) -> None:
    model = RewardModel([reward_head(1, (1,))], inputs, 0)
    assert model.inputs.shape == (steps, inputs + 1)
