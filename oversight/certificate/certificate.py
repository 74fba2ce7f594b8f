"""The verdict: whether replacing every hidden reward changed anything that the learner has.

A trial: one training run of which everything is noted.

Trace: fingerprints of everything that a training run had, channel by channel, in order.

Recorder: notes, step by step, everything that a learner has or is given.

What a certificate says, as tables for a terminal and as data for a file.
"""

import hashlib
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from rich import box
from rich.table import Table
from rich.text import Text
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from agents import RoutedPPO
from agents.checkpoint import learner_state
from oversight.certificate.leaks import Planted
from oversight.certificate.setup import Setup, held_out
from oversight.certificate.tampering import TAMPERS, Mask, Numbers, Tamper, unchanged
from oversight.rl.callbacks import RouteCurves
from oversight.rl.checkpoint_selection import HeldOut


class Entry(NamedTuple):
    """One thing at one time: two runs had the same if the digests are equal."""

    step: int
    name: str
    digest: bytes


class Difference(NamedTuple):
    """The first entry of a channel in which two runs differ."""

    step: int
    name: str


class Trace:
    """What one run had in each channel, as a list of digests; the values are not kept."""

    def __init__(self) -> None:
        self.channels: dict[str, list[Entry]] = {}

    def note(self, channel: str, step: int, name: str, value: object) -> None:
        """Append the digest of a value.

        Args:
            channel: what kind of thing it is.
            step: environment steps taken so far.
            name: what it is.
            value: numbers, strings, arrays, tensors, and mappings and sequences of such.

        Raises:
            ValueError: if it holds anything else, which could not be compared bit for bit.
        """
        digest = hashlib.blake2b(digest_size=16)
        for part in _parts(value, name):
            digest.update(part)
        self.channels.setdefault(channel, []).append(Entry(step, name, digest.digest()))

    def count(self, channel: str) -> int:
        """Return the number of entries in a channel."""
        return len(self.channels.get(channel, []))

    def difference(self, other: "Trace", channel: str) -> Difference | None:
        """Return where two runs first differ in a channel, or None where they are identical."""
        mine, theirs = self.channels.get(channel, []), other.channels.get(channel, [])
        for one, two in zip_longest(mine, theirs):
            if one != two:
                entry = two or one
                assert entry is not None
                return Difference(entry.step, entry.name)
        return None


def _parts(value: Any, name: str) -> Iterator[bytes]:  # noqa: ANN401
    """Yield bytes that no two different values share: each says its type and where it ends."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.dtype != np.object_:
        yield f"{value.dtype.str}{value.shape}\0".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\0".encode()
        for key in sorted(value, key=repr):
            yield f"{key!r}\0".encode()
            yield from _parts(value[key], f"{name}.{key}")
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"sequence {len(value)}\0".encode()
        for part in value:
            yield from _parts(part, name)
    else:
        yield _plain(value, name)


def _plain(value: object, name: str) -> bytes:
    if isinstance(value, float):  # NaN has bits too
        return b"float" + struct.pack("<d", value)
    if isinstance(value, bool | int | str | bytes | None):
        return f"{type(value).__name__} {value!r}\0".encode()
    raise ValueError(
        f"{name} is of {type(value).__name__}, which cannot be compared bit for bit: let the "
        "environment return arrays, numbers and strings"
    )


ARRAYS = (
    *("observations", "actions", "rewards", "episode_starts"),
    *("values", "log_probs", "advantages", "returns", "last_route"),
)


class Recorder(BaseCallback):
    """Fills a trace with these channels.

    - experience: observations, rewards, ends and infos, at every step;
    - rollout buffer: every array, at the end of each rollout;
    - parameters, optimizer, generators: after each update, and at the end;
    - checkpoints: at the same moments, which one is kept, its weights, and what it was chosen by.

    Args:
        trace: what is filled.
        held_out: what chooses checkpoints; it must have chosen when the recorder is called.
    """

    def __init__(self, trace: Trace, held_out: HeldOut) -> None:
        super().__init__()
        self.trace, self.held_out = trace, held_out

    def _note(self, channel: str, **values: object) -> None:
        for name, value in values.items():
            self.trace.note(channel, self.num_timesteps, name, value)

    def _on_training_start(self) -> None:
        infos: Any = self.training_env.reset_infos
        self._note("experience", observations=self.model._last_obs, infos=infos)

    def _on_step(self) -> bool:
        given = {name: self.locals[name] for name in ("rewards", "dones", "infos")}
        self._note("experience", observations=self.locals["new_obs"], **given)
        return True

    def _on_rollout_start(self) -> None:
        self._learned()

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self._note("rollout buffer", **{name: getattr(buffer, name) for name in ARRAYS})

    def _on_training_end(self) -> None:
        self._learned()

    def _learned(self) -> None:
        """Note all that an update can change."""
        assert isinstance(self.model, RoutedPPO)
        state = learner_state(self.model)
        self._note("parameters", **state.pop("policy"))
        self._note("optimizer", **{name: state.pop(name) for name in ("optimizer", "num_updates")})
        self._note("generators", **state)
        self._note("checkpoints", **self.held_out.get_state())


class Scalars(KVWriter):
    """Notes the scalars that the learner's own logger writes to TensorBoard, but for the clock's.

    Args:
        trace: what is filled.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Note every scalar of one moment."""
        for name, value in sorted(key_values.items()):
            if not name.startswith("time/"):
                self.trace.note("scalars", step, name, value)

    def close(self) -> None:
        """Do nothing: there is no file."""


class Trial:
    """What one run had, and how much of it was hidden.

    Attributes:
        trace: the channels; `truth` holds what was paid where, which the learner must not have.
        steps: environment steps.
        observed, hidden: how many of them had an observed, and a hidden reward.
        error: what ended the run early, or None.
    """

    def __init__(self) -> None:
        self.trace = Trace()
        self.steps = self.observed = self.hidden = 0
        self.error: Exception | None = None

    def note_truth(self, observed: Mask, hidden: Mask, rewards: Numbers) -> None:
        """Note the true rewards of one step, [n]."""
        self.steps += observed.size
        self.observed += int(np.count_nonzero(observed))
        self.hidden += int(np.count_nonzero(hidden))
        self.trace.note("truth", self.steps, "rewards", rewards)


def train(setup: Setup, tamper: Tamper) -> Trial:
    """Train as the setup says with tampered hidden rewards, and return all that the run had.

    Errors and warnings do not get out: that they came and what they said are channels like others.
    PyTorch's generator is left as it was.
    """
    trial = Trial()
    with (
        TemporaryDirectory() as folder,
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(record=True, action="always") as warned,
    ):
        try:
            env = setup.world(setup, tamper, trial.note_truth, Path(folder))
        except Exception as error:
            trial.error = error
        else:
            try:
                agent = setup.learner(setup.adapt(env), setup)
                _learn(setup, agent, held_out(setup, tamper, Path(folder)), Path(folder), trial)
            except Exception as error:
                trial.error = error
            finally:
                env.close()
    texts = [f"{each.category.__name__}: {each.message}" for each in warned]
    trial.trace.note("warnings", trial.steps, texts[0] if texts else "none", texts)
    said = "" if trial.error is None else f"{type(trial.error).__name__}: {trial.error}"
    trial.trace.note("errors", trial.steps, said or "none", said)
    return trial


def _learn(setup: Setup, agent: RoutedPPO, chooser: HeldOut, ledgers: Path, trial: Trial) -> None:
    agent.set_logger(Logger(None, [Scalars(trial.trace)]))
    callbacks = [setup.choice(chooser, ledgers), *setup.callbacks(ledgers), RouteCurves()]
    agent.learn(setup.steps, [*callbacks, Recorder(trial.trace, chooser)])


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
