"""Recorded training: digests of everything that a learner has or receives, channel by channel."""

import hashlib
import struct
import warnings
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from agents import RoutedPPO
from agents.checkpoint import learner_state
from oversight.certificate.setup import Setup, make_held_out
from oversight.certificate.tampering import Mask, Numbers, Tamper
from oversight.rl.callbacks import RouteCurves
from oversight.rl.checkpoint_selection import HeldOut

CHANNELS = (
    *("experience", "rollout buffer", "parameters", "optimizer", "generators"),
    *("checkpoints", "scalars", "warnings", "errors"),
)
"""What must not depend on hidden rewards, in the order in which a leak usually shows."""


class Entry(NamedTuple):
    """One value at one time; two runs had the same value if the digests are equal."""

    step: int
    name: str
    digest: bytes


class Difference(NamedTuple):
    """The first entry of a channel that differs between two runs."""

    step: int
    name: str


class Trace:
    """The channels of one run as lists of digests; the values are not stored."""

    def __init__(self) -> None:
        self.channels: dict[str, list[Entry]] = {}

    def add(self, channel: str, step: int, name: str, value: object) -> None:
        """Append the digest of a value.

        Args:
            channel: the kind of value.
            step: environment steps so far.
            name: of the value.
            value: numbers, strings, arrays, tensors, and mappings and sequences of these.

        Raises:
            ValueError: if it holds anything else, which cannot be compared bit for bit.
        """
        digest = hashlib.blake2b(digest_size=16)
        for part in _serialized(value, name):
            digest.update(part)
        self.channels.setdefault(channel, []).append(Entry(step, name, digest.digest()))

    def count(self, channel: str) -> int:
        """Return the number of entries of a channel."""
        return len(self.channels.get(channel, []))

    def difference(self, other: "Trace", channel: str) -> Difference | None:
        """Return where two runs first differ in a channel, or None if it is identical."""
        mine, theirs = self.channels.get(channel, []), other.channels.get(channel, [])
        for one, two in zip_longest(mine, theirs):
            if one != two:
                entry = two or one
                assert entry is not None
                return Difference(entry.step, entry.name)
        return None


def _serialized(value: Any, name: str) -> Iterator[bytes]:  # noqa: ANN401
    """Yield bytes that no two different values share: each part has its type and its length."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.dtype != np.object_:
        yield f"{value.dtype.str}{value.shape}\0".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\0".encode()
        for key in sorted(value, key=repr):
            yield f"{key!r}\0".encode()
            yield from _serialized(value[key], f"{name}.{key}")
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"sequence {len(value)}\0".encode()
        for part in value:
            yield from _serialized(part, name)
    else:
        yield _serialized_scalar(value, name)


def _serialized_scalar(value: object, name: str) -> bytes:
    if isinstance(value, float):  # by its bits, since NaNs differ in theirs
        return b"float" + struct.pack("<d", value)
    if isinstance(value, bool | int | str | bytes | None):
        return f"{type(value).__name__} {value!r}\0".encode()
    raise ValueError(
        f"{name} is of {type(value).__name__}, which cannot be compared bit for bit: let the "
        "environment return arrays, numbers and strings"
    )


BUFFER_ARRAYS = (
    *("observations", "actions", "rewards", "episode_starts"),
    *("values", "log_probs", "advantages", "returns", "last_route"),
)


class Recorder(BaseCallback):
    """Adds what the learner has or receives to a trace.

    - experience: observations, rewards, ends and infos at every step;
    - rollout buffer: every array at the end of each rollout;
    - parameters, optimizer, generators: after each update;
    - checkpoints: after each update, the selected one, its weights and its score.

    Args:
        trace: is filled.
        held_out: selects checkpoints; its callback must come before this one.
    """

    def __init__(self, trace: Trace, held_out: HeldOut) -> None:
        super().__init__()
        self.trace, self.held_out = trace, held_out

    def _add(self, channel: str, **values: object) -> None:
        for name, value in values.items():
            self.trace.add(channel, self.num_timesteps, name, value)

    def _on_training_start(self) -> None:
        infos: Any = self.training_env.reset_infos
        self._add("experience", observations=self.model._last_obs, infos=infos)

    def _on_step(self) -> bool:
        received = {name: self.locals[name] for name in ("rewards", "dones", "infos")}
        self._add("experience", observations=self.locals["new_obs"], **received)
        return True

    def _on_rollout_start(self) -> None:
        self._add_learner()

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self._add("rollout buffer", **{name: getattr(buffer, name) for name in BUFFER_ARRAYS})

    def _on_training_end(self) -> None:
        self._add_learner()

    def _add_learner(self) -> None:
        """Add everything that an update can change."""
        assert isinstance(self.model, RoutedPPO)
        state = learner_state(self.model)
        if not state["reward_source"]:  # most reward sources have no state
            del state["reward_source"]
        self._add("parameters", **state.pop("policy"))
        self._add("optimizer", **{name: state.pop(name) for name in ("optimizer", "num_updates")})
        self._add("generators", **state)
        self._add("checkpoints", **self.held_out.get_state())


class ScalarRecorder(KVWriter):
    """Adds the scalars of the learner's logger to a trace, except those that measure time.

    Args:
        trace: is filled.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Add all scalars of one step."""
        for name, value in sorted(key_values.items()):
            if not name.startswith("time/"):
                self.trace.add("scalars", step, name, value)

    def close(self) -> None:
        """Do nothing, since there is no file."""


class Recording:
    """The trace of one training run, and how many of its rewards were hidden.

    Attributes:
        trace: the channels; the channel `truth` holds the true rewards of each step, which the
            learner must not depend on where they are hidden.
        steps: environment steps.
        observed, hidden: numbers of observed and of hidden rewards.
        error: the error that ended training, or None.
    """

    def __init__(self) -> None:
        self.trace = Trace()
        self.steps = self.observed = self.hidden = 0
        self.error: Exception | None = None

    def add_rewards(self, observed: Mask, hidden: Mask, rewards: Numbers) -> None:
        """Add the true rewards of one step, [n]."""
        self.steps += observed.size
        self.observed += int(np.count_nonzero(observed))
        self.hidden += int(np.count_nonzero(hidden))
        self.trace.add("truth", self.steps, "rewards", rewards)


def record_training(setup: Setup, tamper: Tamper) -> Recording:
    """Train with tampered hidden rewards, and return a recording of the run.

    Errors and warnings do not leave this function; they are channels like any other. PyTorch's
    global generator keeps its state.
    """
    recording = Recording()
    with (
        TemporaryDirectory() as folder,
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(record=True, action="always") as caught,
    ):
        try:
            _train(setup, tamper, Path(folder), recording)
        except Exception as error:
            recording.error = error
    texts = [f"{each.category.__name__}: {each.message}" for each in caught]
    failure = recording.error
    text = "" if failure is None else f"{type(failure).__name__}: {failure}"
    recording.trace.add("warnings", recording.steps, texts[0] if texts else "none", texts)
    recording.trace.add("errors", recording.steps, text or "none", text)
    return recording


def _train(setup: Setup, tamper: Tamper, ledgers: Path, recording: Recording) -> None:
    env = setup.make_env(setup, tamper, recording.add_rewards, ledgers)
    try:
        agent = setup.make_agent(setup.adapt(env), setup)
        agent.set_logger(Logger(None, [ScalarRecorder(recording.trace)]))
        held_out = make_held_out(setup, tamper, ledgers)
        further = [setup.callback(ledgers)] if setup.callback else []
        callbacks = [setup.selection(held_out, ledgers), *further, RouteCurves()]
        agent.learn(setup.steps, [*callbacks, Recorder(recording.trace, held_out)])
    finally:
        env.close()
