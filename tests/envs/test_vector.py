"""GridVectorEnv equals SyncVectorEnv of GridEnv, and resumes bit for bit."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import ArrayLike, DTypeLike, NDArray

from envs import GridEnv, GridVectorEnv
from tests.envs.same import assert_same

VARIANTS: list[dict[str, Any]] = [
    {"oversight_probability": 0.3},
    {"flag": "hidden", "reward": "proxy", "horizon": 9},
    {"reward": "true", "size": 7, "oversight_probability": 1.0},
]


def random_actions(steps: int, num_envs: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(4, size=(steps, num_envs))


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_equals_a_sync_vector_of_singles(variant: dict[str, Any]) -> None:
    native = GridVectorEnv(64, **variant)
    sync = SyncVectorEnv([lambda: GridEnv(**variant)] * 64, autoreset_mode=AutoresetMode.SAME_STEP)
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert_same(native.reset(seed=11), sync.reset(seed=11))
    for step, actions in enumerate(random_actions(500, 64)):
        if step == 250:
            assert_same(native.reset(), sync.reset())
        ours = native.step(actions)
        assert_same(ours, sync.step(actions))
        assert ours[0] in native.observation_space


def test_a_list_of_seeds_names_the_lanes() -> None:
    native = GridVectorEnv(3)
    singles = [GridEnv().reset(seed=seed)[0] for seed in (9, 2, 9)]
    np.testing.assert_array_equal(native.reset(seed=[9, 2, 9])[0], singles)


def test_unseeded_environments_differ_and_tell_their_seed() -> None:
    one, two = GridVectorEnv(8), GridVectorEnv(8)
    start = one.reset()[0]
    assert (start != two.reset()[0]).any()
    np.testing.assert_array_equal(two.reset(seed=one.np_random_seed)[0], start)


def test_what_was_returned_never_changes() -> None:
    env, twin = GridVectorEnv(32), GridVectorEnv(32)
    kept = [env.reset(seed=0), *(env.step(actions) for actions in random_actions(40, 32))]
    snapshots: list[object] = [deepcopy(twin.reset(seed=0))]
    snapshots += [deepcopy(twin.step(actions)) for actions in random_actions(40, 32)]
    for one, other in zip(kept, snapshots, strict=True):
        assert_same(one, other)


def test_what_is_given_out_may_be_written_to() -> None:
    env, twin = GridVectorEnv(32), GridVectorEnv(32)
    twin.reset(seed=0)
    observations, _ = env.reset(seed=0)
    for array in (observations, env.overseen, *env.board, *env.get_state().values()):
        array[:] = 0
    for actions in random_actions(40, 32):
        assert_same(env.step(actions), twin.step(actions))


def test_a_seed_starts_again_at_episode_0() -> None:
    env, fresh = GridVectorEnv(32), GridVectorEnv(32)
    env.reset(seed=1)
    for actions in random_actions(40, 32):
        env.step(actions)
    assert_same(env.reset(seed=2), fresh.reset(seed=2))
    for actions in random_actions(40, 32):
        assert_same(env.step(actions), fresh.step(actions))


def test_a_timeout_is_truncated_and_not_terminated() -> None:
    env = GridVectorEnv(256)
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


def test_a_state_resumes_bit_for_bit() -> None:
    env, other = GridVectorEnv(64), GridVectorEnv(64)
    env.reset(seed=1)
    for actions in random_actions(50, 64):
        env.step(actions)
    state = env.get_state()
    copies = {name: array.copy() for name, array in state.items()}
    going_on = [env.step(actions) for actions in random_actions(100, 64, seed=1)]
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


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
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
def test_bad_actions_are_refused_and_change_nothing(actions: ArrayLike) -> None:
    env = GridVectorEnv(4)
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(ValueError, match="actions must be"):
        env.step(actions)
    assert_same(env.get_state(), before)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integer_dtype_moves_alike(dtype: DTypeLike) -> None:
    env, other = GridVectorEnv(16), GridVectorEnv(16)
    env.reset(seed=0)
    other.reset(seed=0)
    for actions in random_actions(20, 16):
        assert_same(env.step(actions), other.step(actions.astype(dtype)))


def test_step_and_render_need_a_reset_and_masks_are_refused() -> None:
    env = GridVectorEnv(2, render_mode="ansi")
    with pytest.raises(ResetNeeded):
        env.step([0, 0])
    with pytest.raises(ResetNeeded):
        env.render()
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        env.reset(options={"reset_mask": np.ones(2, bool)})


def test_gymnasium_wrappers_count_its_episodes() -> None:
    env = RecordEpisodeStatistics(GridVectorEnv(64, reward="proxy"))
    env.reset(seed=0)
    for actions in random_actions(40, 64):
        _, rewards, terminated, truncated, infos = env.step(actions)
        ended = terminated | truncated
        if ended.any():
            np.testing.assert_array_equal(infos["_episode"], ended)
            np.testing.assert_array_equal(infos["episode"]["r"][ended], rewards[ended])
