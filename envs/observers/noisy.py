"""Noisy: the flag that the agent sees errs, what is observed does not."""

from dataclasses import dataclass

import numpy as np

from envs import streams
from envs.observers.coins import check_stream, episode_word, step_word
from envs.observers.function import check_probability
from envs.observers.observer import Decision, Moment, Observer, Scope


@dataclass(frozen=True)
class Noisy(Observer):
    """Another observer whose flag errs by chance.

    The same two probabilities flip the flag symmetrically; one of them alone errs on one side. An
    observer by episode errs for whole episodes, another at each step. Rewards and
    `info["observed"]` stay with the truth: to miss rewards write `observer & StepCoin(0.9)`.

    Args:
        observer: Who watches.
        miss: Chance that the flag of an observed step is off.
        false_alarm: Chance that the flag of a hidden step is on.
        stream: As `EpisodeCoin`, of other coins than the observer's.
    """

    observer: Observer
    miss: float = 0.0
    false_alarm: float = 0.0
    stream: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.observer, Observer):
            raise ValueError(f"observer must be an observer, got {self.observer!r}")
        check_probability(self.miss, "miss")
        check_probability(self.false_alarm, "false_alarm")
        check_stream(self.stream)

    @property
    def scope(self) -> Scope:
        """What the observer must know."""
        return self.observer.scope

    def decide(self, moment: Moment) -> Decision:
        """Let the observer decide, then err about it."""
        watched = self.observer.decide(moment).watched
        draw = episode_word if self.scope == Scope.EPISODE else step_word
        chance = np.where(watched, self.miss, self.false_alarm)
        wrong = streams.uniform(draw(moment, self.stream)) < chance
        return Decision(watched, watched ^ wrong)
