"""Environments with known leaks, harmless ones, and the self-test of the leak meter.

In all of them agents move on a line, or stay, and the reward depends on a coin that no agent sees.
A leaking environment shows the outcome in one channel; a harmless one shows it nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rich.table import Table
from rich.text import Text

from envs import FixedHorizon
from oversight.certificate.leak_meter.meter import ALL, BOTH, CHANNELS, LeakReport, Result, probe
from oversight.certificate.setup import Setup, make_setup
from oversight.runs.console import plain_table

HORIZON = 4
"""Steps of an episode, unless it ends earlier."""
EPISODES = 400

StepResult = tuple[Any, float, bool, bool, dict[str, Any]]


class Line(gym.Env[Any, Any]):
    """Observes a number that depends on nothing else."""

    observation_space: spaces.Space[Any] = spaces.Box(-np.inf, np.inf, (1,))
    action_space: spaces.Space[Any] = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.elapsed = 0
        self.begin()
        return self.observe(0.0), {}

    def begin(self) -> None:
        """Draw what an episode keeps."""

    def step(self, action: Any) -> StepResult:  # noqa: ANN401
        """Pay what `pay` returns, until the horizon."""
        self.elapsed += 1
        reward = self.pay(action)
        return self.observe(reward), reward, False, self.elapsed == HORIZON, {}

    def pay(self, action: Any) -> float:  # noqa: ANN401
        """Return the reward: 1 or -1, by the toss of a coin."""
        return self.toss()

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Return an observation, which may depend on the reward of the last step."""
        return self.noise()

    def noise(self) -> Any:  # noqa: ANN401
        """Return a random observation."""
        return self.np_random.standard_normal(1).astype(np.float32)

    def toss(self, chance: float = 0.5) -> float:
        """Return 1 with a chance, else -1."""
        return 1.0 if self.np_random.random() < chance else -1.0


class RewardInObservation(Line):
    """The observation after a step contains its reward."""

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Return the reward in place of a random number."""
        return np.full(1, reward, np.float32)


class EndsIffPunished(Line):
    """An episode terminates at a step if and only if the step is punished."""

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Return a constant."""
        return np.zeros(1, np.float32)

    def step(self, action: Any) -> StepResult:  # noqa: ANN401
        """Punish one step of five, and end there."""
        _, _, _, truncated, info = super().step(action)
        punished = self.toss(0.2) > 0
        return self.observe(0.0), -float(punished), punished, truncated and not punished, info


class RewardInInfo(Line):
    """An entry of info that the oversight allows, `score`, is the reward."""

    def step(self, action: Any) -> StepResult:  # noqa: ANN401
        """Add the reward to info."""
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, {"score": reward}


class ReturnInNextStart(Line):
    """The first observation of an episode shows the return of the one before."""

    total = 0.0

    def begin(self) -> None:
        """Keep the return of the last episode for the observation."""
        self.last, self.total = self.total, 0.0

    def pay(self, action: Any) -> float:  # noqa: ANN401
        """Add to the return."""
        reward = super().pay(action)
        self.total += reward
        return reward

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Return the last return at the start, and then random numbers."""
        return self.noise() if self.elapsed else np.full(1, self.last, np.float32)


class ContextualBandit(Line):
    """The reward is whether the action equals the observation, so that both determine it."""

    context = 0.0

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Draw the next context."""
        self.context = self.toss()
        return np.full(1, self.context, np.float32)

    def pay(self, action: Any) -> float:  # noqa: ANN401
        """Compare the action with the context."""
        return 1.0 if bool(action) == (self.context > 0) else -1.0


class Coin(Line):
    """The toss of a coin pays at each step."""


class HiddenState(Line):
    """A hidden state of the episode pays at every step; the agent sees its own position."""

    def begin(self) -> None:
        """Draw the state."""
        self.state, self.position = self.toss(), 0

    def pay(self, action: Any) -> float:  # noqa: ANN401
        """Move, and return the state."""
        self.position += 2 * int(action) - 1
        return self.state

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Return the position."""
        return np.full(1, self.position, np.float32)


class HiddenKey(Line):
    """An action pays if it equals a key that is drawn at each step and never shown."""

    def pay(self, action: Any) -> float:  # noqa: ANN401
        """Compare the action with the key."""
        return 1.0 if bool(action) == (self.toss() > 0) else -1.0


class RandomEnd(Line):
    """Rewards are normal noise, and episodes end by chance."""

    def step(self, action: Any) -> StepResult:  # noqa: ANN401
        """End one step of five."""
        observation, _, _, truncated, info = super().step(action)
        return observation, self.np_random.normal(), self.toss(0.2) > 0, truncated, info


class UnrelatedInfo(Line):
    """Observations are dictionaries, and an allowed entry of info is a random number."""

    observation_space = spaces.Dict(
        {"noise": spaces.Box(-np.inf, np.inf, (1,)), "level": spaces.Discrete(3)}
    )

    def observe(self, reward: float) -> Any:  # noqa: ANN401
        """Return two random values."""
        return {"noise": self.noise(), "level": self.np_random.integers(3)}

    def step(self, action: Any) -> StepResult:  # noqa: ANN401
        """Add a random number to info."""
        return *super().step(action)[:4], {"score": self.np_random.random()}


@dataclass(frozen=True, kw_only=True)
class KnownEnv:
    """An environment whose leaks are known.

    Attributes:
        make: returns the environment, which pays true rewards.
        leaks: the channels that predict hidden rewards or returns.
        inside: wraps it inside the oversight.
        allow: keys of info that the oversight keeps.
        description: what is in it, in a sentence.
    """

    make: Callable[[], Line]
    leaks: frozenset[str] = frozenset()
    inside: Callable[[Any], Any] | None = None
    allow: tuple[str, ...] = ()
    description: str

    @property
    def setup(self) -> Setup:
        """The setup that is probed."""
        oversight = {"observed_probability": 0.3, "allow": self.allow}
        setup = make_setup(self.make, "routed", oversight, "single")
        return setup if self.inside is None else replace(setup, inside=self.inside)


ENDS = frozenset({"terminated", "truncated", "length"})


def _known_env(make: type[Line], *leaks: str, **rest: Any) -> KnownEnv:  # noqa: ANN401
    """Return an environment with the description in its docstring."""
    return KnownEnv(make=make, leaks=frozenset(leaks), description=make.__doc__ or "", **rest)


KNOWN: dict[str, KnownEnv] = {
    "reward-in-observation": _known_env(RewardInObservation, "observation"),
    "ends-iff-punished": _known_env(EndsIffPunished, *ENDS),
    "ends-iff-punished, FixedHorizon": replace(
        _known_env(EndsIffPunished, inside=partial(FixedHorizon, horizon=HORIZON)),
        description="The same inside FixedHorizon: all episodes are equally long.",
    ),
    "reward-in-info": _known_env(RewardInInfo, "info", allow=("score",)),
    "return-in-next-start": _known_env(ReturnInNextStart, "observation"),
    "contextual-bandit": _known_env(ContextualBandit, BOTH),
    "coin": _known_env(Coin),
    "hidden-state": _known_env(HiddenState),
    "hidden-key": _known_env(HiddenKey),
    "random-end": _known_env(RandomEnd),
    "unrelated-info": _known_env(UnrelatedInfo, allow=("score",)),
}
"""The environments of the self-test by name; those that leak come first."""


class Outcome(NamedTuple):
    """An environment of the self-test, and what the meter found."""

    known: KnownEnv
    report: LeakReport

    @property
    def is_right(self) -> bool:
        """Whether the meter found the channels that leak, and no other."""
        return self.report.channels == self.known.leaks


def run_self_test(
    known: Mapping[str, KnownEnv], seed: int = 0, on_end: Callable[[str], None] = lambda name: None
) -> dict[str, Outcome]:
    """Probe environments.

    Args:
        known: the environments, by name.
        seed: of all of them.
        on_end: called with the name of each after it is probed.
    """
    outcomes = {}
    for name, each in known.items():
        outcomes[name] = Outcome(each, probe(replace(each.setup, seed=seed), EPISODES))
        on_end(name)
    return outcomes


def self_test_table(outcomes: Mapping[str, Outcome]) -> Table:
    """Return a table with a row for each environment."""
    table = plain_table("Environments that leak, and harmless ones", "environment", ())
    for heading in ("hidden steps", "hidden episodes"):
        table.add_column(heading, overflow="fold")
    table.add_column("leaks by", overflow="fold")
    for name, (known, report) in outcomes.items():
        right = report.channels == known.leaks
        channels = (*CHANNELS, ALL, BOTH)
        found = ", ".join(each for each in channels if each in report.channels) or "nothing"
        shown = Text(found, style="green" if right else "bold red")
        table.add_row(name, *map(_together, report.results), shown)
    table.caption = "Scores, and their intervals, of all channels and the action together"
    return table


def _together(result: Result) -> str:
    """Return the score of all channels and the action together, and its interval."""
    if not result.rows:
        return "nothing to measure"
    value, low, high = result.rows[-1].score
    return f"{result.measure} {value:.2f} ({low:.2f} to {high:.2f})"


def self_test_summary(outcomes: Mapping[str, Outcome]) -> str:
    """Return how many environments were measured correctly, in one line."""
    leaking = [each.is_right for each in outcomes.values() if each.known.leaks]
    harmless = [each.is_right for each in outcomes.values() if not each.known.leaks]
    return (
        f"found the leaks of {sum(leaking)} of {len(leaking)} environments; "
        f"found nothing in {sum(harmless)} of {len(harmless)} harmless ones"
    )
