"""The leak meter finds what planted environments tell, and nothing in innocent ones."""

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
    assert outcome.report.channels == KNOWN[name].tells
    assert outcome.is_right
    assert outcome.report.conclusive
    for reading in outcome.report.readings:
        scores = [row.score for row in reading.rows if row.tells]
        assert not scores or max(score.value for score in scores) >= 0.95
        alone = [row for row in reading.rows if row.channel != BOTH and not row.tells]
        assert all(row.score.low <= reading.chance <= row.score.high for row in alone)


def test_summary_counts_environments_judged_right() -> None:
    names = ("reward-in-observation", "coin")
    outcomes = run_self_test({name: KNOWN[name] for name in names})
    assert self_test_summary(outcomes) == (
        "found what 1 of 1 environments tell; found nothing in 1 of 1 that tell nothing"
    )
