"""Curves of what the learner was shown: which routes its steps took."""

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from agents import ROUTES, RoutedPPO
from agents.routes import write_back


class RouteCurves(BaseCallback):
    """Records the share of each rollout's steps that took each route, and of observed episodes."""

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, RoutedPPO)
        ends = self.model.rollout_buffer.last_route
        steps = write_back(ends)
        for number, name in enumerate(ROUTES):
            self.logger.record(f"routing/share_{name}", float(np.mean(steps == number)))
        ended = ends[ends >= 0]
        observed = np.isin(ended, [ROUTES.index("diamond"), ROUTES.index("ghost")])
        self.logger.record(
            "oversight/observed_fraction", float(observed.mean()) if ended.size else 0.0
        )

    def _on_step(self) -> bool:
        return True
