"""Leaks in what an info does not say: by the order, the types and the insides of its values."""

from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from oversight.certificate.leaks.planted import leak
from oversight.certificate.leaks.rewards_and_infos import PeekingAdapter


class Outcome(Enum):
    """How an episode ended."""

    LOST, WON = 0, 1


class Coded(PeekingAdapter):
    """Adds the sign of an episode's true return to its last info, in some code."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and encode the sign."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane] = self.encode(infos[lane], bool(self.truth.returns[lane] > 0))
        return observations, rewards, dones, infos

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Return the info with the sign in it."""
        return info


@leak()
class OrderOfKeys(Coded):
    """The keys of the info come in the reverse order after a positive true return."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Reverse them, or not."""
        return {key: info[key] for key in reversed(info)} if won else info


@leak()
class TypeOfKey(Coded):
    """A key of the info is True or 1, which are equal."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        level: dict[Any, Any] = {True if won else 1: "level"}
        return info | level


@leak()
class TypeOfNumber(Coded):
    """The length of an episode is a float or an int, which are equal."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Convert it, or not."""
        length = info["episode"]["l"]
        return {**info, "length": float(length) if won else length}


@leak()
class ListOrTuple(Coded):
    """The position on the grid is a list or a tuple."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "position": [1, 2] if won else (1, 2)}


@leak()
class MaskOfArray(Coded):
    """An array is masked where the true return is positive."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "speed": np.ma.array([1.0], mask=[won])}


@leak()
class UnderTheMask(Coded):
    """An array holds the sign of the true return under its mask."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "speed": np.ma.array([float(won)], mask=[True])}


@leak()
class EnumOfOutcome(Coded):
    """A member of an enumeration says how the episode ended."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "outcome": Outcome(won)}


@leak()
class SetOfOutcomes(Coded):
    """A set has an element for a positive true return."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "events": {"end", "won"} if won else {"end"}}


@leak()
class AttributeOfObject(Coded):
    """An object in the info has an attribute with the sign of the true return."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it, inside another object that refers back to it."""
        state = SimpleNamespace(inner=SimpleNamespace(won=won))
        state.inner.outer = state
        return {**info, "state": state}


@leak()
class EnclosedByFunction(Coded):
    """A function in the info, which draws the level, has enclosed the sign of the true return."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "draw": lambda: won}


@leak(shows="learner")
class ResetInfos(Coded):
    """The infos of the last reset, which SB3 stores aside, are written to at every end."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add the sign to them."""
        self.reset_infos[0]["won"] = won
        return info
