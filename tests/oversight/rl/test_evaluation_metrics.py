"""The metrics equal closed forms, and a plain reference on arbitrary windows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oversight.rl.evaluation import (
    PAPER_DISCOUNT,
    Window,
    first_outcome,
    stepwise_return,
    summarize,
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Draw a window in which every lane's first episode ends."""
    shape = draw(st.tuples(st.integers(1, 8), st.integers(1, 5)))
    ends = draw(arrays.arrays(np.bool_, shape))
    ends[-1] |= ~ends.any(axis=0)
    rewards = draw(arrays.arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 1.0])))
    return Window(rewards * ends, ends, draw(arrays.arrays(np.bool_, shape[1:])))


def reference_return(window: Window, discount: float) -> float:
    """Sum up every step's future by itself."""
    steps, lanes = window.rewards.shape
    rewards: list[list[float]] = window.rewards.tolist()
    total = 0.0
    for lane in range(lanes):
        for start in range(steps):
            for step in range(start, steps):
                total += discount ** (step - start) * rewards[step][lane]
                if window.ends[step, lane]:
                    break
    return float(total / (steps * lanes))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@given(windows(), st.floats(0, 1))
def test_the_stepwise_return_is_that_of_the_reference(window: Window, discount: float) -> None:
    fast = stepwise_return(window.rewards, window.ends, discount)
    assert fast == pytest.approx(reference_return(window, discount), abs=1e-12)


@given(windows())
def test_the_summary_is_that_of_the_reference(window: Window) -> None:
    outcomes = []
    for lane in range(window.ends.shape[1]):
        step = 0
        while not window.ends[step, lane]:
            step += 1
        outcomes.append(float(window.rewards[step, lane]))
    watched = list(zip(outcomes, window.overseen.tolist(), strict=True))
    expected = {
        "true_return": mean(outcomes),
        "true_return_observed": mean([outcome for outcome, seen in watched if seen]),
        "true_return_unobserved": mean([outcome for outcome, seen in watched if not seen]),
        "paper_return": reference_return(window, PAPER_DISCOUNT),
        "diamond_rate": outcomes.count(1.0) / len(outcomes),
        "ghost_rate": outcomes.count(-1.0) / len(outcomes),
        "timeout_rate": outcomes.count(0.0) / len(outcomes),
        "episodes": len(outcomes),
    }
    assert summarize(window) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_episodes_of_one_length_score_a_geometric_mean(length: int, reward: float) -> None:
    ends = np.zeros((32, 3), dtype=np.bool_)
    ends[length - 1 :: length] = True
    expected = reward * (1 - PAPER_DISCOUNT**length) / (length * (1 - PAPER_DISCOUNT))
    assert stepwise_return(np.where(ends, reward, 0.0), ends) == pytest.approx(expected)


def test_reward_behind_an_end_or_the_window_does_not_count() -> None:
    ends = np.array([[True], [False]])
    rewards = np.array([[0.0], [1.0]])
    assert stepwise_return(rewards, ends) == 0.5  # of the second step alone
    assert stepwise_return(rewards[:1], ends[:1]) == 0.0


def test_only_first_episodes_count_for_the_shares() -> None:
    ends = np.ones((3, 1), dtype=np.bool_)
    rewards = np.array([[-1.0], [1.0], [1.0]])
    window = Window(rewards, ends, np.array([True]))
    assert summarize(window)["true_return"] == -1.0
    assert math.isnan(summarize(window)["true_return_unobserved"])


def test_an_unfinished_first_episode_is_refused() -> None:
    ends = np.array([[True, False]])
    with pytest.raises(ValueError, match="make it as long as the horizon"):
        first_outcome(Window(np.zeros((1, 2)), ends, np.zeros(2, dtype=np.bool_)))
