"""Hidden steps and hidden episodes: what a learner sees of them, and their true rewards.

This reads the ground truth of hidden steps, for the developer of an environment who measures what
it leaks. No learner is trained on it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray
from stable_baselines3.common.utils import set_random_seed

from agents.vec_env import OF_THE_END, fill
from envs import FixedHorizon
from envs.wrappers import vector
from oversight.certificate.setup import Setup
from oversight.certificate.shadow import parts_of
from oversight.certificate.tampering import Mask, Numbers, unchanged
from oversight.rl.config import stream_seed
from oversight.rl.environment import EPISODE_LIMIT

PROBE_SEED = 102
"""Stream of the levels and of the random actions, distinct from the certificate's."""

MAX_STEPS = 12_000
"""Hidden steps that are kept in all; of a longer episode a random selection and the last step."""
MAX_VALUES = 16_000_000
"""Numbers in their observations that are kept in all, which is 128 MB."""

Policy = Callable[[Any], Any]
"""From the observations of one lane to its actions; both have a leading axis of length 1."""
Vector = NDArray[np.float64]
Truth = tuple[bool, bool, float]
"""Whether a step was observed, whether its reward is hidden, and the reward."""


class Step(NamedTuple):
    """One step of the environment, as a learner sees it, and its true reward.

    Attributes:
        before, action, after: flattened.
        terminated, truncated: how the episode ended, if it did.
        paid: what the step paid.
        info: numbers by name.
        observed, hidden: whether its reward is. A step that is known to pay nothing may be neither,
            and one that `FixedHorizon` adds after the end is neither.
        reward: the true reward.
    """

    before: Vector
    action: Vector
    after: Vector
    terminated: bool
    truncated: bool
    paid: float
    info: Mapping[str, float]
    observed: bool
    hidden: bool
    reward: float


class Start(NamedTuple):
    """What a reset returned: the flattened observation, and the numbers in the info."""

    observation: Vector
    info: Mapping[str, float]


class Episode(NamedTuple):
    """An episode: its steps, and what the resets before and after it returned."""

    steps: Sequence[Step]
    start: Start
    next_start: Start


@dataclass(frozen=True)
class Cases:
    """Hidden steps, or hidden episodes.

    Attributes:
        truth: the true reward of each step, or the true return of each episode, [n].
        episode: the number of the episode, [n].
        seen: what the learner saw of each, by channel, [n, features].
        names: the names of the features, by channel.
    """

    truth: Vector
    episode: NDArray[np.intp]
    seen: Mapping[str, NDArray[np.float64]]
    names: Mapping[str, Sequence[str]]


def play(setup: Setup, episodes: int, policy: Policy | None = None) -> Iterator[Episode]:
    """Play episodes in one lane of a setup's environment, with its oversight, and yield each.

    Args:
        setup: makes the environment.
        episodes: number of episodes; each is cut after `EPISODE_LIMIT` steps.
        policy: acts; by default actions are drawn uniformly.

    Raises:
        ValueError: if an observation or an action cannot be flattened to numbers.
    """
    truths: list[Truth] = []

    def on_rewards(observed: Mask, hidden: Mask, rewards: Numbers) -> None:
        truths.append((bool(observed[0]), bool(hidden[0]), float(rewards[0])))

    with TemporaryDirectory() as ledgers:
        alone = replace(setup, num_envs=1)
        env = setup.make_env(alone, unchanged, on_rewards, Path(ledgers))
        try:
            # a seed of their own, since equal generators would make actions predict rewards
            env.action_space.seed(stream_seed(setup.seed, PROBE_SEED, 1))
            levels = stream_seed(setup.seed, PROBE_SEED)
            yield from _Player(env, truths, policy).play(episodes, levels)
        finally:
            env.close()


def trained_policy(setup: Setup) -> Policy:
    """Train a setup's agent in its environment, with its oversight, and return its policy."""
    set_random_seed(setup.seed)
    with TemporaryDirectory() as ledgers:
        env = setup.make_env(setup, unchanged, lambda *_: None, Path(ledgers))
        try:
            agent = setup.make_agent(setup.adapt(env), setup).learn(setup.steps)
        finally:
            env.close()
    return lambda observations: agent.predict(observations, deterministic=False)[0]


class _Player:
    """Plays one lane.

    Args:
        env: a vector environment of one lane.
        truths: receives the truth about each step that the environment takes.
        policy: as for `play`.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        truths: list[Truth],
        policy: Policy | None,
    ) -> None:
        self.env, self.truths = env, truths
        self.policy = policy or (lambda observations: env.action_space.sample())
        self.mode = env.metadata.get("autoreset_mode")
        horizons = (FixedHorizon, vector.FixedHorizon)
        self.horizons: list[Any] = [each for each in parts_of(env) if isinstance(each, horizons)]
        for space in (env.single_observation_space, env.single_action_space):
            if not space.is_np_flattenable:
                raise ValueError(
                    f"the leak meter needs observations and actions of a fixed number of values, "
                    f"got {' '.join(repr(space).split())}: flatten them in a wrapper"
                )

    def play(self, episodes: int, seed: int) -> Iterator[Episode]:
        """Yield episodes of the levels of a seed."""
        observations, infos = self.env.reset(seed=seed)
        for _ in range(episodes):
            episode, observations, infos = self._episode(observations, infos)
            yield episode

    def _episode(self, observations: Any, infos: Any) -> tuple[Episode, Any, Any]:  # noqa: ANN401
        """Play an episode, and return what the next reset returned."""
        start = Start(self._flat(observations), _numbers(infos))
        before, steps = start.observation, list[Step]()
        terminated = truncated = False
        while not (terminated or truncated) and len(steps) < EPISODE_LIMIT:
            actions = self.policy(observations)
            absorbed = any(np.any(each.absorbed) for each in self.horizons)
            self.truths.clear()
            observations, paid, ends, cuts, infos = self.env.step(actions)
            terminated, truncated = bool(ends[0]), bool(cuts[0])
            after, said = self._arrival(observations, infos, terminated or truncated)
            action = _flatten(self.env.action_space, self.env.single_action_space, actions)
            seen = (before, action, after, terminated, truncated, float(paid[0]), said)
            steps.append(Step(*seen, *((False, False, 0.0) if absorbed else self._truth())))
            before = after
        if not (terminated or truncated):
            observations, infos = self.env.reset()
        elif self.mode is AutoresetMode.DISABLED:
            observations, infos = self.env.reset(options={"reset_mask": np.ones(1, np.bool_)})
        elif self.mode is AutoresetMode.NEXT_STEP:
            observations, *_, infos = self.env.step(self.policy(observations))
        next_start = Start(self._flat(observations), _numbers(infos))
        return Episode(steps, start, next_start), observations, infos

    def _truth(self) -> Truth:
        """Return the truth about the last step; a wrapper may take several at a time."""
        observed = any(each[0] for each in self.truths)
        hidden = any(each[1] for each in self.truths) and not observed
        return observed, hidden, sum(each[2] for each in self.truths)

    def _arrival(
        self,
        observations: Any,  # noqa: ANN401
        infos: Mapping[str, Any],
        ended: bool,
    ) -> tuple[Vector, dict[str, float]]:
        """Return the observation to which a step led, before any reset, and what its info said."""
        if not ended or self.mode is not AutoresetMode.SAME_STEP:
            return self._flat(observations), _numbers(infos)
        final = infos["final_obs"]
        said = _numbers(infos.get("final_info", {}))
        if isinstance(final, np.ndarray):  # of observations, or of objects
            space = self.env.single_observation_space
            return np.asarray(spaces.flatten(space, final[0]), np.float64), said
        return self._flat(final), said

    def _flat(self, observations: Any) -> Vector:  # noqa: ANN401
        env = self.env
        return _flatten(env.observation_space, env.single_observation_space, observations)


def _flatten(batch: spaces.Space[Any], single: spaces.Space[Any], values: Any) -> Vector:  # noqa: ANN401
    """Return the only element of a batch as a vector of its own."""
    (value,) = iterate(batch, values)
    return np.array(spaces.flatten(single, value), np.float64)


def _numbers(infos: Mapping[str, Any]) -> dict[str, float]:
    """Return all numbers in the info of one lane, by name; a text counts as its checksum."""
    listed: list[dict[str, Any]] = [{}]
    fill(listed, {key: infos[key] for key in infos if key not in OF_THE_END}, [0])
    found: dict[str, float] = {}
    for key, value in listed[0].items():
        if isinstance(value, str):
            found[key] = float(crc32(value.encode()))
            continue
        try:
            array = np.asarray(value, np.float64).ravel()
        except (TypeError, ValueError, OverflowError):  # an object, which no predictor reads
            continue
        found |= {key if array.size == 1 else f"{key}[{i}]": x for i, x in enumerate(array)}
    return found


def collect(episodes: Iterator[Episode], expected: int, seed: int) -> tuple[Cases, Cases]:
    """Return the hidden steps and the hidden episodes among some episodes.

    A hidden episode is one without an observed step.

    Args:
        episodes: are played here.
        expected: how many there are, at most.
        seed: of the selection of steps from long episodes.
    """
    generator = np.random.default_rng(seed)
    steps, wholes = _Rows(), _Rows()
    for number, episode in enumerate(episodes):
        hidden = [step for step in episode.steps if step.hidden]
        room = min(MAX_STEPS, MAX_VALUES // (3 * max(1, episode.steps[0].after.size))) // expected
        for step in _choose(hidden, max(1, room), generator):
            steps.add(number, step.reward, _seen_of_step(step), step.info)
        if hidden and not any(step.observed for step in episode.steps):
            total = float(sum(step.reward for step in episode.steps))
            wholes.add(number, total, _seen_of_episode(episode), _infos_of_episode(episode))
    return steps.cases(), wholes.cases()


def _choose(steps: Sequence[Step], room: int, generator: np.random.Generator) -> list[Step]:
    """Return all steps, or a random selection that has the last one."""
    if len(steps) <= room:
        return list(steps)
    chosen = generator.choice(len(steps) - 1, room - 1, replace=False)
    return [*(steps[index] for index in sorted(chosen)), steps[-1]]


Seen = dict[str, dict[str, Vector]]


def _seen_of_step(step: Step) -> Seen:
    """Return what a learner sees of a step, except infos, in named parts of each channel."""
    change = step.after - step.before
    return {
        "observation": {"before": step.before, "after": step.after, "change": change},
        "terminated": {"terminated": np.array([step.terminated], np.float64)},
        "truncated": {"truncated": np.array([step.truncated], np.float64)},
        "payment": {"payment": np.array([step.paid])},
        "action": {"action": step.action},
    }


def _seen_of_episode(episode: Episode) -> Seen:
    """Return the same of an episode, in which observations and actions are averaged."""
    steps, last = episode.steps, episode.steps[-1]
    after = np.stack([step.after for step in steps])
    before = np.stack([step.before for step in steps])
    return {
        "observation": {
            "first": episode.start.observation,
            "mean": after.mean(axis=0),
            "change": np.abs(after - before).mean(axis=0),
            "last": last.after,
            "next start": episode.next_start.observation,
        },
        "terminated": {"terminated": np.array([last.terminated], np.float64)},
        "truncated": {"truncated": np.array([last.truncated], np.float64)},
        "length": {"length": np.array([len(steps)], np.float64)},
        "payment": {"payment": np.array([sum(step.paid for step in steps)])},
        "action": {"mean": np.mean([step.action for step in steps], axis=0)},
    }


def _infos_of_episode(episode: Episode) -> dict[str, float]:
    """Return the means and the last values of infos, and those of the resets around an episode."""
    said: dict[str, list[float]] = {}
    for step in episode.steps:
        for key, value in step.info.items():
            said.setdefault(key, []).append(value)
    found = {f"mean {key}": float(np.mean(values)) for key, values in said.items()}
    found |= {f"last {key}": values[-1] for key, values in said.items()}
    found |= {f"first {key}": value for key, value in episode.start.info.items()}
    return found | {f"next {key}": value for key, value in episode.next_start.info.items()}


@dataclass
class _Rows:
    """Cases as they are collected."""

    truth: list[float] = field(default_factory=list)
    episode: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    infos: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, number: int, truth: float, seen: Seen, info: Mapping[str, float]) -> None:
        """Add a step or an episode."""
        self.truth.append(truth)
        self.episode.append(number)
        self.seen.append(seen)
        self.infos.append(info)

    def cases(self) -> Cases:
        """Return all as arrays; an info that was missing is NaN."""
        seen: dict[str, NDArray[np.float64]] = {}
        names: dict[str, Sequence[str]] = {}
        for channel, parts in self.seen[0].items() if self.seen else ():
            rows = [np.concatenate(list(each[channel].values())) for each in self.seen]
            seen[channel] = np.stack(rows)
            names[channel] = [
                name if part.size == 1 else f"{name}[{i}]"
                for name, part in parts.items()
                for i in range(part.size)
            ]
        keys = sorted({key for info in self.infos for key in info})
        seen["info"] = np.array(
            [[info.get(key, np.nan) for key in keys] for info in self.infos]
        ).reshape(len(self.infos), len(keys))
        names["info"] = keys
        return Cases(np.array(self.truth), np.array(self.episode, np.intp), seen, names)
