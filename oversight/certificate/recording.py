"""Recorded training: digests of everything that a learner has or receives, channel by channel."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import DEBUG, KVWriter, Logger, SeqWriter
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from agents import RoutedPPO
from agents.checkpoint import learner_state
from oversight.certificate.digests import Opaque, digest_of, generators_within
from oversight.certificate.process import (
    global_generators,
    kept_classes,
    kept_generators,
    recorded_messages,
    without_addresses,
)
from oversight.certificate.setup import Setup, make_held_out
from oversight.certificate.shadow import Payment, Shadowed, Source, VectorSource, parts_of
from oversight.certificate.tampering import Mask, Numbers, Tamper, Tampers
from oversight.rl.callbacks import RouteCurves
from oversight.rl.checkpoint_selection import HeldOut

PAYMENT = "paid rewards"
"""The channel that is compared with a shadow of the same run, instead of with a tampered run."""

CHANNELS = (
    *("experience", PAYMENT, "rollout buffer", "parameters", "optimizer", "generators"),
    *("checkpoints", "learner", "scalars", "messages", "warnings", "errors"),
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

    def add(
        self, channel: str, step: int, name: str, value: object, opaque: Opaque = "refused"
    ) -> None:
        """Append the digest of a value.

        Args:
            channel: the kind of value.
            step: environment steps so far.
            name: of the value.
            value: of any type.
            opaque: as for `digest_of`, which may refuse the value.
        """
        entry = Entry(step, name, digest_of(value, name, opaque))
        self.channels.setdefault(channel, []).append(entry)

    def count(self, channel: str) -> int:
        """Return the number of entries of a channel."""
        return len(self.channels.get(channel, []))

    def difference(
        self, other: "Trace", channel: str, *, ends_early: bool = False
    ) -> Difference | None:
        """Return where two runs first differ in a channel, or None if it is identical.

        Args:
            other: the trace of the other run.
            channel: the name of the channel.
            ends_early: whether an error ended one of the runs, so that entries that it lacks are
                no difference of this channel.
        """
        mine, theirs = self.channels.get(channel, []), other.channels.get(channel, [])
        for one, two in zip_longest(mine, theirs):
            if ends_early and (one is None or two is None or one[1:] == two[1:]):
                continue
            if one != two:
                entry = two or one
                assert entry is not None
                return Difference(entry.step, entry.name)
        return None


BUFFER_ARRAYS = (
    *("observations", "actions", "rewards", "episode_starts"),
    *("values", "log_probs", "advantages", "returns", "last_route"),
)


NOT_ATTRIBUTES = frozenset(
    {"policy", "env", "rollout_buffer", "_logger", "_custom_logger", "_vec_normalize_env"}
)
"""Attributes of an agent that have channels of their own, or that are the environment's."""

CLOCK = frozenset({"start_time", "time/fps", "time/time_elapsed"})
"""Where SB3 stores and logs the time of day: the key is compared, and the type of the value.

A true return in the place of such a time is not seen, whoever puts it there.
"""


class Recorder(BaseCallback):
    """Adds what the learner has or receives to a trace.

    - experience: observations, rewards, ends and infos at every step;
    - rollout buffer: everything in it at the end of each rollout;
    - parameters, optimizer, generators, learner: after each update;
    - checkpoints: after each update, the selected one, its weights and its score.

    Args:
        trace: is filled.
        held_out: selects checkpoints; its callback must come before this one.
        log: records what the learner's logger shows.
    """

    def __init__(self, trace: Trace, held_out: HeldOut, log: "LogRecorder") -> None:
        super().__init__()
        self.trace, self.held_out, self.log = trace, held_out, log

    def _add(self, channel: str, **values: object) -> None:
        for name, value in values.items():
            self.trace.add(channel, self.num_timesteps, name, value)

    def _add_held(self, channel: str, **values: object) -> None:
        """Add what the learner holds, where an opaque object, such as a lock, is no fault."""
        for name, value in values.items():
            self.trace.add(channel, self.num_timesteps, name, value, "by class")

    def _on_training_start(self) -> None:
        infos: Any = self.training_env.reset_infos
        self._add("experience", observations=self.model._last_obs, infos=infos)

    def _on_step(self) -> bool:
        self.log.attach(self.logger)
        received = {name: self.locals[name] for name in ("rewards", "dones", "infos")}
        self._add("experience", observations=self.locals["new_obs"], **received)
        return True

    def _on_rollout_start(self) -> None:
        self._add_learner()

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        held = {**vars(buffer), "class": type(buffer)}
        self._add("rollout buffer", **{name: held[name] for name in BUFFER_ARRAYS})
        rest = {name: value for name, value in held.items() if name not in BUFFER_ARRAYS}
        self._add_held(
            "rollout buffer", **{f"buffer.{name}": value for name, value in rest.items()}
        )

    def _on_training_end(self) -> None:
        self._add_learner()

    def _add_learner(self) -> None:
        """Add everything that an update can change."""
        assert isinstance(self.model, RoutedPPO)
        self.log.attach(self.logger)
        state = learner_state(self.model)
        if not state["reward_source"]:  # most reward sources have no state
            del state["reward_source"]
        self._add("parameters", **state.pop("policy"))
        self._add("optimizer", **{name: state.pop(name) for name in ("optimizer", "num_updates")})
        self._add("generators", **state)
        self._add("generators", **global_generators(), environment=_generators(self.training_env))
        self._add("checkpoints", **self.held_out.get_state())
        self._add_held("learner", **_attributes(self.model), **_saved(self.model))
        infos = [
            part.reset_infos
            for part in parts_of(self.training_env)
            if isinstance(part, VecEnv) and not isinstance(part, Shadowed)
        ]
        self._add_held("learner", reset_infos=infos, spaces=_spaces(self.training_env))


def _attributes(agent: RoutedPPO) -> dict[str, object]:
    """Return the attributes of an agent, of the modules of its policy, and of its normalizer."""
    found: dict[str, object] = {
        f"agent.{name}": type(value) if name in CLOCK else value
        for name, value in vars(agent).items()
        if name not in NOT_ATTRIBUTES
    }
    found["agent.class"] = type(agent)
    for name, module in agent.policy.named_modules():
        layer = f"policy.{name}".removesuffix(".")
        found |= {f"{layer}.{key}": value for key, value in _parts_of_module(module).items()}
    tensors = {"state", "param_groups"}  # in the channel of the optimizer
    optimizer = vars(agent.policy.optimizer).items()
    found["optimizer"] = {key: value for key, value in optimizer if key not in tensors}
    normalizer = agent._vec_normalize_env
    if normalizer is not None:
        outside = {"venv", "class_attributes"}
        items = vars(normalizer).items()
        found["normalizer"] = {key: value for key, value in items if key not in outside}
        found["normalizer.class"] = type(normalizer)
    return found


def _parts_of_module(module: torch.nn.Module) -> dict[str, object]:
    """Return what a module holds, of the modules inside it the names and classes only.

    The distribution of the last actions is scratch, which each forward pass replaces.
    """
    held = {key: value for key, value in vars(module).items() if key != "optimizer"}
    held["_modules"] = {name: type(part) for name, part in module._modules.items()}
    if "action_dist" in held:
        parts = vars(held["action_dist"]).items()
        held["action_dist"] = {key: value for key, value in parts if key != "distribution"}
    return {**held, "class": type(module)}


def _saved(agent: RoutedPPO) -> dict[str, object]:
    """Return what `save` writes of an agent besides its attributes, and what it leaves out."""
    states, tensors = agent._get_torch_save_params()
    known = {"policy", "policy.optimizer"}
    return {
        "saved states": {
            name: recursive_getattr(agent, name).state_dict()
            for name in states
            if name not in known
        },
        "saved tensors": {name: recursive_getattr(agent, name) for name in tensors},
        "left out": agent._excluded_save_params(),
    }


def _generators(env: VecEnv) -> list[object]:
    """Return the states of all generators that an environment or its wrappers hold."""
    parts = list(parts_of(env))
    known = {id(part) for part in parts}  # so that no part is reached from another one
    states: list[object] = []
    for part in parts:
        if not isinstance(part, Tampers | Shadowed | Source | VectorSource):  # the certificate's
            for value in vars(part).values():
                states += generators_within(value, known)
    return states


def _spaces(env: VecEnv) -> list[spaces.Space[Any]]:
    """Return the spaces of an environment, and of everything inside it."""
    parts = (part for part in parts_of(env) if not isinstance(part, Shadowed))
    values = (value for part in parts for value in vars(part).values())
    return [value for value in values if isinstance(value, spaces.Space)]


class LogRecorder(KVWriter, SeqWriter):
    """Adds everything that the learner's logger shows to a recording.

    Args:
        recording: is filled.
    """

    def __init__(self, recording: "Recording") -> None:
        self.recording = recording

    def attach(self, logger: Logger) -> None:
        """Let a logger show here what it shows."""
        if self not in logger.output_formats:
            logger.output_formats.append(self)

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Add all values of one step, in their order, and the formats that do not show them."""
        for name, value in key_values.items():
            shown = [type(value) if name in CLOCK else value, key_excluded.get(name)]
            self.recording.trace.add("scalars", step, name, shown, "by class")

    def write_sequence(self, sequence: list[str]) -> None:
        """Add a text."""
        self.recording.add_message(" ".join(sequence), None)

    def close(self) -> None:
        """Do nothing, since there is no file."""


class Recording:
    """The trace of one training run, and how many of its rewards were hidden.

    Attributes:
        trace: the channels; the channel `truth` holds the true rewards of each step, which the
            learner must not depend on where they are hidden.
        shadow: the channel of paid rewards as the shadow has it, if there is one.
        steps: environment steps.
        observed, hidden: numbers of observed and of hidden rewards.
        error: the error that ended training, or None.
    """

    def __init__(self) -> None:
        self.trace, self.shadow = Trace(), Trace()
        self.steps = self.observed = self.hidden = 0
        self.error: Exception | SystemExit | None = None

    def add_rewards(self, observed: Mask, hidden: Mask, rewards: Numbers) -> None:
        """Add the true rewards of one step, [n]."""
        self.steps += observed.size
        self.observed += int(np.count_nonzero(observed))
        self.hidden += int(np.count_nonzero(hidden))
        self.trace.add("truth", self.steps, "rewards", rewards)

    def add_payment(self, paid: Payment, right: Payment | str) -> None:
        """Add what the environment paid and reported at one step, and what is right.

        Args:
            paid: by the environment.
            right: by the shadow, or the reason why it is not known.
        """
        why = f", which the wrappers read elsewhere ({right})" if isinstance(right, str) else ""
        self.trace.add(PAYMENT, self.steps, "rewards", paid)
        self.shadow.add(PAYMENT, self.steps, f"rewards{why}", right)

    def add_message(self, text: str, further: object) -> None:
        """Add a text that was logged, and what else is shown of it."""
        text = without_addresses(text)
        self.trace.add("messages", self.steps, text, [text, further], "by class")


def record_training(setup: Setup, tamper: Tamper, *, shadowed: bool = False) -> Recording:
    """Train with tampered hidden rewards, and return a recording of the run.

    Errors and warnings do not leave this function; they are channels like any other. The global
    generators of the process and the data of its classes stay as they were.

    Args:
        setup: how the agent is trained.
        tamper: replaces hidden rewards.
        shadowed: whether rewards are compared with those that a shadow pays.
    """
    recording = Recording()
    recording.trace.add("messages", 0, "none so far", None)
    with (
        TemporaryDirectory() as folder,
        kept_generators(),
        kept_classes(),
        recorded_messages(recording.add_message),
        warnings.catch_warnings(record=True, action="always") as caught,
    ):
        set_random_seed(setup.seed)
        try:
            _train(setup, tamper, Path(folder), recording, shadowed)
        except (Exception, SystemExit) as error:  # a part may end the process by the truth
            recording.error = error
    # Python names files that it closes by itself when it finds the time, perhaps in a later run.
    kept = [each for each in caught if not issubclass(each.category, ResourceWarning)]
    texts = [without_addresses(f"{each.category.__name__}: {each.message}") for each in kept]
    places = [(each.filename, each.lineno) for each in kept]
    failure = recording.error
    text = "" if failure is None else f"{type(failure).__name__}: {failure}"
    recording.trace.add("warnings", recording.steps, texts[0] if texts else "none", [texts, places])
    recording.trace.add("errors", recording.steps, text or "none", text)
    return recording


def _train(
    setup: Setup, tamper: Tamper, ledgers: Path, recording: Recording, shadowed: bool
) -> None:
    env = setup.make_env(setup, tamper, recording.add_rewards, ledgers)
    try:
        adapted = setup.adapt(env)
        for space in _spaces(adapted):  # some are sampled from, by no seed but the system's
            space.seed(setup.seed)
        agent = setup.make_agent(_shadowed(setup, adapted, recording, shadowed), setup)
        log = LogRecorder(recording)
        logger = Logger(None, [log])
        logger.set_level(DEBUG)
        agent.set_logger(logger)
        held_out = make_held_out(setup, tamper, ledgers)
        further = [setup.callback(ledgers)] if setup.callback else []
        callbacks = [setup.selection(held_out, ledgers), *further, RouteCurves()]
        with _watched(agent, log):
            agent.learn(setup.steps, [*callbacks, Recorder(recording.trace, held_out, log)])
    finally:
        env.close()


@contextmanager
def _watched(agent: RoutedPPO, log: LogRecorder) -> Iterator[None]:
    """Let every logger that the agent is given be recorded, and close its files at the end."""
    set_logger = BaseAlgorithm.set_logger
    files = ExitStack()

    def set_and_attach(algorithm: BaseAlgorithm, logger: Logger) -> None:
        if algorithm is agent:
            log.attach(logger)
            files.callback(logger.close)
        set_logger(algorithm, logger)

    with files, patch.object(BaseAlgorithm, "set_logger", set_and_attach):
        yield


def _shadowed(setup: Setup, env: VecEnv, recording: Recording, compared: bool) -> Shadowed:
    """Return an environment, with its shadow if payments are compared.

    All runs have this wrapper, so that nothing that names or counts wrappers differs.
    """
    parts = list(parts_of(env))
    sources = [part for part in parts if isinstance(part, Source | VectorSource)]
    tampers = [part for part in parts if isinstance(part, Tampers)]

    def own_payment() -> Payment:
        rewards = np.concatenate([each.payment for each in tampers])
        return Payment(rewards, np.concatenate([each.reports for each in tampers]))

    return Shadowed(
        env,
        make_shadow=(lambda: setup.adapt(setup.make_env.shadow(setup, sources)))
        if compared
        else None,
        own_payment=own_payment,
        on_payment=recording.add_payment,
    )
