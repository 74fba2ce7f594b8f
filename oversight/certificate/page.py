"""What a certificate says, as tables for a terminal and as data for a file."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from oversight.certificate.leaks import Planted
from oversight.certificate.verdict import Certificate, Finding


def channels_table(title: str, certificate: Certificate) -> Table:
    """Return one row per channel: identical, or where it first differs."""
    table = _table(title, "channel", "what came out", "compared")
    table.columns[2].justify = "right"
    for finding in certificate.findings:
        told = Text(outcome(finding), style="green" if finding.difference is None else "bold red")
        table.add_row(finding.channel, told, f"{finding.entries:,}")
    return table


def compared(certificate: Certificate) -> str:
    """Return what was compared, in one line."""
    return (
        f"{certificate.steps:,} steps a run, {certificate.observed:,} rewards observed and "
        f"{certificate.hidden:,} hidden; these replaced by {', '.join(certificate.tampers)}"
    )


def outcome(finding: Finding) -> str:
    """Return what a channel showed."""
    if finding.difference is None:
        return "identical"
    step, name = finding.difference
    return f"differs at step {step:,}: {name} (by {finding.tamper})"


def verdict(certificate: Certificate) -> str:
    """Return the certificate in one sentence."""
    if certificate.passed:
        return (
            f"certified: {certificate.hidden:,} hidden rewards replaced, and not one bit of what "
            "the learner has is another"
        )
    differing = [each for each in certificate.findings if each.difference is not None]
    return (
        f"NOT certified: hidden rewards reached the learner, in {len(differing)} of "
        f"{len(certificate.findings)} channels"
    )


def as_data(certificate: Certificate) -> dict[str, Any]:
    """Return the certificate as what JSON can hold."""
    findings = {
        finding.channel: {
            "compared": finding.entries,
            "tamper": finding.tamper,
            "first_difference": finding.difference and finding.difference._asdict(),
        }
        for finding in certificate.findings
    }
    return {**asdict(certificate), "passed": certificate.passed, "findings": findings}


def library_table(title: str, results: Mapping[str, tuple[Planted, Certificate]]) -> Table:
    """Return one row per planted part: what it does, and where it shows first, if at all."""
    table = _table(title, "planted", "what it does", "shows in")
    for name, (planted, certificate) in results.items():
        found = certificate.first
        right = (found and found.channel) == planted.shows
        shown = Text("nothing" if found is None else found.channel)
        shown.stylize("green" if right else "bold red")
        table.add_row(name, planted.says, shown)
    return table


def tally(results: Mapping[str, tuple[Planted, Certificate]]) -> str:
    """Return how many leaks were caught, and how many innocent parts passed."""
    leaks = [each for planted, each in results.values() if planted.shows is not None]
    others = [each for planted, each in results.values() if planted.shows is None]
    caught = sum(not each.passed for each in leaks)
    passed = sum(each.passed for each in others)
    return f"{caught} of {len(leaks)} leaks caught, {passed} of {len(others)} innocent parts passed"


def _table(title: str, *headings: str) -> Table:
    table = Table(
        title=Text(title, style="table.title"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
