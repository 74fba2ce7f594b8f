"""`RouteTable`: encoding of routes, weights of routes, and refusals."""

import copy
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from oversight.routing import RouteTable

WEIGHTS = {
    "observed": {"motivation": 1.0, "shared": 0.1},
    "hidden": {"motivation": 0.0, "shared": -0.75},
}
TABLE = RouteTable(WEIGHTS)


def test_route_names_are_encoded_in_table_order() -> None:
    assert TABLE.route_names == ("observed", "hidden")
    assert TABLE.target_names == ("motivation", "shared")
    route = TABLE.routes(["hidden", "observed", "hidden"])
    assert route.dtype == torch.int64
    assert route.tolist() == [1, 0, 1]
    assert TABLE.routes([["hidden"], ["observed"]]).tolist() == [[1], [0]]
    assert TABLE.routes("hidden").shape == ()


@pytest.mark.parametrize("ndim", [2, 3, 5])
def test_weights_have_trailing_axes_of_one(ndim: int) -> None:
    route = torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.int32)
    weight = TABLE("shared", route, ndim=ndim)
    assert weight.shape == (2, 3, *[1] * (ndim - 2))
    assert weight.flatten().tolist() == [0.1, -0.75, -0.75, -0.75, 0.1, 0.1]


def test_weights_of_a_scalar_route_have_only_axes_of_one() -> None:
    assert TABLE("motivation", TABLE.routes("hidden"), ndim=2).tolist() == [[0.0]]


def test_table_is_rebuilt_from_its_dictionary() -> None:
    assert TABLE.as_dict() == WEIGHTS
    assert RouteTable(TABLE.as_dict()) == TABLE
    assert repr(TABLE) == f"RouteTable({WEIGHTS})"


def test_tables_are_equal_when_names_order_and_weights_are() -> None:
    columns = {route: dict(reversed(row.items())) for route, row in WEIGHTS.items()}
    assert RouteTable(columns) == TABLE
    assert hash(RouteTable(columns)) == hash(TABLE)
    rows = dict(reversed(WEIGHTS.items()))  # other integers
    assert RouteTable(rows) != TABLE
    assert RouteTable({**WEIGHTS, "hidden": {"motivation": 0, "shared": 1}}) != TABLE
    assert TABLE != WEIGHTS


def test_copied_and_pickled_tables_are_equal() -> None:
    assert copy.deepcopy(TABLE) == TABLE
    assert pickle.loads(pickle.dumps(TABLE)) == TABLE
    assert TABLE.to("cpu") == TABLE


def test_table_is_immutable() -> None:
    source = {"all": {"net": 1.0}}
    table = RouteTable(source)
    source["all"]["net"] = table.as_dict()["all"]["net"] = 2.0
    table.as_dict()["all"]["net"] = 3.0
    assert table.as_dict() == {"all": {"net": 1.0}}
    assert table("net", table.routes("all"), ndim=0).item() == 1
    with pytest.raises(AttributeError, match="never changes; build a new one"):
        table.route_names = ()  # type: ignore[misc]
    with pytest.raises(AttributeError, match="never changes"):
        del table._rows


def test_weights_follow_the_device_of_the_route() -> None:
    weight = TABLE("shared", torch.zeros(3, dtype=torch.int64, device="meta"), ndim=2)
    assert weight.device.type == "meta"
    assert TABLE.to("meta")._matrix.device.type == "meta"


def test_unknown_route_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"unknown route 'hiden': .*; did you mean 'hidden'"):
        TABLE.routes(["observed", "hiden"])
    with pytest.raises(
        ValueError, match=r"unknown target 'Shared': .* motivation, shared; did you"
    ):
        TABLE("Shared", torch.tensor([0]), ndim=2)
    with pytest.raises(
        ValueError, match=r"unknown target 'xyz': this table has motivation, shared$"
    ):
        TABLE("xyz", torch.tensor([0]), ndim=2)


@pytest.mark.parametrize("integer", [-1, 2])
def test_route_integer_outside_the_table_is_refused(integer: int) -> None:
    with pytest.raises(ValueError, match=f"to {max(integer, 0)} were given.*0 to 1: observed, hid"):
        TABLE("shared", torch.tensor([0, integer]), ndim=2)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.uint8])
def test_route_of_a_wrong_dtype_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=f"a route of {dtype} was given: use int64"):
        TABLE("shared", torch.zeros(2, dtype=dtype), ndim=2)


def test_route_with_too_many_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\) has more axes than the 1"):
        TABLE("shared", torch.zeros(2, 3, dtype=torch.int64), ndim=1)


@pytest.mark.parametrize("empty", [{}, {"hidden": {}}])
def test_empty_table_is_refused(empty: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="empty table"):
        RouteTable(empty)


def test_rows_must_name_the_same_targets() -> None:
    with pytest.raises(
        ValueError, match=r"'b' names the targets \['y'\], but 'a' names \['x', 'y'"
    ):
        RouteTable({"a": {"x": 1, "y": 1}, "b": {"y": 1}})


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "1", None, 1j, [1], 10**400])
def test_weights_must_be_finite_numbers(weight: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"route 'a' at target 'x' is .*: give a finite"):
        RouteTable({"a": {"x": weight}})


@pytest.mark.parametrize("weight", [1, True, 0.5, np.float32(0.5), np.int8(-1), Fraction(1, 2)])
def test_weights_may_be_numbers_of_any_real_type(weight: Any) -> None:  # noqa: ANN401
    assert RouteTable({"a": {"x": weight}}).as_dict() == {"a": {"x": float(weight)}}


@pytest.mark.parametrize("rows", [3, None, [("a", {"x": 1})], {"a": 3}, {"a": [1]}, "a"])
def test_table_is_built_from_dictionaries(rows: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="was given: give a dictionary from each route to a dict"):
        RouteTable(rows)


@pytest.mark.parametrize("rows", [{3: {"x": 1}}, {"": {"x": 1}}, {"a": {None: 1}}, {"a": {"": 1}}])
def test_routes_and_targets_are_words(rows: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"a route or target .* was given: name it by a word"):
        RouteTable(rows)


def test_what_is_no_name_or_route_is_refused() -> None:
    uses: dict[str, Any] = {
        "unknown route 3": lambda: TABLE.routes(3),  # type: ignore[arg-type]
        "unknown route None": lambda: TABLE.routes(["observed", None]),  # type: ignore[list-item]
        "unknown target 3": lambda: TABLE(3, torch.tensor([0]), ndim=1),  # type: ignore[arg-type]
        "a route of type list was": lambda: TABLE("shared", [0], ndim=1),  # type: ignore[arg-type]
    }
    for message, use in uses.items():
        with pytest.raises(ValueError, match=message):
            use()
