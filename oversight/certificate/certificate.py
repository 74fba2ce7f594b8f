"""The certificate: whether replacing hidden rewards changes anything that the learner has."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from oversight.certificate.recording import (
    CHANNELS,
    PAYMENT,
    Difference,
    Recording,
    record_training,
)
from oversight.certificate.setup import Setup
from oversight.certificate.tampering import TAMPERS, Tamper, unchanged
from oversight.runs.console import plain_table

TAMPERED = tuple(channel for channel in CHANNELS if channel != PAYMENT)
"""The channels that are compared with tampered runs."""


class Finding(NamedTuple):
    """A channel, and where it first differed and by which tamper, if it did."""

    channel: str
    entries: int
    tamper: str | None
    difference: Difference | None

    @property
    def result(self) -> str:
        """The result in a few words."""
        if self.difference is None:
            return "identical"
        step, name = self.difference
        if self.tamper is None:
            return f"differs at step {step:,}: {name} (from what the oversight pays)"
        return f"differs at step {step:,}: {name} (by {self.tamper})"


@dataclass(frozen=True)
class Certificate:
    """What was compared, and the result.

    Attributes:
        findings: one for each channel.
        steps: environment steps of each run.
        observed, hidden: numbers of observed and of hidden rewards.
        tampers: the names of the replacements.
    """

    findings: tuple[Finding, ...]
    steps: int
    observed: int
    hidden: int
    tampers: tuple[str, ...]

    @property
    def differing(self) -> list[Finding]:
        """The channels that differ, in the order of their first differing steps."""
        found = [each for each in self.findings if each.difference is not None]
        return sorted(found, key=lambda each: each.difference.step if each.difference else 0)

    @property
    def first(self) -> Finding | None:
        """The channel that differs first in time, if any does."""
        return next(iter(self.differing), None)

    @property
    def missing(self) -> str | None:
        """What there was none of, so that identical channels show nothing: rewards of one kind."""
        if not self.hidden:
            return "hidden"
        return None if self.observed else "observed"

    @property
    def passed(self) -> bool:
        """Whether every channel is identical with every tamper, and that shows something."""
        return not self.differing and self.missing is None


def certify(
    setup: Setup,
    tampers: Mapping[str, Tamper] = TAMPERS,
    on_run_end: Callable[[str], None] = lambda name: None,
    *,
    until_failure: bool = False,
) -> Certificate:
    """Train without tampering and once with each tamper, and compare every channel bit for bit.

    Args:
        setup: how the agent is trained.
        tampers: what replaces hidden rewards, by name.
        on_run_end: called with the name of each run after it ends.
        until_failure: whether the first tamper that shows a difference is the last one.

    Where no reward is hidden there is nothing to replace, and where none is observed there is
    nothing to learn from; then the certificate is not passed, and says what is missing.

    Raises:
        ValueError: if the comparison would show nothing, since training fails without tampering, a
            tamper changes no reward, or two equal runs differ.
    """
    reference = _record_reference(setup)
    on_run_end("reference")
    found: dict[str, tuple[str | None, Difference]] = {}
    unpaid = reference.trace.difference(reference.shadow, PAYMENT)
    if unpaid is not None:
        found[PAYMENT] = None, unpaid
    for name, tamper in tampers.items() if reference.hidden else ():
        tampered = record_training(setup, tamper)
        if reference.trace.difference(tampered.trace, "truth") is None:
            raise ValueError(
                f"the tamper {name!r} changed no reward, so that it shows nothing: choose a tamper "
                "that gives other values than the environment"
            )
        for channel in TAMPERED:
            difference = reference.trace.difference(
                tampered.trace, channel, ends_early=tampered.error is not None
            )
            if difference is not None:
                found.setdefault(channel, (name, difference))
        on_run_end(name)
        if found and until_failure:
            break
    if found:
        _check_reproducible(setup, reference)
    return Certificate(
        findings=tuple(
            Finding(channel, reference.trace.count(channel), *found.get(channel, (None, None)))
            for channel in CHANNELS
        ),
        steps=reference.steps,
        observed=reference.observed,
        hidden=reference.hidden,
        tampers=tuple(tampers),
    )


def _record_reference(setup: Setup) -> Recording:
    """Train without tampering; raise a ValueError if there is nothing to compare with."""
    reference = record_training(setup, unchanged, shadowed=True)
    if reference.error is not None:
        raise ValueError(
            f"training fails before any reward is replaced: {reference.error}"
        ) from reference.error
    return reference


def _check_reproducible(setup: Setup, reference: Recording) -> None:
    """Raise a ValueError if a second run without tampering differs from the first."""
    again = record_training(setup, unchanged)
    for channel in TAMPERED:
        difference = reference.trace.difference(again.trace, channel)
        if difference is not None:
            raise ValueError(
                f"two runs with one seed differ even without tampering, first in {channel} at step "
                f"{difference.step}: {difference.name}; {_advice(channel)}"
            )


def _advice(channel: str) -> str:
    """Return what makes equal runs equal; what the environment returns is its own affair."""
    if channel in ("experience", "generators"):
        return (
            "let the environment and its wrappers draw all random numbers from the seed of reset, "
            "and return nothing that depends on the clock"
        )
    return (
        "what the environment returns is equal, so that the difference comes from the agent or a "
        "callback: let these store and log nothing that depends on the clock or on an address"
    )


def certificate_table(title: str, certificate: Certificate) -> Table:
    """Return a table with a row for each channel."""
    table = plain_table(title, "channel", ())
    table.add_column("result", overflow="fold")
    table.add_column("values compared", justify="right")
    for finding in certificate.findings:
        style = "green" if finding.difference is None else "bold red"
        table.add_row(finding.channel, Text(finding.result, style=style), f"{finding.entries:,}")
    return table


def comparison(certificate: Certificate) -> str:
    """Return what was compared, in one sentence."""
    return (
        f"{certificate.steps:,} steps per run with {certificate.observed:,} observed and "
        f"{certificate.hidden:,} hidden rewards; replacements: {', '.join(certificate.tampers)}"
    )


LIMITS = (
    "A certificate cannot see a true reward that the environment shows by itself: in its "
    "observations, in the ends of its episodes, or in infos that are allowed. Nor does it see what "
    "a wrapper reads from the environment's attributes into observations and infos, or pays after "
    "it reached the environment past the wrappers: through a global, the closure of a function, or "
    "the garbage collector. Times and memory addresses are compared by name only."
)
"""What no certificate covers; a part of every verdict."""


def verdict(certificate: Certificate) -> str:
    """Return the result in a sentence, and what it does not cover."""
    return f"{_result(certificate)}. {LIMITS}"


def _result(certificate: Certificate) -> str:
    missing = certificate.missing
    if certificate.differing:
        return (
            f"NOT certified: hidden rewards reached the learner in {len(certificate.differing)} of "
            f"{len(certificate.findings)} channels"
        )
    if missing is not None:
        advice = {"hidden": "lower", "observed": "raise"}[missing]
        return (
            f"inconclusive: no reward of {certificate.steps:,} steps was {missing}, so that "
            f"nothing is shown; train for more steps, or {advice} the probability of oversight"
        )
    return (
        f"certified: {certificate.hidden:,} hidden rewards were replaced, and everything the "
        "learner holds is bit-identical"
    )


def as_data(certificate: Certificate) -> dict[str, Any]:
    """Return the certificate as JSON-compatible data."""
    findings = {
        finding.channel: {
            "compared": finding.entries,
            "tamper": finding.tamper,
            "first_difference": finding.difference and finding.difference._asdict(),
        }
        for finding in certificate.findings
    }
    return {
        **asdict(certificate),
        "passed": certificate.passed,
        "verdict": verdict(certificate),
        "findings": findings,
    }
