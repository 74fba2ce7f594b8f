"""Infos of vector wrappers, and states from which a wrapper continues as if uninterrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from envs import (
    Budget,
    EpisodeCoin,
    FixedHorizon,
    GridVectorEnv,
    Noisy,
    PartialOversight,
    Schedule,
    StepCoin,
    partial_grid,
    partial_grid_vec,
)
from envs.wrappers import vector
from envs.wrappers.vector.infos import make_step_infos, parse_infos
from tests.envs.comparison import assert_same
from tests.envs.wrappers.observer_factories import guess
from tests.envs.wrappers.vector.test_partial_oversight import CASES

Vector = VectorEnv[Any, Any, Any]
LANES = 6


class Rows(VectorEnv[Any, Any, Any]):
    """Counts the steps of its lanes, which end after 3, 4, 5, ... and reset in the next step."""

    def __init__(self) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = LANES
        self.single_observation_space = spaces.Box(0, 99, (1,), np.int64)
        self.observation_space = batch_space(self.single_observation_space, LANES)
        self.single_action_space, self.action_space = spaces.Discrete(4), spaces.MultiDiscrete([4])
        self.count = np.zeros((LANES, 1), dtype=np.int64)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:  # noqa: ANN401
        """Start at 0."""
        self.count[:] = 0
        return self.count.copy(), {}

    def step(self, actions: Any) -> Any:  # noqa: ANN401
        """Count, or begin again."""
        limit = 3 + np.arange(LANES)
        self.count[:, 0] = np.where(self.count[:, 0] == limit, 0, self.count[:, 0] + 1)
        ended = self.count[:, 0] == limit
        return self.count.copy(), actions + 1.0, ended, np.zeros_like(ended), {}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy the counts."""
        return {"episode": self.count.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Set the counts."""
        self.count[:] = state["episode"]


def grid() -> Vector:
    return GridVectorEnv(LANES, size=3, horizon=9)


MORE: dict[str, dict[str, Any]] = {
    "default": {},
    "budget": {"observer": Budget(5, every=3), "flag": "visible"},
    "clock": {"observer": Schedule(lambda step: 1 / (1 + step / 40), by="step")},
    "error": {"observer": Noisy(StepCoin(0.5), miss=0.3), "flag": "visible", "proxy": guess},
}
WRAPPED: dict[str, Callable[[], Vector]] = {
    **{
        f"{place.__name__} {case}": lambda place=place, arguments=arguments: (  # type: ignore[misc]
            vector.PartialOversight(place(), **arguments)
        )
        for place in (grid, Rows)
        for case, arguments in (CASES | MORE).items()
    },
    "delayed by steps": lambda: vector.DelayedOversight(vector.PartialOversight(grid()), steps=3),
    "delayed by episodes": lambda: vector.DelayedOversight(
        vector.PartialOversight(Rows(), observed_probability=0.7), episodes=2
    ),
    "delayed in a horizon": lambda: vector.FixedHorizon(
        vector.DelayedOversight(vector.PartialOversight(grid()), steps=3), 7
    ),
    "horizon": lambda: vector.FixedHorizon(partial_grid_vec(LANES, size=3), 11, keep=("observed",)),
    "horizon outside": lambda: vector.FixedHorizon(vector.PartialOversight(grid()), 11),
    "horizon inside": lambda: vector.PartialOversight(vector.FixedHorizon(grid(), 7)),
    "horizons": lambda: vector.FixedHorizon(vector.FixedHorizon(grid(), 7), 9),
}


def played(env: Vector, actions: NDArray[np.int64]) -> tuple[Any, ...]:
    return tuple(env.step(row) for row in actions)


@pytest.mark.parametrize("case", WRAPPED)
def test_wrapper_continues_bit_for_bit_when_its_state_is_restored(case: str) -> None:
    make = WRAPPED[case]
    actions = np.random.default_rng(0).integers(4, size=(77, LANES))
    for before in (0, 37):
        env, other = make(), make()
        env.reset(seed=5)
        played(env, actions[:before])
        state: dict[str, NDArray[Any]] = env.get_state()  # type: ignore[attr-defined]
        assert all(type(array) is np.ndarray and len(array) == LANES for array in state.values())
        copies = {name: array.copy() for name, array in state.items()}
        going_on = played(env, actions[before : before + 40]), env.reset()
        other.reset(seed=99)
        played(other, actions[:7])
        other.set_state(state)  # type: ignore[attr-defined]
        resumed = played(other, actions[before : before + 40]), other.reset()
        assert_same(resumed, going_on)
        assert_same(state, copies)


def test_recorded_run_replaces_repeated_steps(tmp_path: Path) -> None:
    env = vector.PartialOversight(vector.RecordTruth(grid(), tmp_path / "truth.ledger"))
    env.reset(seed=0)
    state = env.get_state()
    assert {name.split(".")[0] for name in state if "ledger" in name} == {"env"}
    actions = np.random.default_rng(0).integers(4, size=(40, LANES))
    first = played(env, actions)
    env.set_state(state)
    assert_same(played(env, actions), first)
    env.close()


def test_horizon_around_oversight_equals_a_vector_of_singles() -> None:
    names = ("observed", "observed_reward")
    rules: dict[str, Any] = {"size": 3, "horizon": 9, "reward": "true"}
    observer = EpisodeCoin(0.5) & StepCoin(0.7)
    ours = vector.FixedHorizon(
        vector.PartialOversight(partial_grid_vec(LANES, **rules), observer=observer), 11, keep=names
    )
    singles = SyncVectorEnv(
        [
            lambda: FixedHorizon(
                PartialOversight(partial_grid(**rules), observer=observer), 11, keep=names
            )
        ]
        * LANES,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert_same(ours.reset(seed=1), singles.reset(seed=1))
    for row in np.random.default_rng(0).integers(4, size=(120, LANES)):
        assert_same(ours.step(row), singles.step(row))


def test_state_is_refused_and_changes_nothing_when_invalid() -> None:
    env = vector.PartialOversight(grid(), observer=StepCoin(0.5), proxy=guess)
    with pytest.raises(ResetNeeded):
        env.get_state()
    with pytest.raises(ResetNeeded):
        env.set_state({})
    env.reset(seed=0)
    state = env.get_state()
    bad: dict[str, tuple[Any, str]] = {
        "oversight_seed": (np.zeros(LANES), "must be uint64 of shape"),
        "oversight_step": (np.zeros(2, dtype=np.uint64), r"got uint64 of shape \(2,\)"),
        "oversight_resetting": (np.ones(LANES, dtype=np.bool_), "where no step resets"),
        "oversight_observation": (np.zeros((LANES, 3), dtype=np.int8), "with other arguments"),
        "env.agent": (np.full(LANES, 50), "must be from 0 to 8"),
        "env.more": (np.zeros(LANES), "state must hold"),
        "more": (np.zeros(LANES), "with other wrappers"),
    }
    for name, (value, message) in bad.items():
        with pytest.raises(ValueError, match=message) as error:
            env.set_state(state | {name: value})
        assert "\n" not in str(error.value)
        assert_same(env.get_state(), state)
    with pytest.raises(ValueError, match="state must hold"):
        env.set_state({name: state[name] for name in state if name != "oversight_played"})


def test_horizon_state_is_refused_when_invalid() -> None:
    env = vector.FixedHorizon(grid(), 4)
    with pytest.raises(ResetNeeded):
        env.get_state()
    env.reset(seed=0)
    state = env.get_state()
    for elapsed in (np.full(LANES, 4), np.full(LANES, -1), np.arange(LANES) % 2):
        with pytest.raises(ValueError, match="one number in all lanes, from 0 to 3, got"):
            env.set_state(state | {"horizon_elapsed": elapsed})
    assert_same(env.get_state(), state)


def test_environment_is_refused_when_it_has_no_state() -> None:
    env = vector.PartialOversight(gym.make_vec("CartPole-v1", num_envs=2))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="lacks get_state and set_state"):
        env.get_state()
    with pytest.raises(ValueError, match="SAME_STEP and get_state"):
        vector.FixedHorizon(env, 5)
    nested = vector.PartialOversight(Dictionary(), proxy=lambda *seen: np.zeros(len(seen[-1])))
    nested.reset()
    with pytest.raises(ValueError, match="which must be arrays, got Dict"):
        nested.get_state()


class Dictionary(Rows):
    """Observes the counts in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.single_observation_space = spaces.Dict({"count": self.single_observation_space})
        self.observation_space = batch_space(self.single_observation_space, LANES)

    def reset(self, **arguments: Any) -> Any:  # noqa: ANN401
        """Start at 0."""
        count, infos = super().reset(**arguments)
        return {"count": count}, infos


@given(data=st.data(), lanes=st.integers(1, 12))
def test_step_infos_keep_ended_lanes_apart(data: st.DataObject, lanes: int) -> None:
    observed, ended = (data.draw(arrays.arrays(np.bool_, lanes)) for _ in range(2))
    rewards = np.where(observed, data.draw(arrays.arrays(np.int8, lanes)) / 4, 0.0)
    every, final = np.ones(lanes, dtype=np.bool_), object()
    infos: dict[str, Any] = make_step_infos(observed, rewards, ended, final)
    last = infos["final_info"]
    for part, mask, here in ((infos, every, ~ended), (last, ended, ended)):
        np.testing.assert_array_equal(part["observed"], observed & here)
        np.testing.assert_array_equal(part["observed_reward"], np.where(here, rewards, 0.0))
        for name in ("_observed", "_observed_reward"):
            np.testing.assert_array_equal(part[name], mask)
    for name in ("_final_info", "_final_obs"):
        np.testing.assert_array_equal(infos[name], ended)
    assert infos["final_obs"] is final
    returned = [infos[name] for name in infos if "final" not in name] + list(last.values())
    returned += [infos["_final_info"], infos["_final_obs"]]
    for number, array in enumerate(returned):  # each may be written to
        assert not any(np.shares_memory(array, other) for other in returned[:number])


def test_infos_are_parsed_when_some_lanes_have_no_entry() -> None:
    observed, rewards = parse_infos(
        {
            "observed": np.array([True, None, False]),
            "_observed": np.array([True, False, True]),
            "observed_reward": np.array([0.5, 0.0, np.nan]),
        }
    )
    assert observed.tolist() == [True, False, False]
    assert rewards.tolist() == [0.5, 0.0, 0.0]
