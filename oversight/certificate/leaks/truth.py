"""Truth: wrappers that remember what was paid, as those for debugging do, and who reaches them."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Truth(VectorWrapper[Any, Any, Any, Any, Any]):
    """Remembers true rewards, and tells them in info; oversight around it lets nothing through.

    Attributes:
        steps: what each step paid, [n].
        running: the return of each lane's episode so far, [n].
        returns: the return of each lane's last ended episode, [n].
        infos: of the last step, as they were before they were scrubbed.
    """

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.steps: list[Numbers] = []
        self.running, self.returns = np.zeros((2, env.num_envs))
        self.infos: dict[str, Any] = {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, remember, and tell those lanes that ended what they were paid."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated
        self.steps.append(np.array(rewards, dtype=np.float64))
        self.running += rewards
        self.returns[ended] = self.running[ended]
        self.running[ended] = 0.0
        told = {"true_reward": self.rewards, "_true_reward": ended}
        infos.get("final_info", infos).update(told)
        self.infos = infos
        return observations, rewards, terminated, truncated, infos

    @property
    def rewards(self) -> Numbers:
        """What the last step paid, [n]."""
        return self.steps[-1].copy()

    def last(self, steps: int) -> Numbers:
        """Return what the last steps paid, [steps, n]."""
        return np.stack(self.steps[-steps:])


class LaneTruth(gym.Wrapper[Any, Any, Any, Any]):
    """Remembers the true return of the episode, in one lane; it still stands after the end."""

    true_return = 0.0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and start from zero."""
        self.true_return = 0.0
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and add."""
        taken = self.env.step(action)
        self.true_return += float(taken[1])
        return taken


def truth_of(env: Any) -> Truth:  # noqa: ANN401
    """Return the `Truth` somewhere inside an environment: one attribute after the other."""
    while not isinstance(env, Truth):
        env = getattr(env, "venv", None) or env.env
    return env


class Peeking(VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper outside the oversight that has found the `Truth` inside it."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.truth = truth_of(env)


def watched(infos: dict[str, Any]) -> Mask:
    """Return which lanes' steps were observed, [n]; that of an ended lane is in `final_info`."""
    observed: Mask = infos["observed"] | infos.get("final_info", infos)["observed"]
    return observed
