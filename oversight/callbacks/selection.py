"""Which checkpoint to keep, chosen by what the overseer saw."""

from collections import deque
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback


class KeepBest(BaseCallback):
    """Keeps the weights under which the last observed episodes went best.

    The score is the mean observed return of the last `episodes` observed episodes, taken after
    each rollout, before its update. It reads `info["observed"]` and `info["observed_reward"]`,
    and never a hidden reward: early stopping and model choice by the truth are leaks.

    Attributes:
        step: environment steps after which the weights were kept; 0 if none were.
        score: their score, -inf if none were kept.
        weights: the weights, as a state dictionary.

    Args:
        episodes: observed episodes that a score is of.
    """

    def __init__(self, episodes: int = 100) -> None:
        super().__init__()
        self.returns: deque[float] = deque(maxlen=episodes)
        self.step, self.score = 0, -np.inf
        self.weights: dict[str, torch.Tensor] = {}

    def _on_training_start(self) -> None:
        self.running = np.full(self.training_env.num_envs, np.nan)  # NaN: not observed so far

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        for lane, info in enumerate(infos):
            if info.get("observed", False):
                self.running[lane] = np.nansum([self.running[lane], info["observed_reward"]])
        for lane in np.flatnonzero(self.locals["dones"]).tolist():
            if not np.isnan(self.running[lane]):
                self.returns.append(float(self.running[lane]))
            self.running[lane] = np.nan
        return True

    def _on_rollout_end(self) -> None:
        if not self.returns:
            return
        score = float(np.mean(self.returns))
        if score >= self.score:  # of equals the later, which had more training
            self.step, self.score = self.num_timesteps, score
            weights = self.model.policy.state_dict()
            self.weights = {name: tensor.clone() for name, tensor in weights.items()}
