"""The oversight budget: observed episodes that a run spends on learning and on choosing."""

from collections.abc import Callable

import numpy as np

from agents.routes import DIAMOND, GHOST
from oversight.callbacks.moments import Moments
from oversight.selection import HeldOut

Tell = Callable[[str, float, int], object]
"""Is told the name of a number, the number, and the environment steps so far."""


def nobody(name: str, value: float, step: int) -> None:
    """Tell nobody."""


class OversightBudget(Moments):
    """Counts the observed episodes that the learner uses, and spends held-out ones beside them.

    An oracle, which is paid the truth, uses every episode.

    Args:
        held_out: the stream of held-out episodes, which keeps the counts.
        every: rollouts from one choice to the next.
        tell: where the scores go.
    """

    def __init__(self, held_out: HeldOut, every: int, tell: Tell = nobody) -> None:
        super().__init__(every)
        self.held_out, self.tell = held_out, tell

    def measure(self) -> None:
        """Judge the deployed module by held-out observed episodes."""
        held_out, agent, step = self.held_out, self.agent, self.num_timesteps
        held_out.judge(agent.deployed(), agent.policy.state_dict(), step)
        self.tell("selection/held_out_episodes", held_out.episodes, step)
        if held_out.score is not None:
            self.tell("selection/observed_score", held_out.score, step)

    def _on_rollout_end(self) -> None:
        routes = self.agent.rollout_buffer.last_route
        ends = routes[routes >= 0]
        paid_truth = self.agent.method.reward == "true"
        observed = ends.size if paid_truth else np.isin(ends, (DIAMOND, GHOST)).sum()
        self.held_out.count(ends.size, int(observed))
