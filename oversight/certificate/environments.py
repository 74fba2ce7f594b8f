"""From any environment to the setup that certifies it."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from agents import Method, method
from envs import PartialOversight
from envs.wrappers import vector
from oversight.certificate.setup import Setup, unwrapped
from oversight.certificate.worlds import lane_world, lanes_of, vector_world

Wrapper = Literal["vector", "single"]
THIRD = MappingProxyType({"observed_probability": 0.3})


def around(
    make: Callable[[], gym.Env[Any, Any]],
    chosen: Method | str = "routed",
    oversight: Mapping[str, Any] = THIRD,
    wrapper: Wrapper = "vector",
    mode: AutoresetMode = AutoresetMode.SAME_STEP,
) -> Setup:
    """Return the setup that certifies `PartialOversight` around an environment, and a learner.

    Args:
        make: returns a new environment that pays the true reward.
        chosen: a method, or the name of one.
        oversight: arguments of `PartialOversight`; three episodes of ten are observed by default.
        wrapper: whether one wrapper lies around all lanes, or one in each.
        mode: when a lane that ended is reset.

    Raises:
        ValueError: if there is no such method.
    """
    learns = method(chosen) if isinstance(chosen, str) else chosen
    kind = vector.PartialOversight if wrapper == "vector" else PartialOversight
    shown = {"reward": learns.reward, **oversight}
    hide = unwrapped if learns.reward == "true" else partial(kind, **shown)
    if wrapper == "vector":
        world = vector_world(lanes_of(make, mode), oversight)
    else:
        world = lane_world(make, oversight, mode)
    return Setup(world=world, method=learns, hide=hide)
