"""The grid environments: episodes, seeds, states, and PartialGrid-v0 under its oversight."""

from copy import deepcopy
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, DTypeLike, NDArray

from envs import GridVectorEnv, partial_grid, partial_grid_vec
from envs.gridworld import AGENT, DIAMOND, GHOST, Numbers, Planes
from envs.observers.observer import Mask
from envs.wrappers.oversight import Reward
from tests.envs.comparison import assert_same

Vector = VectorEnv[Any, Any, Any]

VARIANTS: list[dict[str, Any]] = [
    {"oversight_probability": 0.3},
    {"flag": "hidden", "reward": "proxy", "horizon": 9},
    {"reward": "true", "size": 7, "oversight_probability": 1.0},
]


def grid_inside(env: Vector) -> GridVectorEnv:
    """Return the plain game inside a grid under oversight."""
    assert isinstance(env.unwrapped, GridVectorEnv)
    return env.unwrapped


def random_actions(steps: int, num_envs: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(4, size=(steps, num_envs))


@pytest.mark.parametrize("variant", VARIANTS)
def test_vector_environment_equals_sync_vector_of_singles(variant: dict[str, Any]) -> None:
    native = partial_grid_vec(16, **variant)
    sync = SyncVectorEnv(
        [lambda: partial_grid(**variant)] * 16, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert_same(native.reset(seed=11), sync.reset(seed=11))
    for step, actions in enumerate(random_actions(300, 16)):
        if step == 150:
            assert_same(native.reset(), sync.reset())
        ours = native.step(actions)
        assert_same(ours, sync.step(actions))
        assert ours[0] in native.observation_space


def test_sequence_of_seeds_seeds_each_lane() -> None:
    native = GridVectorEnv(3)
    singles = [partial_grid().reset(seed=seed)[0] for seed in (9, 2, 9)]
    np.testing.assert_array_equal(native.reset(seed=[9, 2, 9])[0], singles)


def test_unseeded_environments_differ_and_report_their_seed() -> None:
    one, two = partial_grid_vec(8), partial_grid_vec(8)
    start = one.reset()[0]
    assert (start != two.reset()[0]).any()
    np.testing.assert_array_equal(two.reset(seed=one.np_random_seed)[0], start)


def test_returned_arrays_never_change_later() -> None:
    env, twin = partial_grid_vec(32), partial_grid_vec(32)
    kept = [env.reset(seed=0), *(env.step(actions) for actions in random_actions(40, 32))]
    snapshots: list[object] = [deepcopy(twin.reset(seed=0))]
    snapshots += [deepcopy(twin.step(actions)) for actions in random_actions(40, 32)]
    for one, other in zip(kept, snapshots, strict=True):
        assert_same(one, other)


def test_returned_arrays_may_be_written_to() -> None:
    env, twin = GridVectorEnv(32), GridVectorEnv(32)
    twin.reset(seed=0)
    observations, _ = env.reset(seed=0)
    for array in (observations, env.overseen, *env.board, *env.get_state().values()):
        array[:] = 0
    for actions in random_actions(40, 32):
        assert_same(env.step(actions), twin.step(actions))


def test_seeded_reset_starts_at_episode_0() -> None:
    env, fresh = partial_grid_vec(32), partial_grid_vec(32)
    env.reset(seed=1)
    for actions in random_actions(40, 32):
        env.step(actions)
    assert_same(env.reset(seed=2), fresh.reset(seed=2))
    for actions in random_actions(40, 32):
        assert_same(env.step(actions), fresh.step(actions))


def test_time_limit_truncates_and_does_not_terminate() -> None:
    env = partial_grid_vec(256)
    env.reset(seed=0)
    alive = np.ones(256, dtype=bool)
    for step in range(1, 33):
        _, rewards, terminated, truncated, infos = env.step(np.zeros(256, int))
        np.testing.assert_array_equal(truncated & alive, alive & ~terminated & (step == 32))
        if step == 32:
            assert (truncated & alive).any()
            assert not rewards[truncated].any()
            assert not infos["final_info"]["observed"][truncated].any()
        alive &= ~terminated


def test_environment_continues_bit_for_bit_when_its_state_is_restored() -> None:
    env, other = GridVectorEnv(64), GridVectorEnv(64)
    env.reset(seed=1)
    for actions in random_actions(50, 64):
        env.step(actions)
    state = env.get_state()
    copies = {name: array.copy() for name, array in state.items()}
    going_on = [env.step(actions) for actions in random_actions(100, 64, seed=1)]
    other.reset()
    other.set_state(state)
    resumed = [other.step(actions) for actions in random_actions(100, 64, seed=1)]
    for one, two in zip(going_on, resumed, strict=True):
        assert_same(one, two)
    assert_same(env.get_state(), other.get_state())
    assert_same(state, copies)


def bad_states(state: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    half = {name: array[:2] for name, array in state.items()}
    return [
        ({}, "state must hold"),
        (state | {"more": state["seed"]}, "state must hold"),
        (half, "of shape"),
        (state | {"seed": state["seed"].astype(np.int64)}, "must be uint64"),
        (state | {"agent": state["agent"] + 25}, "from 0 to 24"),
        (state | {"elapsed": state["elapsed"] - 1}, "from 0 to 31"),
        (state | {"agent": state["ghost"]}, "distinct cells"),
    ]


def test_state_is_refused_and_changes_nothing_when_invalid() -> None:
    env = GridVectorEnv(4)
    with pytest.raises(ResetNeeded):
        env.get_state()
    env.reset(seed=0)
    state = env.get_state()
    for bad, message in bad_states(state):
        with pytest.raises(ValueError, match=message):
            env.set_state(bad)
    assert_same(env.get_state(), state)


@pytest.mark.parametrize(
    "actions",
    [
        [0, 1, 2],
        [0, 1, 2, 4],
        [0, 1, 2, -1],
        [0.0, 1.0, 2.0, np.nan],
        [True] * 4,
        [[0], [1], [2], [3]],
        0,
        np.array([0, 1, 2, 2**63], dtype=np.uint64),
    ],
)
def test_actions_are_refused_and_change_nothing_when_invalid(actions: ArrayLike) -> None:
    env = GridVectorEnv(4)
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(ValueError, match="actions must be"):
        env.step(actions)
    assert_same(env.get_state(), before)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integer_dtype_moves_alike(dtype: DTypeLike) -> None:
    env, other = partial_grid_vec(16), partial_grid_vec(16)
    env.reset(seed=0)
    other.reset(seed=0)
    for actions in random_actions(20, 16):
        assert_same(env.step(actions), other.step(actions.astype(dtype)))


def test_step_and_render_need_a_reset_and_masks_are_refused() -> None:
    env = partial_grid_vec(2, render_mode="ansi")
    with pytest.raises(ResetNeeded):
        env.step([0, 0])
    with pytest.raises(ResetNeeded):
        env.render()
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        env.reset(options={"reset_mask": np.ones(2, bool)})


def test_gymnasium_wrappers_count_its_episodes() -> None:
    env = RecordEpisodeStatistics(partial_grid_vec(64, reward="proxy"))
    env.reset(seed=0)
    for actions in random_actions(40, 64):
        _, rewards, terminated, truncated, infos = env.step(actions)
        ended = terminated | truncated
        if ended.any():
            np.testing.assert_array_equal(infos["_episode"], ended)
            np.testing.assert_array_equal(infos["episode"]["r"][ended], rewards[ended])


QUIET = {"observed": False, "observed_reward": 0.0}


def wander(env: gym.Env[Any, Any], steps: int) -> list[Any]:
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
    env = partial_grid(horizon=horizon)
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
    env = partial_grid(horizon=1)
    ends = [env.reset(seed=seed) and env.step(0)[2:4] for seed in range(200)]
    assert set(ends) == {(True, False), (False, True)}


def test_same_seed_repeats_everything_and_another_does_not() -> None:
    traces = []
    for seed in (3, 3, 4):
        env = partial_grid()
        first = env.reset(seed=seed)
        assert first[1] == QUIET
        traces.append(flat([first, *wander(env, 300)]))
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


def test_reset_starts_the_next_episode_whatever_was_played() -> None:
    played, skipped = partial_grid(), partial_grid()
    played.reset(seed=5)
    skipped.reset(seed=5)
    played.step(1)
    np.testing.assert_array_equal(played.reset()[0], skipped.reset()[0])
    np.testing.assert_array_equal(played.reset(seed=5)[0], skipped.reset(seed=5)[0])


def test_unseeded_single_environments_differ_and_report_their_seed() -> None:
    starts = []
    for _ in range(4):
        env = partial_grid()
        starts.append(env.reset()[0])
        assert env.np_random_seed is not None
        np.testing.assert_array_equal(partial_grid().reset(seed=env.np_random_seed)[0], starts[-1])
    assert any((start != starts[0]).any() for start in starts[1:])


@pytest.mark.parametrize("action", [-1, 4, 1.0, True, None, "north", [0], np.float32(1)])
def test_single_action_is_refused_when_invalid(action: int) -> None:
    env = partial_grid()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be"):
        env.step(action)


def test_single_step_and_render_need_a_running_episode() -> None:
    env = partial_grid(horizon=1, render_mode="ansi")
    with pytest.raises(ResetNeeded):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(ResetNeeded):
        env.step(0)


NUM_LANES = 256


def exchanged(env: Vector, lanes: Mask, reward: Reward) -> Vector:
    """The same running episodes, with diamond and ghost exchanged in some lanes."""
    state = env.get_state()  # type: ignore[attr-defined]
    ghost, diamond = state["env.ghost"], state["env.diamond"]
    twin = partial_grid_vec(env.num_envs, reward=reward)
    swapped = {
        "env.ghost": np.where(lanes, diamond, ghost),
        "env.diamond": np.where(lanes, ghost, diamond),
    }
    twin.reset()
    twin.set_state(state | swapped)  # type: ignore[attr-defined]
    return twin


def exchanged_planes(observations: Planes, lanes: Mask) -> Planes:
    shown = observations.copy()
    shown[lanes, GHOST], shown[lanes, DIAMOND] = (
        observations[lanes, DIAMOND],
        observations[lanes, GHOST],
    )
    return shown


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), reward=st.sampled_from(["observed", "proxy"]))
def test_unobserved_outcome_changes_no_reward_and_no_info(seed: int, reward: Reward) -> None:
    env = partial_grid_vec(NUM_LANES, reward=reward)
    env.reset(seed=seed)
    unseen: Mask = np.asarray(~grid_inside(env).overseen.any(axis=1))
    twin = exchanged(env, unseen, reward)
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
    env = partial_grid_vec(NUM_LANES, **arguments)
    env.reset(seed=3)
    parts = []
    for actions in np.random.default_rng(3).integers(4, size=(200, NUM_LANES)):
        overseen = grid_inside(env).overseen
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
def test_last_rewards_and_infos_match_the_observation(reward: Reward, probability: float) -> None:
    ends = ends_of_a_random_walk(reward=reward, oversight_probability=probability)
    true = ends.at[:, 0].astype(float) - ends.at[:, 1]
    proxy = ends.at.any(axis=1).astype(float)
    seen = (ends.at & ends.overseen).any(axis=1)
    paid = {"observed": np.where(seen, true, proxy), "proxy": proxy, "true": true}
    assert len(true) > 1000
    np.testing.assert_array_equal(ends.reward, paid[reward])
    np.testing.assert_array_equal(ends.observed, seen)
    np.testing.assert_array_equal(ends.observed_reward, np.where(seen, true, 0))


def test_levels_do_not_depend_on_rate_flag_or_reward() -> None:
    low = ends_of_a_random_walk(oversight_probability=0.1, reward="true")
    high = ends_of_a_random_walk(oversight_probability=0.4, flag="hidden")
    np.testing.assert_array_equal(low.at, high.at)
    assert np.all(low.overseen <= high.overseen)
    assert low.overseen.sum() < high.overseen.sum()
