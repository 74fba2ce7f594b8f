"""NoisyFlag: the flag that the agent sees errs about who watches; what is observed does not."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from envs.observers.coins import check_stream
from envs.observers.function import check_probability
from envs.observers.noisy import CUED, draw_error
from envs.observers.observer import Mask, Moment, Scope


@dataclass(frozen=True)
class NoisyFlag:
    """A flag in the observation that errs by chance: a cue of whether the coming step is observed.

    The same two probabilities make the flag err symmetrically; one of them alone, on one side. With
    an observer by episode it errs for whole episodes, with another at each step.

    >>> flag = NoisyFlag(miss=0.1)  # PartialOversight(env, flag=flag): a tenth goes unannounced

    Args:
        miss: Chance that the flag of an observed step is off.
        false_alarm: Chance that the flag of a hidden step is on.
        stream: As `EpisodeCoin`; errors are independent of those of any `Noisy`.
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    stream: int = 0

    def __post_init__(self) -> None:
        check_probability(self.miss, "miss")
        check_probability(self.false_alarm, "false_alarm")
        check_stream(self.stream)

    def cue(self, watched: Mask, moment: Moment, scope: Scope) -> Mask:
        """Return what the agent is told of a decision at a moment.

        Args:
            watched: The decision.
            moment: That it was made for.
            scope: Of the observer that made it.
        """
        chance = np.where(watched, self.miss, self.false_alarm)
        wrong: Mask = draw_error(moment, scope, self.stream, CUED) < chance
        return watched ^ wrong


Flag = Literal["hidden", "visible"] | NoisyFlag
