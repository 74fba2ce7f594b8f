"""GridEnv: episodes, seeds and errors."""

from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from envs import GridEnv

QUIET = {"observed": False, "observed_reward": 0.0}


def wander(env: GridEnv, steps: int) -> list[Any]:
    """Everything that a fixed random walk over several episodes returns."""
    actions = np.random.default_rng(0).integers(4, size=steps)
    trace: list[Any] = []
    for action in actions:
        trace.append(env.step(action))
        if trace[-1][2] or trace[-1][3]:
            trace.append(env.reset())
    return trace


def flat(trace: list[Any]) -> list[str]:
    return [
        repr([part.tolist() if isinstance(part, np.ndarray) else part for part in step])
        for step in trace
    ]


@pytest.mark.parametrize("horizon", [1, 7, 32])
def test_an_episode_has_exactly_horizon_steps(horizon: int) -> None:
    env = GridEnv(horizon=horizon)
    lengths = set()
    for seed in range(30):
        env.reset(seed=seed)
        for step in range(1, horizon + 2):
            _, reward, terminated, truncated, info = env.step(0)
            assert truncated == (step == horizon and not terminated)
            if truncated:
                assert (reward, info) == (0.0, QUIET)
                lengths.add(step)
            if terminated or truncated:
                break
    assert lengths == {horizon}


def test_the_last_step_may_still_terminate() -> None:
    env = GridEnv(horizon=1)
    ends = [env.reset(seed=seed) and env.step(0)[2:4] for seed in range(200)]
    assert set(ends) == {(True, False), (False, True)}


def test_a_seed_repeats_everything_and_another_does_not() -> None:
    traces = []
    for seed in (3, 3, 4):
        env = GridEnv()
        first = env.reset(seed=seed)
        assert first[1] == QUIET
        traces.append(flat([first, *wander(env, 300)]))
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


def test_reset_goes_on_to_the_next_episode_whatever_was_played() -> None:
    played, skipped = GridEnv(), GridEnv()
    played.reset(seed=5)
    skipped.reset(seed=5)
    played.step(1)
    np.testing.assert_array_equal(played.reset()[0], skipped.reset()[0])
    np.testing.assert_array_equal(played.reset(seed=5)[0], skipped.reset(seed=5)[0])


def test_unseeded_environments_differ_and_tell_their_seed() -> None:
    starts = []
    for _ in range(4):
        env = GridEnv()
        starts.append(env.reset()[0])
        assert env.np_random_seed is not None
        np.testing.assert_array_equal(GridEnv().reset(seed=env.np_random_seed)[0], starts[-1])
    assert any((start != starts[0]).any() for start in starts[1:])


@pytest.mark.parametrize("action", [-1, 4, 1.0, True, None, "north", [0], np.float32(1)])
def test_a_bad_action_is_refused(action: int) -> None:
    env = GridEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be"):
        env.step(action)


def test_step_and_render_need_a_running_episode() -> None:
    env = GridEnv(horizon=1, render_mode="ansi")
    with pytest.raises(ResetNeeded):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(ResetNeeded):
        env.step(0)
