"""The environments that the wrappers are tested on, and inner wrappers that plant or tamper."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401 (registers its ids)
import numpy as np
from gymnasium import spaces
from minigrid.wrappers import ImgObsWrapper

from envs import GridEnv

GAMES: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "CartPole": lambda: gym.make("CartPole-v1", max_episode_steps=30),
    "Pendulum": lambda: gym.make("Pendulum-v1", max_episode_steps=25),
    "FrozenLake": lambda: gym.make("FrozenLake-v1", max_episode_steps=20),
    "MiniGrid": lambda: gym.wrappers.FlattenObservation(
        ImgObsWrapper(  # type: ignore[no-untyped-call]
            gym.make("MiniGrid-Empty-5x5-v0", max_episode_steps=20)
        )
    ),
    "PartialGrid": GridEnv,
}


BYTES = spaces.Box(0, 255, (6, 5, 3), np.uint8)
SHOWN: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(4, start=3),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2], start=[-1, 4]),
    "MultiBinary": spaces.MultiBinary(3),
    "integers": spaces.Box(-5, 5, (2,), np.int16),
    "image": BYTES,
    "Dict": spaces.Dict({"image": BYTES, "number": spaces.Discrete(3, start=1)}),
    "Tuple": spaces.Tuple([BYTES, spaces.Box(-1, 1, (2,), np.float64)]),
}
"""Observation spaces of other kinds than those of the games."""


class Drawn(gym.Env[Any, Any]):
    """Draws observations from a space, ends after 3 to 9 steps, and pays the action."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space = deepcopy(space)

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Start an episode; it takes no options."""
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(3, 10))
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Pay the action."""
        self.left -= 1
        return self._see(), float(action), self.left == 0, False, {}

    def _see(self) -> Any:  # noqa: ANN401
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()


class Tampered(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces every reward and fills info with the truth."""

    def __init__(self, env: gym.Env[Any, Any], reward: Callable[[float], float]) -> None:
        super().__init__(env)
        self.replace = reward

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset and plant a key."""
        observation, info = self.env.reset(**arguments)
        return observation, info | {"score": self.replace(0.0)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Replace the reward and plant it in info, under new names and ours."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        replaced = self.replace(float(reward))
        planted = {"score": replaced, "episode": {"r": replaced}, "observed_reward": replaced}
        return observation, replaced, terminated, truncated, info | planted


class WithEntry(gym.Wrapper[Any, Any, Any, Any]):
    """Says in info its first number, and nothing about the reward."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and say it."""
        observation, info = self.env.reset(**arguments)
        return observation, info | {"height": float(observation[0])}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and say it."""
        observation, *rest, info = self.env.step(action)
        return observation, *rest, info | {"height": float(observation[0])}


def play(env: gym.Env[Any, Any], steps: int = 150, seed: int = 0) -> list[Any]:
    """Return all that an agent is given in a fixed random walk over several episodes."""
    env.action_space.seed(seed)
    given: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        given.append(env.step(env.action_space.sample()))
        if given[-1][2] or given[-1][3]:
            given.append(env.reset())
    return given


def frozen(value: object) -> object:
    """Return what was given as something that compares bit for bit."""
    if isinstance(value, np.ndarray) and value.dtype == np.object_:  # as Gymnasium's final_obs
        return [frozen(part) for part in value.tolist()]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: frozen(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(part) for part in value]
    if isinstance(value, float):
        return float(value).hex()
    return value
