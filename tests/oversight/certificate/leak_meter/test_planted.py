"""The leak meter finds the leaks of planted environments, and nothing in harmless ones."""

import pytest

from oversight.certificate.leak_meter import planted
from oversight.certificate.leak_meter.meter import BOTH
from oversight.certificate.leak_meter.planted import KNOWN, run_self_test, self_test_summary


@pytest.fixture(autouse=True)
def _few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play fewer episodes than the self-test."""
    monkeypatch.setattr(planted, "EPISODES", 200)


@pytest.mark.parametrize("name", KNOWN)
def test_meter_finds_the_channels_that_tell_and_no_other(name: str) -> None:
    outcome = run_self_test({name: KNOWN[name]})[name]
    assert outcome.report.channels == KNOWN[name].leaks
    assert outcome.is_right
    assert outcome.report.conclusive
    for result in outcome.report.results:
        scores = [row.score for row in result.rows if row.leaks]
        assert not scores or max(score.value for score in scores) >= 0.95
        alone = [row for row in result.rows if row.channel != BOTH and not row.leaks]
        assert all(row.score.low <= result.chance <= row.score.high for row in alone)


def test_summary_counts_environments_judged_right() -> None:
    names = ("reward-in-observation", "coin")
    outcomes = run_self_test({name: KNOWN[name] for name in names})
    assert self_test_summary(outcomes) == (
        "found the leaks of 1 of 1 environments; found nothing in 1 of 1 harmless ones"
    )
