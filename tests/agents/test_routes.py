"""The route of an episode, and of each of its steps."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from agents.methods import METHODS, ROUTES
from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    OPEN,
    POSITIVE,
    UNRESOLVED,
    UNUSED,
    Outcomes,
    write_back,
)


class Seen(Mapping[str, Any]):
    """An `info` of which only what the overseer saw may be read."""

    allowed = ("observed", "observed_reward", "TimeLimit.truncated", "resetting")

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        assert key in self.allowed, f"{key} is not for the learner"
        return self.info[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the learner looked through all of info")

    def __len__(self) -> int:
        return len(self.info)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("positive", {"observed": True, "observed_reward": 1.0, "TimeLimit.truncated": False}),
    ("positive", {"observed": np.True_, "observed_reward": np.float64(0.5)}),
    ("negative", {"observed": True, "observed_reward": -1.0, "TimeLimit.truncated": False}),
    ("negative", {"observed": np.True_, "observed_reward": np.float64(-0.5)}),
    ("hidden", {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": False}),
    ("hidden", {"observed": np.False_, "TimeLimit.truncated": False}),
    ("hidden", {}),
    ("open", {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": True}),
    ("open", {"TimeLimit.truncated": True}),
]


START, END = np.array([True]), np.array([True])


def last_route(*infos: Mapping[str, Any], timeouts: Any = "open") -> str:  # noqa: ANN401
    """Return the route of an episode of one step for each info."""
    outcomes, start = Outcomes(1, timeouts), START
    for info in infos[:-1]:
        assert outcomes.step([info], ~END, start) == [UNRESOLVED]
        start = ~START
    return ROUTES[outcomes.step([infos[-1]], END, start)[0]]


@pytest.mark.parametrize(("route", "info"), CASES)
def test_an_episode_ends_on_one_of_four_routes(route: str, info: dict[str, Any]) -> None:
    assert last_route(info) == route
    assert last_route({}, {}, info) == route


@pytest.mark.parametrize(("route", "info"), CASES)
@pytest.mark.parametrize("truth", [1.0, -1.0, float("nan")])
def test_the_truth_is_never_read(route: str, info: dict[str, Any], truth: float) -> None:
    hidden = {"true_reward": truth, "proxy_reward": truth, "episode": {"r": truth, "l": 1}}
    assert last_route(Seen(hidden | info)) == route


def test_the_observed_reward_of_a_hidden_step_is_not_read() -> None:
    nan = float("nan")
    outcomes = Outcomes(1)
    outcomes.step([{"observed": False, "observed_reward": nan}], ~END, START)
    np.testing.assert_equal(outcomes.get_state(), Outcomes(1).get_state())


def seen(reward: float) -> dict[str, Any]:
    return {"observed": True, "observed_reward": reward}


@pytest.mark.parametrize(
    ("route", "infos"),
    [
        ("positive", [seen(1.0), {}]),  # observed in its middle alone
        ("positive", [seen(3.0), {}, seen(-2.0)]),  # the last step alone would be a ghost
        ("negative", [seen(-3.0), {"observed": False}, seen(2.0)]),
        ("negative", [seen(1.0), seen(-1.0)]),  # a return of zero is no good outcome
        ("negative", [seen(-1.0), {"observed": False, "TimeLimit.truncated": True}]),
    ],
)
def test_the_whole_episode_decides(route: str, infos: list[dict[str, Any]]) -> None:
    for timeouts in ("open", "hidden"):
        assert last_route(*infos, timeouts=timeouts) == route


def test_what_a_time_limit_hides_is_a_choice() -> None:
    cut = {"observed": False, "TimeLimit.truncated": True}
    assert last_route(cut, timeouts="open") == "open"
    assert last_route(cut, timeouts="hidden") == "hidden"
    with pytest.raises(ValueError, match="timeouts must be open or hidden, got 'never'"):
        last_route(cut, timeouts="never")


@pytest.mark.parametrize(("timeouts", "unseen"), [("open", OPEN), ("hidden", HIDDEN)])
def test_an_unfinished_episode_is_judged_by_what_was_seen(timeouts: Any, unseen: int) -> None:  # noqa: ANN401
    outcomes, none = Outcomes(3, timeouts), np.zeros(3, dtype=np.bool_)
    outcomes.step([seen(1.0), seen(-1.0), {}], none, ~none)
    assert outcomes.unfinished().tolist() == [POSITIVE, NEGATIVE, unseen]
    outcomes.step([{}, {}, {}], none, np.array([True, False, False]))
    assert outcomes.unfinished().tolist() == [unseen, NEGATIVE, unseen]


def test_a_state_goes_on_where_it_was() -> None:
    outcomes, other, none = Outcomes(2), Outcomes(2), np.zeros(2, dtype=np.bool_)
    outcomes.step([seen(2.0), {}], none, ~none)
    state = outcomes.get_state()
    outcomes.step([seen(-9.0), seen(1.0)], none, none)
    other.set_state(state)
    assert other.step([seen(-1.0), {}], ~none, none).tolist() == [POSITIVE, HIDDEN]


def test_a_step_that_only_resets_has_no_route() -> None:
    none = np.zeros(2, dtype=np.bool_)
    routes = Outcomes(2).step([{"resetting": True}, {}], none, ~none)
    assert routes.tolist() == [UNUSED, UNRESOLVED]
    assert routes.dtype == np.int8


def test_every_table_numbers_the_routes_alike() -> None:
    for method in METHODS.values():
        assert method.table.route_names == ROUTES


def reference(last: NDArray[np.int8], unfinished: int) -> NDArray[np.int8]:
    """Look ahead from each step for the end of its episode."""
    routes = np.empty_like(last)
    for step, lane in np.ndindex(*last.shape):
        ahead = [route for route in last[step:, lane] if route != UNRESOLVED]
        routes[step, lane] = ahead[0] if ahead else unfinished
    return routes


LABELS = arrays(
    np.int8,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.integers(UNRESOLVED, len(ROUTES) - 1),
)


@given(LABELS, st.sampled_from([None, POSITIVE, NEGATIVE, HIDDEN]))
def test_each_step_has_the_route_of_its_episode(
    last: NDArray[np.int8], unfinished: int | None
) -> None:
    kept = last.copy()
    tail = None if unfinished is None else np.full(last.shape[1], unfinished, np.int8)
    routes = write_back(last, tail)
    np.testing.assert_array_equal(
        routes, reference(last, OPEN if unfinished is None else unfinished)
    )
    np.testing.assert_array_equal(last, kept)
    assert routes.dtype == np.int8
