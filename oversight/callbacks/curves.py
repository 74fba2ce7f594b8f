"""Curves of what the learner was shown: which routes its steps took."""

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from agents import ROUTES, RoutedPPO
from agents.routes import UNUSED


class RouteCurves(BaseCallback):
    """Records the share of each rollout's steps that took each route, and of observed episodes."""

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, RoutedPPO)
        buffer = self.model.rollout_buffer
        ends, steps = buffer.last_route, buffer.routes()
        steps = steps[steps != UNUSED]
        for number, name in enumerate(ROUTES):
            self.logger.record(f"routing/share_{name}", float(np.mean(steps == number)))
        ended = ends[ends >= 0]
        observed = np.isin(ended, [ROUTES.index("diamond"), ROUTES.index("ghost")])
        self.logger.record(
            "oversight/observed_fraction", float(observed.mean()) if ended.size else 0.0
        )

    def _on_step(self) -> bool:
        return True
