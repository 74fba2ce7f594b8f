"""The oversight budget: observed episodes that a run spends on learning and on choosing."""

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from agents.routes import DIAMOND, GHOST
from oversight.callbacks.moments import Moments
from oversight.config import TrainConfig
from oversight.selection import HeldOut


class OversightBudget(Moments):
    """Counts the observed episodes that the learner uses, and spends held-out ones beside them.

    An oracle, which is paid the truth, uses every episode.

    Args:
        config: the settings of the run.
        writer: where the scores go.
        held_out: the stream of held-out episodes, which keeps the counts.
    """

    def __init__(self, config: TrainConfig, writer: SummaryWriter, held_out: HeldOut) -> None:
        super().__init__(config)
        self.writer, self.held_out = writer, held_out

    def measure(self) -> None:
        """Judge the deployed module by held-out observed episodes."""
        held_out, agent, step = self.held_out, self.agent, self.num_timesteps
        held_out.judge(agent.deployed(), agent.policy.state_dict(), step)
        self.writer.add_scalar("selection/held_out_episodes", held_out.episodes, step)
        if held_out.score is not None:
            self.writer.add_scalar("selection/observed_score", held_out.score, step)

    def _on_rollout_end(self) -> None:
        routes = self.agent.rollout_buffer.last_route
        ends = routes[routes >= 0]
        paid_truth = self.agent.method.reward == "true"
        observed = ends.size if paid_truth else np.isin(ends, (DIAMOND, GHOST)).sum()
        self.held_out.count(ends.size, int(observed))
