"""The verdict: whether replacing every hidden reward changed anything that the learner has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from oversight.certificate.setup import Setup
from oversight.certificate.tamper import TAMPERS, Tamper, unchanged
from oversight.certificate.trace import Difference
from oversight.certificate.trial import Trial, train

CHANNELS = (
    *("experience", "rollout buffer", "parameters", "optimizer", "generators"),
    *("checkpoints", "scalars", "warnings", "errors"),
)
"""What must not depend on hidden rewards, in the order in which a leak usually shows."""


class Finding(NamedTuple):
    """A channel, and where it first differed under which tamper, if it did."""

    channel: str
    entries: int
    tamper: str | None
    difference: Difference | None


@dataclass(frozen=True)
class Certificate:
    """What was compared, and what came out.

    Attributes:
        findings: one for each channel.
        steps: environment steps of each run.
        observed, hidden: how many of them had an observed, and how many a hidden reward.
        tampers: the names of the replacements that were tried.
    """

    findings: tuple[Finding, ...]
    steps: int
    observed: int
    hidden: int
    tampers: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every channel was identical under every tamper."""
        return self.first is None

    @property
    def first(self) -> Finding | None:
        """The channel that differs first in time; of several, the first in their order."""
        found = [each for each in self.findings if each.difference is not None]
        return min(
            found, key=lambda each: each.difference.step if each.difference else 0, default=None
        )


def certify(
    setup: Setup,
    tampers: Mapping[str, Tamper] = TAMPERS,
    told: Callable[[str], None] = lambda name: None,
) -> Certificate:
    """Train once as it is and once with each tamper, and compare every channel bit for bit.

    Args:
        setup: how to train.
        tampers: what hidden rewards are replaced by, by name.
        told: is told the name of each run as it ends.

    Raises:
        ValueError: if the run fails without tampering, if nothing was hidden in it, if a tamper did
            not change the truth, or if the run differs from itself: then a comparison would show
            nothing.
    """
    reference = _reference(setup)
    told("reference")
    first: dict[str, tuple[str, Difference]] = {}
    for name, tamper in tampers.items():
        other = train(setup, tamper)
        _check_bite(name, reference, other)
        for channel in CHANNELS:
            difference = reference.trace.difference(other.trace, channel)
            if difference is not None:
                first.setdefault(channel, (name, difference))
        told(name)
    if first:
        _check_reproducible(setup, reference)
    return Certificate(
        findings=tuple(
            Finding(channel, reference.trace.count(channel), *first.get(channel, (None, None)))
            for channel in CHANNELS
        ),
        steps=reference.steps,
        observed=reference.observed,
        hidden=reference.hidden,
        tampers=tuple(tampers),
    )


def _reference(setup: Setup) -> Trial:
    """Train without tampering, and raise a ValueError if that is nothing to compare with."""
    reference = train(setup, unchanged)
    if reference.error is not None:
        raise ValueError(
            f"the run fails before anything is tampered with: {reference.error}"
        ) from reference.error
    if not reference.hidden:
        raise ValueError(
            f"no reward of {reference.steps} steps was hidden, so that there is nothing to tamper "
            "with: lower the probability of oversight"
        )
    return reference


def _check_bite(name: str, reference: Trial, other: Trial) -> None:
    """Raise a ValueError if the tampered truth was the same as the true one."""
    if reference.trace.difference(other.trace, "truth") is None:
        raise ValueError(f"the tamper {name!r} changed no reward, so that it shows nothing")


def _check_reproducible(setup: Setup, reference: Trial) -> None:
    """Raise a ValueError if the same run once more is another, so that differences say nothing."""
    again = train(setup, unchanged)
    for channel in CHANNELS:
        difference = reference.trace.difference(again.trace, channel)
        if difference is not None:
            raise ValueError(
                f"two runs from one seed differ even without tampering, first in {channel} at step "
                f"{difference.step}: {difference.name}; let the environment draw all its numbers "
                "from the seed of reset, and tell no time of day"
            )
