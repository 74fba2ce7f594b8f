"""RoutedBuffer is SB3's buffer, with a route beside every sample."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from agents.methods import ROUTES
from agents.rollout_buffer import RoutedBuffer
from tests.agents.small import small_agent

STEPS, LANES = 6, 4
SPACE = spaces.Box(-1, 1, (3,))
POSITIVE, NEGATIVE, HIDDEN, OPEN = range(4)
INFOS: dict[int, dict[str, Any]] = {
    POSITIVE: {"observed": True, "observed_reward": 1.0},
    NEGATIVE: {"observed": True, "observed_reward": -1.0},
    HIDDEN: {"observed": False},
    OPEN: {"observed": False, "TimeLimit.truncated": True},
}


def routed(seed: int | None = None) -> RoutedBuffer:
    return RoutedBuffer(STEPS, SPACE, spaces.Discrete(4), "cpu", n_envs=LANES, seed=seed)


def fill(*buffers: RolloutBuffer, ends: dict[tuple[int, int], int] | None = None) -> None:
    """Give buffers the same random rollout, in which episodes end at some (step, lane)."""
    random = np.random.default_rng(0)
    starts = np.ones(LANES, dtype=np.bool_)
    for step in range(STEPS):
        observations = random.uniform(-1, 1, (LANES, 3)).astype(np.float32)
        actions = random.integers(4, size=(LANES, 1))
        rewards, values, log_probs = random.normal(size=(3, LANES))
        here = {lane: route for (when, lane), route in (ends or {}).items() if when == step}
        for buffer in buffers:
            if isinstance(buffer, RoutedBuffer):
                dones = np.isin(np.arange(LANES), list(here))
                infos = [INFOS[here[n]] if n in here else {} for n in range(LANES)]
                buffer.label(infos, dones, starts)
            buffer.add(
                observations,
                actions,
                rewards,
                np.zeros(LANES),
                torch.tensor(values),
                torch.tensor(log_probs),
            )
        starts = np.isin(np.arange(LANES), list(here))
    for buffer in buffers:
        buffer.compute_returns_and_advantage(torch.ones(LANES), np.zeros(LANES))


@pytest.mark.parametrize("batch_size", [8, 24, 7, None])
def test_minibatches_are_those_of_sb3(batch_size: int | None) -> None:
    stock = RolloutBuffer(STEPS, SPACE, spaces.Discrete(4), "cpu", n_envs=LANES)
    ours = routed(seed=11)
    fill(stock, ours)
    np.random.seed(11)  # noqa: NPY002 (the generator that SB3 draws from)
    for _ in range(3):
        pairs = list(zip(ours.get(batch_size), stock.get(batch_size), strict=True))
        assert sum(len(samples.routes) for samples, _ in pairs) == STEPS * LANES
        for samples, expected in pairs:
            for name in expected._fields:
                one, other = getattr(samples, name), getattr(expected, name)
                assert one.dtype == other.dtype
                assert torch.equal(one, other), name


def test_each_sample_carries_the_route_of_its_episode() -> None:
    ours = routed()
    ends = {(1, 0): POSITIVE, (4, 0): HIDDEN, (5, 1): NEGATIVE, (0, 2): OPEN, (2, 2): NEGATIVE}
    fill(ours, ends=ends)
    expected = [[0, 0, 2, 2, 2, 3], [1] * 6, [3, 1, 1, 3, 3, 3], [3] * 6]
    route_of = {
        tuple(ours.observations[step, lane].tolist()): expected[lane][step]
        for step in range(STEPS)
        for lane in range(LANES)
    }
    for samples in ours.get(5):
        assert samples.routes.dtype == torch.int64
        for observation, route in zip(samples.observations, samples.routes, strict=True):
            assert route_of[tuple(observation.tolist())] == route


def test_an_episode_cut_by_the_end_of_the_rollout_is_open() -> None:
    ours = routed()
    fill(ours)
    assert {ROUTES[n] for n in next(ours.get()).routes} == {"open"}


def test_no_route_outlives_its_rollout() -> None:
    ours = routed()
    fill(ours, ends=dict.fromkeys(((5, lane) for lane in range(LANES)), NEGATIVE))
    assert (next(ours.get()).routes == NEGATIVE).all()
    ours.reset()
    fill(ours)
    assert (next(ours.get()).routes == OPEN).all()


def test_a_label_belongs_to_the_step_that_is_added_next() -> None:
    agent = small_agent().learn(1024)
    buffer = agent.rollout_buffer
    ended = buffer.last_route[:-1] >= 0
    np.testing.assert_array_equal(ended, buffer.episode_starts[1:].astype(bool))
    paid = np.abs(buffer.rewards[:-1]) == 1
    observed = np.isin(buffer.last_route[:-1], (POSITIVE, NEGATIVE))
    assert observed.any()
    assert paid[observed].all()
    assert (buffer.rewards[:-1][buffer.last_route[:-1] == NEGATIVE] == -1).all()
    assert (buffer.rewards[:-1][buffer.last_route[:-1] == HIDDEN] == 1).all()


def add(observations: Any, rewards: Any) -> None:  # noqa: ANN401
    actions, zeros = np.zeros((LANES, 1)), torch.zeros(LANES)
    routed().add(observations, actions, rewards, np.zeros(LANES), zeros, zeros)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_lane(bad: float) -> None:
    observations, rewards = np.zeros((LANES, 3)), np.zeros(LANES)
    add(observations, rewards)
    rewards[2] = bad
    with pytest.raises(ValueError, match=r"a reward that is NaN or infinite in lane 2"):
        add(observations, rewards)
    observations[1, 2] = bad
    with pytest.raises(ValueError, match=r"an observation that is NaN or infinite in lane 1"):
        add(observations, np.zeros(LANES))


def test_a_half_full_buffer_yields_nothing() -> None:
    with pytest.raises(AssertionError, match="not complete"):
        next(routed().get())
