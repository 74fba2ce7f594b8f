"""Trace: equal values have equal digests, and every other value another."""

import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oversight.certificate.certificate import Trace
from tests.oversight.certificate.digests import differ, traced

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.binary(max_size=3), st.floats()
)
ARRAYS = arrays.arrays(
    st.sampled_from([np.dtype(name) for name in ("f8", "f4", "i8", "i4", "i1", "?")]),
    arrays.array_shapes(min_dims=0, max_side=3),
)
KEYS = st.text(max_size=2) | st.integers(0, 30)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3),
    max_leaves=6,
)


def exactly(value: Any) -> object:  # noqa: ANN401
    """Return what is equal for two values exactly if they are the same bits of the same type."""
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return "mapping", sorted((repr(key), exactly(part)) for key, part in value.items())
    if isinstance(value, list):
        return "sequence", [exactly(part) for part in value]
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    return type(value).__name__, value


def copied(value: Any) -> Any:  # noqa: ANN401
    """Return the same value in other memory, mappings in another order."""
    if isinstance(value, np.ndarray):
        return np.array(value, order="F")
    if isinstance(value, dict):
        return {key: copied(value[key]) for key in reversed(list(value))}
    return [copied(part) for part in value] if isinstance(value, list) else value


@given(VALUES)
def test_equal_values_have_equal_digests(value: object) -> None:
    assert not differ(value, copied(value))


@given(VALUES, VALUES)
def test_two_values_differ_exactly_if_their_bits_or_types_do(one: object, other: object) -> None:
    assert differ(one, other) == (repr(exactly(one)) != repr(exactly(other)))


def nan(payload: int) -> float:
    """Return a NaN with these lowest bits."""
    bits = struct.pack("<Q", 0x7FF8000000000000 | payload)
    value: float = struct.unpack("<d", bits)[0]
    return value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.0, -0.0),
        (nan(0), nan(1)),
        (np.array([0.0]), np.array([-0.0])),
        (np.array([nan(0)]), np.array([nan(1)])),
        (1, 1.0),
        (1, True),
        (0, False),
        (0, None),
        ("1", 1),
        ("a", b"a"),
        (np.float32(1), np.float64(1)),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(1), np.float64(0)),
        (np.zeros(2, np.int32), np.zeros(2, np.float32)),
        (np.array([1, 2]), np.array([2, 1])),
        ([1, 2], [2, 1]),
        ([[1], 2], [1, [2]]),
        ([[1, 2]], [1, 2]),
        ([], {}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {}, "b": 1}, {"a": {"b": 1}}),
        ({1: 0}, {"1": 0}),
        ({"a": 1, 23: 4}, {"a": 12, 3: 4}),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
    ],
)
def test_what_looks_alike_differs(one: object, other: object) -> None:
    assert differ(one, other)
    assert not differ(one, one)
    assert not differ(other, other)


def test_a_tensor_is_the_array_of_its_values() -> None:
    assert not differ(torch.arange(3.0, requires_grad=True), np.arange(3, dtype=np.float32))


def test_a_view_is_what_it_shows() -> None:
    grid = np.arange(12).reshape(3, 4)
    assert not differ(grid[:, ::2], grid[:, ::2].copy())
    assert differ(grid[:, ::2], grid[:, 1::2])


def test_an_array_of_objects_is_what_it_holds() -> None:
    one, other = np.empty(2, dtype=object), np.empty(2, dtype=object)
    one[0], other[0] = np.zeros(3), np.zeros(3)
    assert not differ(one, other)
    other[0][2] = -0.0
    assert differ(one, other)


@given(st.lists(st.integers(0, 1), max_size=6), st.lists(st.integers(0, 1), max_size=6))
def test_the_difference_is_the_first(one: list[int], other: list[int]) -> None:
    longest = range(max(len(one), len(other)))
    first = next((step for step in longest if one[step : step + 1] != other[step : step + 1]), None)
    found = traced(*one).difference(traced(*other), "channel")
    assert found == (None if first is None else (first, f"value {first}"))


def test_names_and_steps_count_too() -> None:
    one, other = Trace(), Trace()
    one.note("channel", 8, "rewards", 1.0)
    other.note("channel", 8, "returns", 1.0)
    assert one.difference(other, "channel") == (8, "returns")
    other = Trace()
    other.note("channel", 16, "rewards", 1.0)
    assert one.difference(other, "channel") == (16, "rewards")


def test_channels_are_apart() -> None:
    one, other = traced(1), traced(1)
    one.note("another", 0, "value", 1)
    assert one.difference(other, "channel") is None
    assert one.difference(other, "another") == (0, "value")
    assert one.difference(other, "a third") is None


@pytest.mark.parametrize("value", [object(), {1, 2}, [lambda: 0], {"a": object()}])
def test_what_cannot_be_compared_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"cannot be compared bit for bit: let the environment"):
        traced(value)
