"""An environment in which every episode is one step long and ends as it is told to."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class OneStep(gym.Env[NDArray[np.float32], np.int64]):
    """Pays 1 for action 0 and -1 for action 1; the overseer sees all outcomes or none."""

    def __init__(self, observed: bool) -> None:
        self.observed = observed
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw an observation."""
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """End the episode."""
        reward = 1.0 - 2.0 * float(action)
        info = {"observed": self.observed, "observed_reward": reward if self.observed else 0.0}
        return np.zeros(3, np.float32), reward, True, False, info
