"""The leak meter: its verdicts on real environments, and on nothing."""

import json
from io import StringIO
from typing import Any

import gymnasium as gym
import pytest
from rich.console import Console

from oversight.certificate import make_setup
from oversight.certificate.leak_meter import LeakReport, probe
from oversight.certificate.leak_meter.meter import as_data, tables, verdict
from oversight.certificate.leak_meter.planted import KNOWN, Coin, RewardInInfo


def shown(report: LeakReport) -> str:
    console = Console(width=150, record=True, file=StringIO())
    for table in tables("here", report):
        console.print(table)
    return console.export_text() + verdict(report)


def probed(make: Any, episodes: int = 140, **oversight: Any) -> LeakReport:  # noqa: ANN401
    return probe(make_setup(make, "routed", oversight or {"observed_probability": 0.3}), episodes)


def test_length_leaks_the_return_of_cart_pole_whose_rewards_are_constant() -> None:
    report = probed(lambda: gym.make("CartPole-v1"))
    assert not report.steps.rows
    assert report.steps.missing == "all of them are 1, so that there is nothing to leak"
    length = next(row for row in report.episodes.rows if row.channel == "length")
    assert length.copies == ("length",)
    assert length.score.low > 0.9
    text = shown(report)
    assert "leaks: length equals the hidden return" in text
    assert "LEAK: the return of a hidden episode is predicted by " in text
    assert "hidden steps were not measured: all of them are 1" in text
    assert "FixedHorizon inside the oversight" in text


def test_information_that_copies_the_reward_is_named() -> None:
    report = probed(RewardInInfo, observed_probability=0.3, allow=("score",))
    info = next(row for row in report.steps.rows if row.channel == "info")
    assert (info.score, info.copies) == ((1.0, 1.0, 1.0), ("score",))
    assert "leave the keys that leak out of allow" in verdict(report).lower()


def test_proxy_reward_that_depends_on_the_outcome_is_found() -> None:
    report = probed(
        KNOWN["reward-in-observation"].make,
        observed_probability=0.3,
        proxy=lambda before, action, after, terminated, truncated: 2 * after[:, 0],
    )
    assert report.channels == {"observation", "payment"}
    assert "choose a proxy reward" in verdict(report).lower()


def test_oracle_is_paid_what_is_hidden() -> None:
    setup = make_setup(Coin, "oracle", {"observed_probability": 0.3})
    report = probe(setup, 140)
    assert report.channels == {"payment"}
    assert report.steps.leaking[0].copies == ("payment",)


def test_verdict_on_a_harmless_environment_names_what_the_intervals_exclude() -> None:
    report = probed(Coin, observed_probability=0.0)
    assert (report.leaks, report.conclusive) == (False, True)
    highest = max(row.score.high for row in report.steps.rows if row.channel != "action")
    assert f"exclude AUC above {highest:.2f} for hidden steps" in verdict(report)
    assert verdict(report).startswith("nothing found: ")
    assert "LEAK" not in shown(report)


@pytest.mark.parametrize(
    ("episodes", "probability", "reason"),
    [(140, 1.0, "no step was hidden"), (20, 0.0, "there are 20 episodes, and 60 are needed")],
)
def test_verdict_without_enough_hidden_rewards_is_inconclusive(
    episodes: int, probability: float, reason: str
) -> None:
    report = probed(Coin, episodes, observed_probability=probability)
    assert (report.leaks, report.conclusive) == (False, False)
    assert verdict(report).startswith("inconclusive: The rewards of ")
    assert reason in verdict(report)


def test_same_seed_gives_the_same_report_as_json() -> None:
    one, two = (json.dumps(as_data(probed(Coin))) for _ in range(2))
    assert one == two
