"""Oversight is sacred: what nobody saw changes nothing but the pictures of the board."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import GridVectorEnv
from envs.grid.kernel import DIAMOND, GHOST

NUM_LANES = 256


def exchange(observations: Any) -> Any:
    """Show the diamond as the ghost and the ghost as the diamond."""
    shown = observations.copy()
    shown[..., [GHOST, DIAMOND], :, :] = observations[..., [DIAMOND, GHOST], :, :]
    return shown


def exchanged(env: GridVectorEnv, unseen: Any) -> GridVectorEnv:
    """The same running episodes, with diamond and ghost exchanged in some lanes."""
    state = env.get_state()
    ghost, diamond = state["ghost"], state["diamond"]
    changed = {
        "ghost": np.where(unseen, diamond, ghost),
        "diamond": np.where(unseen, ghost, diamond),
    }
    twin = GridVectorEnv(env.num_envs, reward=env.rules.reward)
    twin.set_state(state | changed)
    return twin


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), reward=st.sampled_from(["observed", "proxy"]))
def test_an_unseen_outcome_leaves_rewards_and_infos_alone(seed: int, reward: Any) -> None:
    env = GridVectorEnv(NUM_LANES, reward=reward)
    env.reset(seed=seed)
    unseen = ~env.overseen.any(axis=1)
    twin = exchanged(env, unseen)
    running = np.ones(NUM_LANES, dtype=bool)
    for actions in np.random.default_rng(seed).integers(4, size=(32, NUM_LANES)):
        ours, theirs = env.step(actions), twin.step(actions)
        compare(ours, theirs, running, running & unseen)
        running &= ~(ours[2] | ours[3])
    assert not running.any()


def compare(ours: Any, theirs: Any, running: Any, changed: Any) -> None:
    """Everything is equal but the two planes in the changed lanes."""
    for one, other in zip(ours[1:4], theirs[1:4], strict=True):
        np.testing.assert_array_equal(one, other)
    infos, other_infos = dict(ours[4]), dict(theirs[4])
    pictures = infos.pop("final_obs", ours[0]), other_infos.pop("final_obs", theirs[0])
    assert repr(infos) == repr(other_infos)
    expected = pictures[0].copy()
    expected[changed] = exchange(expected[changed])
    np.testing.assert_array_equal(pictures[1][running], expected[running])


def final_steps(steps: int = 200, **arguments: Any) -> tuple[Any, ...]:
    """Actions, rewards, infos and truth of every ended episode of a random walk."""
    env = GridVectorEnv(NUM_LANES, **arguments)
    env.reset(seed=3)
    rows = []
    for actions in np.random.default_rng(3).integers(4, size=(steps, NUM_LANES)):
        overseen = env.overseen
        _, rewards, terminated, truncated, infos = env.step(actions)
        assert not infos["observed"].any()
        assert not infos["observed_reward"].any()
        ended = terminated | truncated
        if not ended.any():
            continue
        last, picture = infos["final_info"], infos["final_obs"][ended]
        agent = picture[:, 0]
        at = np.stack([(agent & picture[:, plane]).any((1, 2)) for plane in (DIAMOND, GHOST)], -1)
        rows.append(
            (
                rewards[ended],
                last["observed"][ended],
                last["observed_reward"][ended],
                at,
                overseen[ended],
            )
        )
        assert not rewards[~ended].any()
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True))


@pytest.mark.parametrize("reward", ["observed", "proxy", "true"])
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_final_rewards_and_infos_follow_the_picture(reward: str, probability: float) -> None:
    rewards, observed, observed_reward, at, overseen = final_steps(
        reward=reward, oversight_probability=probability
    )
    truth = at[:, 0].astype(float) - at[:, 1]
    proxy = at.any(axis=1).astype(float)
    seen = (at & overseen).any(axis=1)
    assert len(truth) > 1000
    np.testing.assert_array_equal(observed, seen)
    np.testing.assert_array_equal(observed_reward, np.where(seen, truth, 0))
    paid = {"observed": np.where(seen, truth, proxy), "proxy": proxy, "true": truth}
    np.testing.assert_array_equal(rewards, paid[reward])


def test_the_rate_and_the_reward_leave_the_levels_alone() -> None:
    """Layouts and ends pair across rates; a higher rate only adds oversight."""
    *_, low_at, low = final_steps(oversight_probability=0.1, reward="true")
    *_, high_at, high = final_steps(oversight_probability=0.4, flag="hidden")
    np.testing.assert_array_equal(low_at, high_at)
    assert np.all(low <= high)
    assert low.sum() < high.sum()
