"""Planted parts, the healthy setups that they are planted in, and how they reach true rewards.

A planted part is a leak, which the certificate must find, or harmless, so that it must pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorWrapper

from envs import GridVectorEnv, StepCoin
from envs.registration import truthful
from envs.wrappers import vector
from oversight.certificate.setup import (
    DEFAULT_OVERSIGHT,
    Setup,
    make_partial_grid_setup,
    make_setup,
    vector_env,
)
from oversight.certificate.tampering import Mask, Numbers

Step = tuple[Any, Any, Any, Any, dict[str, Any]]
Part = Literal[
    "wrapper", "autoreset", "info", "normalizer", "buffer", "learner", "callback", "checkpoint"
]


def grid(**oversight: Any) -> Setup:  # noqa: ANN401
    """Return the grid game inside one `PartialOversight` for all lanes, with a `Truth` between.

    Args:
        **oversight: arguments of `PartialOversight`; by default 30% of the episodes are observed.
    """
    chosen = oversight or DEFAULT_OVERSIGHT
    return Setup(
        make_env=vector_env(GridVectorEnv, chosen),
        inside=Truth,
        hide=partial(vector.PartialOversight, **chosen),
    )


STEPWISE = MappingProxyType({"observer": StepCoin(0.3)})


def grid_by_step() -> Setup:
    """Return the grid with 30% of its steps observed."""
    return grid(**STEPWISE)


def grid_with_flag() -> Setup:
    """Return the grid with a plane that shows whether the next step is observed."""
    return grid(**DEFAULT_OVERSIGHT, flag="visible")


def native_grid() -> Setup:
    """Return `PartialGrid-v0` as the training command uses it."""
    return make_partial_grid_setup("routed", oversight_probability=0.3)


def grid_lanes() -> Setup:
    """Return the grid with a `PartialOversight` and a `LaneTruth` in each lane."""
    return replace(make_setup(truthful("PartialGrid-v0"), wrapper="single"), inside=LaneTruth)


def cart_lanes() -> Setup:
    """Return CartPole with a `PartialOversight` and a `LaneTruth` in each lane."""
    return replace(make_setup(truthful("CartPole-v1"), wrapper="single"), inside=LaneTruth)


def cart_next_step() -> Setup:
    """Return CartPole with lanes that reset in the step after the one that ends an episode."""
    return _cart(AutoresetMode.NEXT_STEP)


def cart_disabled() -> Setup:
    """Return CartPole with lanes that are reset from outside."""
    return _cart(AutoresetMode.DISABLED)


def _cart(mode: AutoresetMode) -> Setup:
    return replace(make_setup(truthful("CartPole-v1"), mode=mode), inside=Truth)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A healthy setup, and the exchange of one of its parts.

    Attributes:
        name: identifies the planted part.
        part: the kind of part that is exchanged.
        description: a sentence about the part; of a leak, how the true reward gets out.
        plant: returns a healthy setup with the part in it.
        start: returns the healthy setup, which is certified as it is.
        shows: the channel that differs first in time; None for a harmless part.
    """

    name: str
    part: Part
    description: str
    plant: Callable[[Setup], Setup]
    start: Callable[[], Setup] = grid
    shows: str | None = None


def leak(
    name: str,
    fault: object,
    *,
    part: Part,
    shows: str = "experience",
    start: Callable[[], Setup] = grid,
    **parts: Any,  # noqa: ANN401
) -> Planted:
    """Return a leak.

    Args:
        name: identifies it.
        fault: a sentence, or the class or function at fault, with this sentence as its docstring.
        part: the kind of part that is exchanged.
        shows: the channel that differs first in time.
        start: returns the healthy setup.
        **parts: the fields of `Setup` that change.
    """
    harmless_part = harmless(name, fault, part=part, start=start, **parts)
    return replace(harmless_part, shows=shows)


def harmless(
    name: str,
    described: object,
    *,
    part: Part,
    start: Callable[[], Setup] = grid,
    **parts: Any,  # noqa: ANN401
) -> Planted:
    """Return a harmless part; arguments as for `leak`."""
    sentence = described if isinstance(described, str) else described.__doc__ or ""
    description = " ".join(sentence.split())
    plant = with_parts(**parts)
    return Planted(name=name, part=part, description=description, plant=plant, start=start)


def with_parts(**parts: Any) -> Callable[[Setup], Setup]:  # noqa: ANN401
    """Return a function that replaces these fields of a setup."""
    return lambda setup: replace(setup, **parts)


def with_oversight(**arguments: Any) -> Callable[[Setup], Setup]:  # noqa: ANN401
    """Return a function that gives the `PartialOversight` of a setup further arguments."""

    def plant(setup: Setup) -> Setup:
        hide: Any = setup.hide
        return replace(setup, hide=partial(hide, **arguments))

    return plant


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
        added = {"true_reward": self.rewards, "_true_reward": ended}
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


class LaneTruth(gym.Wrapper[Any, Any, Any, Any]):
    """Stores the true return of the current or just ended episode of one lane."""

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


class Peeking(VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper outside the oversight that reads the `Truth` inside it."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.truth = truth_of(env)


class Payer(Peeking, ABC):
    """A wrapper outside the oversight that pays other rewards, and may read the true ones."""

    @abstractmethod
    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Return the rewards to pay, [n].

        Args:
            paid: the rewards that the oversight pays.
            true: the true rewards.
            observed: which of them are observed.
        """

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and replace the rewards."""
        observations, paid, terminated, truncated, infos = self.env.step(actions)
        # the flag of an episode's last step is in final_info
        observed = infos["observed"] | infos.get("final_info", infos)["observed"]
        paid = self._pay(paid, self.truth.rewards, observed)
        return observations, paid, terminated, truncated, infos
