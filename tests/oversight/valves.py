"""An environment with MultiDiscrete actions, whose info says whether an episode succeeded."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Levels = NDArray[np.float32]


class Valves(gym.Env[Levels, NDArray[np.int64]]):
    """Two tanks and a valve for each, rewarded by how little their levels differ."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (Gymnasium's type)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = spaces.MultiDiscrete([3, 3])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Levels, dict[str, Any]]:
        """Draw the first levels."""
        super().reset(seed=seed)
        self.levels = self.np_random.uniform(0.0, 1.0, 2)
        return self.levels.astype(np.float32), {"open": 0}

    def step(self, action: NDArray[np.int64]) -> tuple[Levels, float, bool, bool, dict[str, Any]]:
        """Move the valves; the episode ends when the levels meet, or one of them is empty."""
        noise = self.np_random.normal(0.0, 0.01, 2)
        self.levels = np.clip(self.levels + 0.05 * (np.asarray(action) - 1) + noise, 0.0, 1.0)
        difference = float(abs(self.levels[0] - self.levels[1]))
        met, empty = difference < 0.02, bool((self.levels == 0.0).any())
        info = {"open": int(np.sum(action)), "is_success": met}
        return self.levels.astype(np.float32), -difference, met or empty, False, info

    def render(self) -> NDArray[np.uint8]:
        """Draw the levels as two bars."""
        picture = np.full((32, 40, 3), 255, np.uint8)
        for tank, level in enumerate(self.levels):
            picture[32 - int(31 * level) :, 4 + 18 * tank : 18 + 18 * tank] = (40, 90, 160)
        return picture


def how_it_ended(
    observation: Levels, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
) -> str | None:
    """Return goal where the levels met, proxy where a tank was emptied, and None otherwise."""
    if info["is_success"]:
        return "goal"
    return "proxy" if terminated else None


def fullness(
    before: Levels,
    action: NDArray[np.int64],
    after: Levels,
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the proxy reward: the mean level after a step, [lanes]."""
    means: NDArray[np.float64] = np.asarray(after, dtype=np.float64).mean(axis=1)
    return means


def left_is_fuller(observations: Levels) -> NDArray[np.bool_]:
    """Return whether the first tank is fuller, [lanes]."""
    return observations[:, 0] > observations[:, 1]


def less_and_less(clock: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a probability of oversight that falls with the clock."""
    return np.asarray(1.0 / (1.0 + 0.01 * clock), dtype=np.float64)


gym.register("Valves-v0", "tests.oversight.valves:Valves", max_episode_steps=30)
