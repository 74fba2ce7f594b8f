"""The spaces of a vector wrapper: with the flag in what is seen, a question in what is done."""

from typing import Any

from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space

from envs.wrappers.flag import flagged_space
from envs.wrappers.question import asking_space
from envs.wrappers.settings import Settings


def widen(wrapper: VectorWrapper[Any, Any, Any, Any, Any], settings: Settings) -> None:
    """Add to a wrapper's spaces what the settings say.

    Raises:
        ValueError: If a space has no place for it.
    """
    env = wrapper.env
    if settings.shows:
        wrapper.single_observation_space = flagged_space(env.single_observation_space)
        wrapper.observation_space = batch_space(wrapper.single_observation_space, env.num_envs)
    if settings.doubles:
        wrapper.single_action_space = asking_space(env.single_action_space)
        wrapper.action_space = batch_space(wrapper.single_action_space, env.num_envs)
