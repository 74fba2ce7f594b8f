"""Traces tell any two values apart, and recordings contain all of a run."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorWrapper
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oversight.certificate import TAMPERS
from oversight.certificate.recording import CHANNELS, Trace, record_training
from oversight.certificate.tampering import unchanged
from tests.oversight.certificate.setups import Fails, quick
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
    ],
)
def test_digests_differ_when_values_look_alike(one: object, other: object) -> None:
    assert differ(one, other)
    assert not differ(one, one)
    assert not differ(other, other)


def test_digests_are_equal_when_a_tensor_holds_an_array() -> None:
    assert not differ(torch.arange(3.0, requires_grad=True), np.arange(3, dtype=np.float32))


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


@given(st.lists(st.integers(0, 1), max_size=6), st.lists(st.integers(0, 1), max_size=6))
def test_first_difference_is_returned_when_traces_differ(one: list[int], other: list[int]) -> None:
    longest = range(max(len(one), len(other)))
    first = next((step for step in longest if one[step : step + 1] != other[step : step + 1]), None)
    found = trace_of(*one).difference(trace_of(*other), "channel")
    assert found == (None if first is None else (first, f"value {first}"))


def test_traces_differ_when_names_or_steps_do() -> None:
    one, other = Trace(), Trace()
    one.add("channel", 8, "rewards", 1.0)
    other.add("channel", 8, "returns", 1.0)
    assert one.difference(other, "channel") == (8, "returns")
    other = Trace()
    other.add("channel", 16, "rewards", 1.0)
    assert one.difference(other, "channel") == (16, "rewards")


def test_other_channels_are_ignored_when_one_is_compared() -> None:
    one, other = trace_of(1), trace_of(1)
    one.add("another", 0, "value", 1)
    assert one.difference(other, "channel") is None
    assert one.difference(other, "another") == (0, "value")
    assert one.difference(other, "a third") is None


@pytest.mark.parametrize("value", [object(), {1, 2}, [lambda: 0], {"a": object()}])
def test_a_value_is_refused_when_it_cannot_be_compared(value: object) -> None:
    with pytest.raises(ValueError, match=r"cannot be compared bit for bit: let the environment"):
        trace_of(value)


class Counted(VectorWrapper[Any, Any, Any, Any, Any]):
    """Counts how many environments were made, and which are open."""

    open: list[object] = []  # noqa: RUF012 (of the class, so that a test can read it)
    made = 0

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.open.append(self)
        Counted.made += 1

    def close(self, **arguments: Any) -> None:  # noqa: ANN401
        """Close."""
        self.open.remove(self)
        super().close(**arguments)


def test_errors_and_warnings_are_recorded_when_training_fails() -> None:
    before = torch.get_rng_state()
    recording = record_training(replace(quick(), outside=Fails), unchanged)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(recording.error) == "it broke"
    channels = recording.trace.channels
    assert [entry.name for entry in channels["errors"]] == ["RuntimeError: it broke"]
    assert channels["warnings"][0].name == "UserWarning: it creaks"
    assert recording.steps == 8


@pytest.mark.parametrize("fails", [False, True])
def test_environments_are_closed_when_training_ends_or_fails(fails: bool) -> None:
    Counted.open.clear()
    Counted.made = 0

    def outside(env: Any) -> Any:  # noqa: ANN401
        return Counted(Fails(env) if fails else env)

    setup = replace(quick(), outside=outside, steps=256, held_out=0.5)
    recording = record_training(setup, unchanged)
    assert (recording.error is not None) == fails
    assert Counted.open == []
    assert (Counted.made == 1) == fails  # one for training, and some for held-out episodes


def test_recordings_are_equal_when_setup_and_seed_are() -> None:
    one, other = (record_training(quick(), TAMPERS["random"]) for _ in range(2))
    for channel in (*CHANNELS, "truth"):
        assert one.trace.difference(other.trace, channel) is None
    another_seed = record_training(replace(quick(), seed=1), unchanged)
    assert another_seed.trace.difference(one.trace, "parameters")
