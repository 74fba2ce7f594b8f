"""Planted parts, the healthy setups that they are planted in, and how they reach true rewards.

A planted part is a leak, which the certificate must find, or harmless, so that it must pass. It is
a function from a healthy `Setup` to one with the part, or a class with such a method `plant`, which
the bases below have. Its name is that of the function or class, and its docstring describes it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorWrapper

from envs import Budget, EpisodeCoin, GridVectorEnv, Noisy, Region, StepCoin
from envs.wrappers import vector
from oversight.certificate.setup import (
    DEFAULT_OVERSIGHT,
    Setup,
    VectorEnvFactory,
    make_partial_grid_setup,
    make_setup,
)
from oversight.certificate.tampering import Mask, Numbers

Step = tuple[Any, Any, Any, Any, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A healthy setup, and the exchange of one of its parts.

    Attributes:
        name: identifies the planted part.
        description: a sentence about the part; of a leak, how the true reward gets out.
        plant: returns a healthy setup with the part in it.
        start: the healthy setup, which is certified as it is.
        shows: the channel that differs first in time; None for a harmless part.
    """

    name: str
    description: str
    plant: Callable[[Setup], Setup]
    start: Setup
    shows: str | None


LEAKS: dict[str, Planted] = {}
"""By name."""
HARMLESS: dict[str, Planted] = {}
"""By name."""

Part = TypeVar("Part", bound=Callable[..., Any])


def leak(*, shows: str = "experience", start: str = "grid") -> Callable[[Part], Part]:
    """Return a decorator that registers a leak.

    Args:
        shows: the channel that differs first in time.
        start: the name of the healthy setup, one of `STARTS`.
    """
    return partial(_register, LEAKS, shows=shows, start=start)


def harmless(*, start: str = "grid") -> Callable[[Part], Part]:
    """Return a decorator that registers a harmless part; its argument is that of `leak`."""
    return partial(_register, HARMLESS, shows=None, start=start)


def _register(registry: dict[str, Planted], part: Any, shows: str | None, start: str) -> Any:  # noqa: ANN401
    """Add a class or function, with the name and the docstring that it has."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", "-", part.__name__).lower()
    registry[name] = Planted(
        name=name,
        description=" ".join(part.__doc__.split()),
        plant=getattr(part, "plant", part),
        start=STARTS[start],
        shows=shows,
    )
    return part


class Exchanged:
    """A class that is planted as one field of a setup.

    Attributes:
        field: the name of the field.
    """

    field: ClassVar[str]

    @classmethod
    def plant(cls, setup: Setup) -> Setup:
        """Return the setup with this class in its field."""
        exchanged: dict[str, Any] = {cls.field: cls}
        return replace(setup, **exchanged)


def with_oversight(setup: Setup, **arguments: Any) -> Setup:  # noqa: ANN401
    """Return the setup with further arguments for its `PartialOversight`."""
    hide: Any = setup.hide
    return replace(setup, hide=partial(hide, **arguments))


class Truth(VectorWrapper[Any, Any, Any, Any, Any]):
    """Stores true rewards and adds them to the info, as wrappers for debugging do.

    It lies inside the oversight, which drops the info, so that it is harmless by itself.

    Attributes:
        steps: the rewards of each step, [n].
        running: the return of each lane's current episode, [n].
        returns: the return of each lane's last complete episode, [n].
        infos: the infos of the last step, with the true rewards.
    """

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.steps: list[Numbers] = []
        self.running, self.returns = np.zeros((2, env.num_envs))
        self.infos: dict[str, Any] = {}

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, store the rewards, and add those of ended episodes to the info."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated
        self.steps.append(np.array(rewards, dtype=np.float64))
        self.running += rewards
        self.returns[ended] = self.running[ended]
        self.running[ended] = 0.0
        added = {"score": self.rewards, "_score": ended}
        infos.get("final_info", infos).update(added)
        self.infos = infos
        return observations, rewards, terminated, truncated, infos

    @property
    def rewards(self) -> Numbers:
        """The rewards of the last step, [n]."""
        return self.steps[-1].copy()

    def last(self, steps: int) -> Numbers:
        """Return the rewards of the last steps, [steps, n]."""
        return np.stack(self.steps[-steps:])


class LaneTruth(Exchanged, gym.Wrapper[Any, Any, Any, Any]):
    """Stores the true return of the current or just ended episode of one lane."""

    field = "inside"
    true_return = 0.0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and start from zero."""
        self.true_return = 0.0
        return self.env.reset(**arguments)

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and add the reward."""
        result = self.env.step(action)
        self.true_return += float(result[1])
        return result


def truth_of(env: Any) -> Truth:  # noqa: ANN401
    """Return the `Truth` inside an environment, found attribute by attribute."""
    while not isinstance(env, Truth):
        env = getattr(env, "venv", None) or env.env
    return env


class Peeking(Exchanged, VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper outside the oversight that reads the `Truth` inside it, and changes what is given.

    A subclass implements one of the three methods that return what they are given here.
    """

    field = "outside"

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.truth = truth_of(env)

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and change what the oversight returns."""
        observations, paid, terminated, truncated, infos = self.env.step(actions)
        # the flag of an episode's last step is in final_info
        observed = infos["observed"] | infos.get("final_info", infos)["observed"]
        paid = self._pay(paid, self.truth.rewards, observed)
        return self._show(observations), paid, terminated, truncated, self._inform(infos)

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Return the rewards to pay, [n].

        Args:
            paid: the rewards that the oversight pays.
            true: the true rewards.
            observed: which of them are observed.
        """
        return paid

    def _show(self, observations: Any) -> Any:  # noqa: ANN401
        """Return the observations to show."""
        return observations

    def _inform(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Return the infos to give."""
        return infos


def in_left_half(observations: Any) -> Mask:  # noqa: ANN401
    """Return whether the agent is in one of the two columns on the left."""
    left: Mask = observations[:, 0, :, :2].any(axis=(1, 2))
    return left


def _grid(**oversight: Any) -> Setup:  # noqa: ANN401
    """Return the grid game inside one `PartialOversight` for all lanes, with a `Truth` between."""
    make_env, hide = VectorEnvFactory(GridVectorEnv, oversight), vector.PartialOversight
    return Setup(make_env=make_env, inside=Truth, hide=partial(hide, **oversight))


def _cart(mode: AutoresetMode) -> Setup:
    return replace(make_setup(CART, mode=mode), inside=Truth)


CART = partial(gym.make, "CartPole-v1", disable_env_checker=True)
GRID = partial(gym.make, "PartialGrid-v0", disable_env_checker=True, reward="true")


STARTS: dict[str, Setup] = {
    "grid": _grid(**DEFAULT_OVERSIGHT),
    "grid by step": _grid(observer=StepCoin(0.3)),
    "grid by region": _grid(observer=Region(in_left_half, at="arrival")),
    "grid within budget": _grid(observer=Budget(2, every=4)),
    "grid with errors": _grid(observer=Noisy(EpisodeCoin(0.5), flip=0.25, miss=0.25)),
    "grid with flag": _grid(**DEFAULT_OVERSIGHT, flag="visible"),
    "grid lanes": replace(make_setup(GRID, wrapper="single"), inside=LaneTruth),
    "native grid": make_partial_grid_setup("routed", oversight_probability=0.3),
    "cart, next step": _cart(AutoresetMode.NEXT_STEP),
    "cart lanes": replace(make_setup(CART, wrapper="single"), inside=LaneTruth),
    "cart, disabled": _cart(AutoresetMode.DISABLED),
}
"""Healthy setups, by name: one wrapper for all environments, or one for each of them (lanes)."""
