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
from agents.routes import OPEN, UNRESOLVED, episode_route, write_back


class Seen(Mapping[str, Any]):
    """An `info` of which only what the overseer saw may be read."""

    allowed = ("observed", "observed_reward", "TimeLimit.truncated")

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        assert key in self.allowed, f"{key} is not for the learner"
        return self.info[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the learner looked through all of info")

    def __len__(self) -> int:
        raise AssertionError("the learner looked through all of info")


CASES: list[tuple[str, dict[str, Any]]] = [
    ("diamond", {"observed": True, "observed_reward": 1.0, "TimeLimit.truncated": False}),
    ("diamond", {"observed": np.True_, "observed_reward": np.float64(0.5)}),
    ("ghost", {"observed": True, "observed_reward": -1.0, "TimeLimit.truncated": False}),
    ("ghost", {"observed": np.True_, "observed_reward": np.float64(-0.5)}),
    ("hidden", {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": False}),
    ("hidden", {"observed": np.False_, "TimeLimit.truncated": False}),
    ("hidden", {}),
    ("open", {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": True}),
    ("open", {"TimeLimit.truncated": True}),
]


@pytest.mark.parametrize(("route", "info"), CASES)
def test_an_episode_ends_on_one_of_four_routes(route: str, info: dict[str, Any]) -> None:
    assert ROUTES[episode_route(info)] == route


@pytest.mark.parametrize(("route", "info"), CASES)
@pytest.mark.parametrize("truth", [1.0, -1.0, float("nan")])
def test_the_truth_is_never_read(route: str, info: dict[str, Any], truth: float) -> None:
    hidden = {"true_reward": truth, "proxy_reward": truth, "episode": {"r": truth, "l": 1}}
    assert ROUTES[episode_route(Seen(hidden | info))] == route


def test_every_table_numbers_the_routes_alike() -> None:
    for method in METHODS.values():
        assert method.table.route_names == ROUTES


def reference(last: NDArray[np.int8]) -> NDArray[np.int8]:
    """Look ahead from each step for the end of its episode."""
    routes = np.empty_like(last)
    for step, lane in np.ndindex(*last.shape):
        ahead = [route for route in last[step:, lane] if route != UNRESOLVED]
        routes[step, lane] = ahead[0] if ahead else OPEN
    return routes


LABELS = arrays(
    np.int8,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.integers(UNRESOLVED, len(ROUTES) - 1),
)


@given(LABELS)
def test_each_step_has_the_route_of_its_episode(last: NDArray[np.int8]) -> None:
    kept = last.copy()
    routes = write_back(last)
    np.testing.assert_array_equal(routes, reference(last))
    np.testing.assert_array_equal(last, kept)
    assert routes.dtype == np.int8
