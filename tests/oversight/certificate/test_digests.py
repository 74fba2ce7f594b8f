"""Digests tell any two values apart, by bits, types and order, whatever they are."""

import random
import struct
from collections import OrderedDict, deque
from decimal import Decimal
from enum import Enum, IntEnum
from functools import partial
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any
from weakref import ref

import matplotlib.figure
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from stable_baselines3.common.logger import Figure, HParam, Image

from oversight.certificate.digests import digest_of
from tests.oversight.certificate.traces import differ, trace_of

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


class Color(Enum):
    """Colors."""

    RED, BLUE = 1, 2


class Level(IntEnum):
    """Levels, which equal numbers."""

    LOW, HIGH = 1, 2


class Scaled(float):
    """A number with an attribute."""

    unit: object

    def __new__(cls, value: float, unit: object = None) -> "Scaled":
        """Return the number."""
        number = super().__new__(cls, value)
        number.unit = unit
        return number


def scaled_by(factor: float) -> Any:  # noqa: ANN401
    return lambda number: factor * number


def drawn(height: float) -> Any:  # noqa: ANN401 (a figure of Matplotlib)
    figure = matplotlib.figure.Figure(figsize=(1, 1))
    figure.subplots().plot([0, height, 1])
    return figure


def exactly(value: Any) -> object:  # noqa: ANN401
    """Return what is equal for two values exactly if they are the same bits of the same type."""
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return "mapping", [(exactly(key), exactly(part)) for key, part in value.items()]
    if isinstance(value, list):
        return "sequence", [exactly(part) for part in value]
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    return type(value).__name__, value


def copied(value: Any) -> Any:  # noqa: ANN401
    """Return the same value in other memory."""
    if isinstance(value, np.ndarray):
        return np.array(value, order="F")
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


@given(VALUES)
def test_digests_are_equal_when_a_value_is_copied(value: object) -> None:
    assert not differ(value, copied(value))


@given(VALUES, VALUES)
def test_digests_differ_when_bits_or_types_do(one: object, other: object) -> None:
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
        (torch.zeros(1), np.zeros(1, np.float32)),
        (torch.zeros(1), torch.zeros(1, requires_grad=True)),
        (np.array(0.0), np.float64(0)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, OrderedDict(a=1)),
        ({True: 0}, {1: 0}),
        ([1], (1,)),
        ([1], deque([1])),
        (deque([1], maxlen=2), deque([1], maxlen=3)),
        ({1}, frozenset({1})),
        ({1}, {1, 2}),
        (Color.RED, Color.BLUE),
        (Level.LOW, 1),
        (Scaled(1.0), 1.0),
        (Scaled(1.0), Scaled(2.0)),
        (Scaled(1.0, unit=1), Scaled(1.0, unit=2)),
        (np.ma.array([1, 2], mask=[False, True]), np.ma.array([1, 2], mask=[True, False])),
        (np.ma.array([1, 2], mask=[False, True]), np.ma.array([1, 3], mask=[False, True])),
        (np.ma.array([1], fill_value=0), np.ma.array([1], fill_value=1)),
        (np.zeros(1, [("a", "i4")]), np.zeros(1, [("b", "i4")])),
        (range(2), range(3)),
        (slice(1), slice(2)),
        (Decimal(1), Decimal("1.0")),
        (ValueError("a"), ValueError("b")),
        (Path("a"), Path("b")),
        (SimpleNamespace(a=1), SimpleNamespace(a=2)),
        (SimpleNamespace(a=1, b=2), SimpleNamespace(b=2, a=1)),
        (scaled_by(1), scaled_by(2)),
        (partial(max, 1), partial(max, 2)),
        (lambda: 1, lambda: 2),
        (spaces.Box(0, 1, (2,)), spaces.Box(0, 2, (2,))),
        (spaces.Discrete(2, seed=0), spaces.Discrete(2, seed=1)),
        (np.random.default_rng(0), np.random.default_rng(1)),
        (np.random.RandomState(0), np.random.RandomState(1)),
        (random.Random(0), random.Random(1)),
        (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)),
        (Image(np.zeros((1, 1, 3)), "HWC"), Image(np.ones((1, 1, 3)), "HWC")),
        (Figure(drawn(1), close=False), Figure(drawn(2), close=False)),
        (HParam({"a": 1}, {"b": 0}), HParam({"a": 2}, {"b": 0})),
    ],
)
def test_digests_differ_when_values_look_alike(one: object, other: object) -> None:
    assert differ(one, other)
    assert not differ(one, one)
    assert not differ(other, other)


class Node:
    """Refers to another node."""

    def __init__(self, value: object, other: object = None) -> None:
        self.value, self.other = value, other


def test_digests_end_when_values_contain_themselves() -> None:
    def ring(value: int) -> Node:
        node = Node(value)
        node.other = [node, {"back": node}]
        return node

    assert not differ(ring(1), ring(1))
    assert differ(ring(1), ring(2))
    endless: list[object] = []
    endless.append(endless)
    assert differ(endless, [[]])


def test_shared_objects_are_compared_when_they_are_met_again() -> None:
    shared = Node(1)
    assert not differ([shared, shared], [shared, shared])
    assert differ([shared, shared], [Node(1), Node(1)])


def test_sets_are_equal_when_their_elements_are() -> None:
    one, other = {"b", "a", 8, 0}, {0, 8, "a", "b"}
    assert not differ(one, other)


@pytest.mark.parametrize("duration", [0.5, np.float64(0.5), np.array([0.5, 0.0])])
def test_the_duration_of_an_episode_is_compared_by_its_type_only(duration: object) -> None:
    episode = {"r": 1.0, "l": 2, "t": 0.25 if isinstance(duration, float) else np.array([1.0])}
    assert differ(episode, {**episode, "t": "0.5"})
    assert differ(episode, {**episode, "r": 2.0})
    assert differ({"t": 0.25}, {"t": 0.5})  # no episode
    same = type(episode["t"]) is type(duration)
    assert differ({"episode": episode}, {"episode": {**episode, "t": duration}}) != same


def test_a_weak_reference_is_compared_by_its_type_since_no_pickle_follows_it() -> None:
    one, other = Node(1), Node(2)
    assert not differ(ref(one), ref(other))


@pytest.mark.parametrize("value", [Lock(), (each for each in [0]), {"a": [Lock()]}, open])
def test_an_opaque_object_is_refused_or_compared_by_class(value: object) -> None:
    if value is open:  # a function of the interpreter, which is pickled by its name
        assert not differ(open, open)
        return
    words = r"value 0 holds an object of .*, which cannot be compared bit for bit: give numbers"
    with pytest.raises(ValueError, match=words):
        trace_of(value)
    assert digest_of(value, "held", "by class") == digest_of(value, "held", "by class")


def test_digests_are_equal_when_a_view_is_copied() -> None:
    grid = np.arange(12).reshape(3, 4)
    assert not differ(grid[:, ::2], grid[:, ::2].copy())
    assert differ(grid[:, ::2], grid[:, 1::2])


def test_elements_are_compared_when_an_array_holds_objects() -> None:
    one, other = np.empty(2, dtype=object), np.empty(2, dtype=object)
    one[0], other[0] = np.zeros(3), np.zeros(3)
    assert not differ(one, other)
    other[0][2] = -0.0
    assert differ(one, other)


class ListedKeys(OrderedDict[str, int]):
    """A mapping like those of Transformers, whose keys are a list."""

    def keys(self) -> list[str]:  # type: ignore[override]
        """Return the keys."""
        return list(iter(self))


def test_a_mapping_may_return_its_keys_as_a_list() -> None:
    digest = digest_of(ListedKeys(a=1), "table")
    assert digest == digest_of(ListedKeys(a=1), "table")
    assert digest != digest_of(ListedKeys(a=2), "table")
