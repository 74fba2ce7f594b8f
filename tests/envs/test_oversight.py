"""Oversight is sacred: what nobody saw changes nothing but the pictures of the board."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import GridVectorEnv
from envs.gridworld import AGENT, DIAMOND, GHOST, Mask, Numbers, Planes, Reward
from tests.envs.same import assert_same

NUM_LANES = 256


def exchanged(env: GridVectorEnv, lanes: Mask) -> GridVectorEnv:
    """The same running episodes, with diamond and ghost exchanged in some lanes."""
    state = env.get_state()
    ghost, diamond = state["ghost"], state["diamond"]
    twin = GridVectorEnv(env.num_envs, reward=env.rules.reward)
    swapped = {
        "ghost": np.where(lanes, diamond, ghost),
        "diamond": np.where(lanes, ghost, diamond),
    }
    twin.set_state(state | swapped)
    return twin


def exchanged_planes(observations: Planes, lanes: Mask) -> Planes:
    shown = observations.copy()
    shown[lanes, GHOST], shown[lanes, DIAMOND] = (
        observations[lanes, DIAMOND],
        observations[lanes, GHOST],
    )
    return shown


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), reward=st.sampled_from(["observed", "proxy"]))
def test_an_unseen_outcome_leaves_rewards_and_infos_alone(seed: int, reward: Reward) -> None:
    env = GridVectorEnv(NUM_LANES, reward=reward)
    env.reset(seed=seed)
    unseen = ~(env.overseen[:, 0] | env.overseen[:, 1])
    twin = exchanged(env, unseen)
    for actions in np.random.default_rng(seed).integers(4, size=(32, NUM_LANES)):
        picture, reward_paid, terminated, truncated, infos = env.step(actions)
        other_picture, *theirs, other_infos = twin.step(actions)
        final = infos.pop("final_obs", picture), other_infos.pop("final_obs", other_picture)
        assert_same(final[1], exchanged_planes(final[0], unseen))
        assert_same((reward_paid, terminated, truncated, infos), (*theirs, other_infos))
        unseen &= ~(terminated | truncated)  # the next episode is the same in both
        assert_same(other_picture, exchanged_planes(picture, unseen))
    assert not unseen.any()


class Ends(NamedTuple):
    """What was returned for the last steps of episodes, and what was true of them."""

    reward: Numbers
    observed: Mask
    observed_reward: Numbers
    at: Mask  # [n, 2]: the diamond, the ghost
    overseen: Mask  # [n, 2]


def ends_of_a_random_walk(**arguments: Any) -> Ends:  # noqa: ANN401 (any argument of the env)
    env = GridVectorEnv(NUM_LANES, **arguments)
    env.reset(seed=3)
    parts = []
    for actions in np.random.default_rng(3).integers(4, size=(200, NUM_LANES)):
        overseen = env.overseen
        _, reward, terminated, truncated, infos = env.step(actions)
        assert not infos["observed"].any()
        assert not infos["observed_reward"].any()
        ended = terminated | truncated
        assert not reward[~ended].any()
        if ended.any():
            planes, info = infos["final_obs"], infos["final_info"]
            at = (planes[:, [AGENT]] & planes[:, [DIAMOND, GHOST]]).any(axis=(2, 3))
            end = Ends(reward, info["observed"], info["observed_reward"], at, overseen)
            parts.append([array[ended] for array in end])
    return Ends._make(np.concatenate(part) for part in zip(*parts, strict=True))


@pytest.mark.parametrize("reward", ["observed", "proxy", "true"])
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_final_rewards_and_infos_follow_the_picture(reward: Reward, probability: float) -> None:
    ends = ends_of_a_random_walk(reward=reward, oversight_probability=probability)
    true = ends.at[:, 0].astype(float) - ends.at[:, 1]
    proxy = ends.at.any(axis=1).astype(float)
    seen = (ends.at & ends.overseen).any(axis=1)
    paid = {"observed": np.where(seen, true, proxy), "proxy": proxy, "true": true}
    assert len(true) > 1000
    np.testing.assert_array_equal(ends.reward, paid[reward])
    np.testing.assert_array_equal(ends.observed, seen)
    np.testing.assert_array_equal(ends.observed_reward, np.where(seen, true, 0))


def test_rate_flag_and_reward_leave_the_levels_alone() -> None:
    low = ends_of_a_random_walk(oversight_probability=0.1, reward="true")
    high = ends_of_a_random_walk(oversight_probability=0.4, flag="hidden")
    np.testing.assert_array_equal(low.at, high.at)
    assert np.all(low.overseen <= high.overseen)
    assert low.overseen.sum() < high.overseen.sum()
