"""PartialGrid-v0 as a task gives policies of known returns these returns, by the paper's metric."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from envs import gridworld
from oversight.rl.grid_task import (
    PAPER_DISCOUNT,
    PartialGridTask,
    Window,
    first_outcome,
    stepwise_return,
    summarize,
)
from tests.oversight.rl.scripted_policies import RandomPolicy, ShortestPathPolicy
from tests.oversight.rl.test_evaluation import CONFIG, EPISODES, scores


def test_shortest_path_policy_reaches_the_optimum_of_the_paper() -> None:
    best = scores(ShortestPathPolicy())
    assert best["paper_return"] == pytest.approx(0.909, abs=0.012)
    assert best["episodes"] == EPISODES
    for name in ("true_return", "true_return_observed", "true_return_unobserved", "diamond_rate"):
        assert best[name] == 1.0
    assert best["ghost_rate"] == best["timeout_rate"] == 0.0


def test_policy_that_ignores_the_ghost_has_its_known_return() -> None:
    careless = scores(ShortestPathPolicy(avoid_ghost=False))
    assert careless["paper_return"] == pytest.approx(0.778, abs=0.02)
    assert 0 < careless["ghost_rate"] < 0.2


def test_policy_that_seeks_the_ghost_scores_minus_one() -> None:
    worst = scores(ShortestPathPolicy(goal=gridworld.GHOST))
    assert worst["true_return"] == -1.0
    assert worst["paper_return"] == pytest.approx(-0.909, abs=0.012)


def test_random_policy_has_a_mean_return_near_zero() -> None:
    random = scores(RandomPolicy())
    deviation = (1 / EPISODES) ** 0.5
    assert abs(random["true_return"]) < 4 * deviation
    rates = (random["diamond_rate"], random["ghost_rate"], random["timeout_rate"])
    assert min(rates) > 0.05
    assert sum(rates) == pytest.approx(1)


def test_levels_do_not_depend_on_the_oversight_probability() -> None:
    results = [
        scores(ShortestPathPolicy(avoid_ghost=False), probability) for probability in (0, 0.5, 1)
    ]
    for name in ("true_return", "paper_return", "ghost_rate"):
        assert results[0][name] == results[1][name] == results[2][name]
    assert np.isnan(results[0]["true_return_observed"])
    assert np.isnan(results[2]["true_return_unobserved"])


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_share_of_observed_episodes_matches_its_probability(probability: float) -> None:
    config = replace(CONFIG, oversight_probability=probability)
    window = PartialGridTask(config).play(ShortestPathPolicy(), EPISODES, seed=0)
    expected = 1 - (1 - probability) ** 2
    deviation = (expected * (1 - expected) / EPISODES) ** 0.5
    assert abs(window.overseen.mean() - expected) < 4 * deviation


def test_other_observer_decides_which_episodes_count_as_observed() -> None:
    for probability in (0.0, 1.0):
        config = replace(CONFIG, observer="EpisodeCoin(p)", oversight_probability=probability)
        window = PartialGridTask(config).play(ShortestPathPolicy(), 64, seed=0)
        assert window.overseen.all() == (probability == 1.0)
        assert window.overseen.any() == (probability == 1.0)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Draw a window in which every lane's first episode ends."""
    shape = draw(st.tuples(st.integers(1, 8), st.integers(1, 5)))
    ends = draw(arrays.arrays(np.bool_, shape))
    ends[-1] |= ~ends.any(axis=0)
    rewards = draw(arrays.arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 1.0])))
    return Window(rewards * ends, ends, draw(arrays.arrays(np.bool_, shape[1:])))


def reference_return(window: Window, discount: float) -> float:
    """Return the mean over steps of the discounted sum of rewards until the episode ends."""
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
def test_stepwise_return_equals_the_reference(window: Window, discount: float) -> None:
    fast = stepwise_return(window.rewards, window.ends, discount)
    assert fast == pytest.approx(reference_return(window, discount), abs=1e-12)


@given(windows())
def test_summary_equals_the_reference(window: Window) -> None:
    outcomes = []
    for lane in range(window.ends.shape[1]):
        step = 0
        while not window.ends[step, lane]:
            step += 1
        outcomes.append(float(window.rewards[step, lane]))
    observed = list(zip(outcomes, window.overseen.tolist(), strict=True))
    expected = {
        "true_return": mean(outcomes),
        "true_return_observed": mean([outcome for outcome, seen in observed if seen]),
        "true_return_unobserved": mean([outcome for outcome, seen in observed if not seen]),
        "paper_return": reference_return(window, PAPER_DISCOUNT),
        "diamond_rate": outcomes.count(1.0) / len(outcomes),
        "ghost_rate": outcomes.count(-1.0) / len(outcomes),
        "timeout_rate": outcomes.count(0.0) / len(outcomes),
        "episodes": len(outcomes),
    }
    assert summarize(window) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_return_of_equal_length_episodes_is_a_closed_form(length: int, reward: float) -> None:
    ends = np.zeros((32, 3), dtype=np.bool_)
    ends[length - 1 :: length] = True
    expected = reward * (1 - PAPER_DISCOUNT**length) / (length * (1 - PAPER_DISCOUNT))
    assert stepwise_return(np.where(ends, reward, 0.0), ends) == pytest.approx(expected)


def test_rewards_after_the_end_or_the_window_do_not_count() -> None:
    ends = np.array([[True], [False]])
    rewards = np.array([[0.0], [1.0]])
    assert stepwise_return(rewards, ends) == 0.5  # of the second step alone
    assert stepwise_return(rewards[:1], ends[:1]) == 0.0


def test_shares_count_only_first_episodes() -> None:
    ends = np.ones((3, 1), dtype=np.bool_)
    rewards = np.array([[-1.0], [1.0], [1.0]])
    window = Window(rewards, ends, np.array([True]))
    assert summarize(window)["true_return"] == -1.0
    assert math.isnan(summarize(window)["true_return_unobserved"])


def test_unfinished_first_episode_is_refused() -> None:
    ends = np.array([[True, False]])
    with pytest.raises(ValueError, match="make it as long as the horizon"):
        first_outcome(Window(np.zeros((1, 2)), ends, np.zeros(2, dtype=np.bool_)))
