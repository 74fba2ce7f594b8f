"""Traces find the first difference, and recordings contain all of a run."""

import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from gymnasium.vector import VectorWrapper
from hypothesis import given
from hypothesis import strategies as st

from oversight.certificate import TAMPERS
from oversight.certificate.recording import CHANNELS, Trace, record_training
from oversight.certificate.tampering import unchanged
from tests.oversight.certificate.setups import Fails, quick
from tests.oversight.certificate.traces import trace_of


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


class Counted(VectorWrapper[Any, Any, Any, Any, Any]):
    """Counts how many environments were made, and which are open."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        OPEN.append(self)
        MADE.append(type(self))

    def close(self, **arguments: Any) -> None:  # noqa: ANN401
        """Close."""
        OPEN.remove(self)
        super().close(**arguments)


OPEN: list[object] = []  # not of the class, whose data a recording restores
MADE: list[type] = []


def test_errors_and_warnings_are_recorded_when_training_fails() -> None:
    before = torch.get_rng_state()
    recording = record_training(replace(quick(), outside=Fails), unchanged)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(recording.error) == "it broke"
    channels = recording.trace.channels
    assert [entry.name for entry in channels["errors"]] == ["RuntimeError: it broke"]
    assert channels["warnings"][0].name == "UserWarning: it creaks"
    assert recording.steps == 8


class Ends(VectorWrapper[Any, Any, Any, Any, Any]):
    """Ends the process, as if all were well."""

    def step(self, actions: Any) -> Any:  # noqa: ANN401
        """Exit."""
        sys.exit(0)


def test_an_exit_of_a_part_is_recorded_as_the_error_that_ended_training() -> None:
    recording = record_training(replace(quick(), outside=Ends), unchanged)
    assert isinstance(recording.error, SystemExit)
    assert [entry.name for entry in recording.trace.channels["errors"]] == ["SystemExit: 0"]


@pytest.mark.parametrize("fails", [False, True])
def test_environments_are_closed_when_training_ends_or_fails(fails: bool) -> None:
    OPEN.clear()
    MADE.clear()

    def outside(env: Any) -> Any:  # noqa: ANN401
        return Counted(Fails(env) if fails else env)

    setup = replace(quick(), outside=outside, steps=256, held_out=0.5)
    recording = record_training(setup, unchanged)
    assert (recording.error is not None) == fails
    assert OPEN == []
    assert (len(MADE) == 1) == fails  # one for training, and some for held-out episodes


def test_recordings_are_equal_when_setup_and_seed_are() -> None:
    one, other = (record_training(quick(), TAMPERS["random"]) for _ in range(2))
    for channel in (*CHANNELS, "truth"):
        assert one.trace.difference(other.trace, channel) is None
    another_seed = record_training(replace(quick(), seed=1), unchanged)
    assert another_seed.trace.difference(one.trace, "parameters")
