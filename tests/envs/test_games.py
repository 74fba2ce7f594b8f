"""What games of any rules share: seeds, episodes, infos, resets and states of lanes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from envs.games import Arrays, GameEnv, Games, GameVectorEnv, Lanes, Step
from tests.envs.comparison import assert_same


class Sums(Games):
    """Actions are summed; a sum of 3 ends the episode, and what it started from is its level."""

    render_modes = ("ansi",)

    def __init__(self, num_lanes: int, render_mode: str | None = None) -> None:
        super().__init__(
            num_lanes,
            horizon=4,
            observation_space=spaces.Box(0, 2**40, (2,), np.int64),
            num_actions=3,
            allowed="0, 1 or 2",
            render_mode=render_mode,
        )
        self.observations = np.zeros((num_lanes, 2), np.int64)

    def step(self, actions: Lanes) -> Step:
        """Add the actions, which are paid as they are."""
        self.observations[:, 1] += actions
        terminated = self.observations[:, 1] >= 3
        return Step(actions.astype(np.float64), terminated, self._truncates(terminated))

    def infos(self) -> Arrays:
        """Return the sums."""
        return {"total": self.observations[:, 1]}

    def _begin(self, lanes: Lanes) -> None:
        level = 100 * self.seed[lanes] + self.episode[lanes]
        self.observations[lanes] = np.stack([level, np.zeros_like(level)], axis=1)

    def _arrays(self) -> Arrays:
        return {"sums": self.observations}

    def _check_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state["sums"][:, 1].max() > 2:
            raise ValueError("state['sums'] must be at most 2")

    def _resume(self, state: Mapping[str, NDArray[Any]]) -> None:
        pass

    def _frames(self) -> list[str]:
        return [str(row[1]) for row in self.observations]


def test_lanes_that_end_reset_in_the_same_step_and_report_what_they_ended_with() -> None:
    env = GameVectorEnv(Sums(3))
    observations, infos = env.reset(seed=[7, 8, 9])
    assert observations.tolist() == [[700, 0], [800, 0], [900, 0]]
    assert_same(infos, {"total": np.zeros(3, np.int64), "_total": np.ones(3, np.bool_)})
    env.step([1, 2, 0])
    observations, rewards, terminated, truncated, infos = env.step([1, 1, 0])
    assert observations.tolist() == [[700, 2], [801, 0], [900, 0]]
    assert (rewards.tolist(), terminated.tolist()) == ([1.0, 1.0, 0.0], [False, True, False])
    assert not truncated.any()
    assert infos["total"].tolist() == [2, 0, 0]
    assert infos["final_obs"].tolist() == [[700, 2], [800, 3], [900, 0]]
    assert infos["final_info"]["total"].tolist() == [0, 3, 0]
    for mask in (infos["_final_obs"], infos["_final_info"], infos["final_info"]["_total"]):
        assert mask.tolist() == [False, True, False]
    env.step([0, 0, 0])
    assert env.step([0, 0, 0])[3].tolist() == [True, False, True]  # the horizon is 4


def test_next_episodes_follow_resets_without_a_seed() -> None:
    env = GameVectorEnv(Sums(2))
    assert env.reset(seed=5)[0][:, 0].tolist() == [500, 600]
    assert env.reset()[0][:, 0].tolist() == [501, 601]
    assert env.reset(seed=5)[0][:, 0].tolist() == [500, 600]


def test_vector_equals_sync_vector_of_singles_with_infos() -> None:
    native = GameVectorEnv(Sums(4))
    singles = [lambda: GameEnv(Sums(1))] * 4
    sync = SyncVectorEnv(singles, autoreset_mode=AutoresetMode.SAME_STEP)
    assert_same(native.reset(seed=2), sync.reset(seed=2))
    for actions in np.random.default_rng(0).integers(3, size=(60, 4)):
        assert_same(native.step(actions), sync.step(actions))


def test_invalid_calls_are_refused() -> None:
    env, single = GameVectorEnv(Sums(2, "ansi")), GameEnv(Sums(1))
    for call in (env.get_state, env.render, lambda: env.step([0, 0]), lambda: single.step(0)):
        with pytest.raises(ResetNeeded, match="no episode is running"):
            call()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be 0, 1 or 2, got values from 0 to 3"):
        env.step([0, 3])
    with pytest.raises(ValueError, match="render_mode must be 'ansi' or None, got 'human'"):
        Sums(2, "human")
    state = env.get_state()
    for change, message in (
        ({"elapsed": np.array([0, 4])}, "from 0 to 3"),
        ({"sums": state["sums"] + 3}, "at most 2"),
        ({"sums": state["sums"][:1]}, "of shape"),
        ({"other": state["sums"]}, "state must hold"),
    ):
        with pytest.raises(ValueError, match=message):
            env.set_state({**state, **change})
    assert_same(env.get_state(), state)


def test_saved_state_continues_in_other_lanes() -> None:
    env, other = GameVectorEnv(Sums(2)), GameVectorEnv(Sums(2, "ansi"))
    env.reset(seed=0)
    env.step([2, 1])
    other.set_state(env.get_state())
    assert other.render() == ("2", "1")
    assert_same(env.step([1, 1]), other.step([1, 1]))
