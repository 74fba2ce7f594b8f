"""The healthy setups that faults are planted in: each of them certifies as it is."""

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv

from envs import partial_grid_vec
from envs.observers import StepCoin
from envs.registration import truthful
from envs.wrappers import vector
from oversight.certificate.leaks.truth import LaneTruth, Truth
from oversight.certificate.setup import THIRD, Setup, around, grid_world, vector_world

STEPWISE = MappingProxyType({"observer": StepCoin(0.3)})


def grid(**oversight: Any) -> Setup:  # noqa: ANN401
    """Return the grid in truth, one `PartialOversight` around all lanes, and a `Truth` inside.

    Args:
        **oversight: of `PartialOversight`; three episodes of ten are observed by default.
    """
    chosen = oversight or THIRD
    return Setup(
        world=vector_world(_true_grid, chosen),
        inside=Truth,
        hide=partial(vector.PartialOversight, **chosen),
    )


def grid_by_step() -> Setup:
    """Return the grid of which three steps of ten are observed, wherever they lie."""
    return grid(**STEPWISE)


def grid_with_flag() -> Setup:
    """Return the grid whose observation has a plane that says if the next step is observed."""
    return grid(**THIRD, flag="visible")


def native_grid() -> Setup:
    """Return `PartialGrid-v0` as it is trained on."""
    return Setup(world=grid_world({"oversight_probability": 0.3}))


def grid_lanes() -> Setup:
    """Return the grid with a `PartialOversight` and a `LaneTruth` in each lane."""
    return _lanes("PartialGrid-v0")


def cart_lanes() -> Setup:
    """Return CartPole with a `PartialOversight` and a `LaneTruth` in each lane."""
    return _lanes("CartPole-v1")


def cart_next_step() -> Setup:
    """Return CartPole whose lanes reset in the step after the one that ends them."""
    return _cart(AutoresetMode.NEXT_STEP)


def cart_disabled() -> Setup:
    """Return CartPole whose lanes are reset from outside."""
    return _cart(AutoresetMode.DISABLED)


def _cart(mode: AutoresetMode) -> Setup:
    return replace(around(truthful("CartPole-v1"), mode=mode), inside=Truth)


def _lanes(name: str) -> Setup:
    return replace(around(truthful(name), wrapper="single"), inside=LaneTruth)


def _true_grid(num_envs: int) -> VectorEnv[Any, Any, Any]:
    return partial_grid_vec(num_envs, reward="true")
