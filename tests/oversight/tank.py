"""An environment outside of the library: a tank whose level should stay in the middle."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Level = NDArray[np.float32]


class Tank(gym.Env[Level, np.int64]):
    """A tank with random inflow and three valves, rewarded by the nearness of its level to 1/2.

    Args:
        rain: mean inflow of a step.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's type)

    def __init__(self, rain: float = 0.05) -> None:
        self.rain = rain
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Level, dict[str, Any]]:
        """Draw the first level."""
        super().reset(seed=seed)
        self.level = float(self.np_random.uniform(0.2, 0.8))
        return self._observation(), {"overflow": 0.0}

    def step(self, action: np.int64) -> tuple[Level, float, bool, bool, dict[str, Any]]:
        """Add the inflow and open a valve; info has the overflow and the true reward."""
        inflow = float(self.np_random.exponential(self.rain))
        raised = self.level + inflow - 0.05 * int(action)
        self.level = float(np.clip(raised, 0.0, 1.0))
        reward = 1.0 - 4.0 * abs(self.level - 0.5)
        info = {"overflow": max(0.0, raised - 1.0), "true_reward": reward}
        return self._observation(), reward, self.level == 0.0, False, info

    def _observation(self) -> Level:
        return np.array([self.level, 1.0 - self.level], dtype=np.float32)


gym.register("Tank-v0", "tests.oversight.tank:Tank", max_episode_steps=40)


class ClosedTank(Tank):
    """A tank whose reset needs an option."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Level, dict[str, Any]]:
        """Draw the first level, between those that the options give."""
        assert options is not None, "options must give 'levels'"
        return super().reset(seed=seed)


gym.register("Closed-v0", "tests.oversight.tank:ClosedTank")


class DictTank(gym.ObservationWrapper[dict[str, Any], np.int64, Level]):
    """A tank that shows its level, a coarse number of it, and a small picture."""

    def __init__(self) -> None:
        super().__init__(Tank())
        self.observation_space = spaces.Dict(
            level=spaces.Box(0.0, 1.0, (2,), np.float32),
            tenth=spaces.Discrete(11),
            picture=spaces.Box(0, 255, (36, 36, 1), np.uint8),
        )

    def observation(self, observation: Level) -> dict[str, Any]:
        """Return the parts of an observation."""
        tenth = int(10 * observation[0])
        return {"level": observation, "tenth": tenth, "picture": picture_of(observation)}


class ImageTank(gym.ObservationWrapper[NDArray[np.uint8], np.int64, Level]):
    """A tank that shows a picture of its level."""

    def __init__(self) -> None:
        super().__init__(Tank())
        self.observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)

    def observation(self, observation: Level) -> NDArray[np.uint8]:
        """Return the picture."""
        return picture_of(observation)


def picture_of(level: Level) -> NDArray[np.uint8]:
    """Return a picture whose lower rows are bright up to the level, [36, 36, 1]."""
    picture = np.zeros((36, 36, 1), np.uint8)
    picture[36 - int(36 * level[0]) :] = 255
    return picture


class ListTank(gym.ObservationWrapper[Any, np.int64, Level]):
    """A tank that also lists its levels, in observations of no fixed size."""

    def __init__(self) -> None:
        super().__init__(Tank())
        level = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Tuple([spaces.Sequence(level), level])

    def observation(self, observation: Level) -> tuple[Any, Level]:
        """Return the level in a list and by itself."""
        return (observation,), observation


gym.register("ListTank-v0", "tests.oversight.tank:ListTank")
gym.register("DictTank-v0", "tests.oversight.tank:DictTank", max_episode_steps=20)
gym.register("ImageTank-v0", "tests.oversight.tank:ImageTank", max_episode_steps=20)
