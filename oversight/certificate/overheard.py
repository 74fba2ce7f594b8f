"""What the agents ask the overseer, told to the tamper inside: there the question is split off."""

from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorWrapper


class Overheard(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the last action as the agent took it, question included.

    Args:
        env: the environment in which agents ask.
        taken: a list, of which the only element is that action.
    """

    def __init__(self, env: gym.Env[Any, Any], taken: list[Any]) -> None:
        super().__init__(env)
        self.taken = taken

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Keep the action, and step."""
        self.taken[:] = [action]
        return self.env.step(action)


class OverheardVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """`Overheard` for vector environments; arguments as there."""

    def __init__(self, env: Any, taken: list[Any]) -> None:  # noqa: ANN401
        super().__init__(env)
        self.taken = taken

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Keep the actions, and step."""
        self.taken[:] = [actions]
        return self.env.step(actions)


def overhear(hidden: Any, inside: Any, taken: list[Any]) -> Any:  # noqa: ANN401 (single or vector)
    """Return an environment whose actions are kept, if they hold more than those inside it."""
    if isinstance(hidden, gym.Env):
        asks = hidden.action_space != inside.action_space
        return Overheard(hidden, taken) if asks else hidden
    asks = hidden.single_action_space != inside.single_action_space
    return OverheardVector(hidden, taken) if asks else hidden
