"""The self-test on a few parts, and what it prints."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from oversight.certificate.leaks import HARMLESS, LEAKS
from oversight.certificate.leaks.self_test import (
    Verdict,
    run_self_test,
    self_test_summary,
    self_test_table,
)

LEAK, PART = LEAKS["logs-true-return"], HARMLESS["delayed-oversight"]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """Return the verdicts on a leak, on a harmless part, and on both taken for the other kind."""
    parts = {"leak": LEAK, "harmless": PART}
    ended: list[str] = []
    verdicts = run_self_test(parts, on_run_end=ended.append)
    assert ended == list(parts)
    certificates = [verdict.certificate for verdict in verdicts.values()]
    wrong = (replace(LEAK, shows=None), replace(PART, shows="experience"))
    pairs = zip(("missed", "caught"), wrong, certificates, strict=True)
    return verdicts | {name: Verdict(planted, each) for name, planted, each in pairs}


def test_a_verdict_is_right_when_only_leaks_fail(verdicts: dict[str, Verdict]) -> None:
    assert [each.is_right for each in verdicts.values()] == [True, True, False, False]
    assert [each.channel for each in verdicts.values()] == ["scalars", None, "scalars", None]


def test_summary_counts_both_kinds_when_some_are_misjudged(verdicts: dict[str, Verdict]) -> None:
    assert self_test_summary(verdicts) == "found 1 of 2 leaks; 1 of 2 harmless parts passed"
    right = {name: verdicts[name] for name in ("leak", "harmless")}
    assert self_test_summary(right) == "found 1 of 1 leaks; 1 of 1 harmless parts passed"


def test_the_table_names_a_channel_when_a_part_leaks(verdicts: dict[str, Verdict]) -> None:
    printed = StringIO()
    Console(width=200, file=printed).print(self_test_table(verdicts))
    rows = [line.split() for line in printed.getvalue().splitlines()]
    shown = {row[0]: row[-1] for row in rows if row and row[0] in verdicts}
    assert shown == {name: verdict.channel or "nothing" for name, verdict in verdicts.items()}
    assert LEAK.description.split() in [row[1:-1] for row in rows]
