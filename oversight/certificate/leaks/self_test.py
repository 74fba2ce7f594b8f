"""The self-test of the certificate: it must find every planted leak, and pass harmless parts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from oversight.certificate.certificate import Certificate, certify
from oversight.certificate.leaks.planted import Planted
from oversight.runs.console import plain_table

STEPS = 512


class Verdict(NamedTuple):
    """A planted part, and the certificate of the setup with this part."""

    planted: Planted
    certificate: Certificate

    @property
    def channel(self) -> str | None:
        """The channel that differs first in time, if any does."""
        first = self.certificate.first
        return None if first is None else first.channel

    @property
    def is_right(self) -> bool:
        """Whether a leak was found in its channel, or a harmless part was certified."""
        shows = self.planted.shows
        return self.certificate.passed if shows is None else self.channel == shows


def run_self_test(
    parts: Mapping[str, Planted],
    seed: int = 0,
    on_run_end: Callable[[str], None] = lambda name: None,
) -> dict[str, Verdict]:
    """Certify a setup with each of these parts.

    Args:
        parts: leaks and harmless parts, by name.
        seed: of training.
        on_run_end: called with the name of each part after it is certified.
    """
    verdicts = {}
    for name, planted in parts.items():
        setup = replace(planted.plant(planted.start), seed=seed, steps=STEPS)
        verdicts[name] = Verdict(planted, certify(setup, until_failure=True))
        on_run_end(name)
    return verdicts


def self_test_table(verdicts: Mapping[str, Verdict]) -> Table:
    """Return a table with a row for each part: its description, and where it shows first."""
    table = plain_table("Planted leaks and harmless parts", "part", ())
    table.add_column("description")
    table.add_column("leaks into", no_wrap=True)
    for name, verdict in verdicts.items():
        right = verdict.channel == verdict.planted.shows
        style = "green" if right else "bold red"
        shown = Text(verdict.channel or "nothing", style=style)
        table.add_row(name, verdict.planted.description, shown)
    return table


def self_test_summary(verdicts: Mapping[str, Verdict]) -> str:
    """Return the numbers of leaks found and of harmless parts that passed, in one line."""
    leaks = [each.is_right for each in verdicts.values() if each.planted.shows is not None]
    harmless = [each.is_right for each in verdicts.values() if each.planted.shows is None]
    return (
        f"found {sum(leaks)} of {len(leaks)} leaks; "
        f"{sum(harmless)} of {len(harmless)} harmless parts passed"
    )
