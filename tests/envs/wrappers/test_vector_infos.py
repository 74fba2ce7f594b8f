"""What the vector wrapper shows of rewards is what np.where shows, to the bit."""

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from envs.wrappers.vector import infos
from envs.wrappers.vector.infos import Seen, only, told_of_step


def test_the_examples_run() -> None:
    assert doctest.testmod(infos).failed == 0


@given(data=st.data(), dtype=st.sampled_from(["<f2", "<f4", "<f8", ">f4", ">f8"]))
def test_only_some_lanes_are_shown(data: st.DataObject, dtype: str) -> None:
    values = data.draw(arrays.arrays(dtype, st.integers(1, 40)))  # NaN, -0.0 and infinities too
    lanes = data.draw(arrays.arrays(np.bool_, values.shape))
    for part, mask in ((values, lanes), (values[::2], lanes[::2]), (values[::-1], lanes[::-1])):
        before, shown = part.copy(), only(mask, part)
        expected = np.where(mask, part, np.zeros(1, dtype))
        assert shown.dtype == part.dtype
        assert shown.tobytes() == expected.astype(dtype).tobytes()
        assert part.tobytes() == before.tobytes()
        assert not np.shares_memory(shown, part)


@pytest.mark.parametrize("value", [1.5, np.nan, -np.inf])
def test_wide_floats_are_shown_alike(value: float) -> None:
    shown = only(np.array([True, False]), np.array([value, value], dtype=np.longdouble))
    np.testing.assert_array_equal(shown, np.array([value, 0.0], dtype=np.longdouble))
    assert not np.signbit(shown[1])


@given(data=st.data(), lanes=st.integers(1, 12))
def test_ended_lanes_are_told_apart(data: st.DataObject, lanes: int) -> None:
    observed, ended = (data.draw(arrays.arrays(np.bool_, lanes)) for _ in range(2))
    rewards = np.where(observed, data.draw(arrays.arrays(np.int8, lanes)) / 4, 0.0)
    everywhere, final = np.ones(lanes, dtype=np.bool_), object()
    seen = Seen(observed.copy(), rewards.copy(), rewards)
    ends = (ended.copy(), np.flatnonzero(ended), final)
    given_out: dict[str, Any] = told_of_step(seen, everywhere, ends)
    for told, lane_mask, here in (
        (given_out, everywhere, ~ended),
        (given_out["final_info"], ended, ended),
    ):
        np.testing.assert_array_equal(told["observed"], observed & here)
        np.testing.assert_array_equal(told["observed_reward"], np.where(here, rewards, 0.0))
        for name in ("_observed", "_observed_reward"):
            np.testing.assert_array_equal(told[name], lane_mask)
    for name in ("_final_info", "_final_obs"):
        np.testing.assert_array_equal(given_out[name], ended)
    assert given_out["final_obs"] is final
    last = given_out["final_info"]
    handed = [given_out[name] for name in given_out if "final" not in name] + list(last.values())
    handed += [given_out["_final_info"], given_out["_final_obs"]]
    for number, array in enumerate(handed):  # all fresh: each may be written to
        assert not any(np.shares_memory(array, other) for other in handed[:number])
        assert not np.shares_memory(array, everywhere)
