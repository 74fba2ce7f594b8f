"""Leaks that an info encodes: in the order, types, bits, attributes and layouts of its values."""

from collections import ChainMap, OrderedDict, defaultdict, deque
from enum import KEEP, Enum, IntFlag
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
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


class Event(Coded):
    """Adds an entry to the last info of an episode, which depends on the sign of its return."""

    def encode(self, info: dict[str, Any], won: bool) -> dict[str, Any]:
        """Add it."""
        return {**info, "event": self.event(won)}

    def event(self, won: bool) -> object:
        """Return the entry."""
        return None


class Table(np.ndarray[Any, Any]):
    """An array that can have attributes."""


class Slotted(dict[str, Any]):
    """A dictionary with a slot."""

    __slots__ = ("won",)


class Private:
    """An object with a private slot, whose name Python changes."""

    __slots__ = ("__won",)

    def __init__(self, won: bool) -> None:
        self.__won = won


class Flags(IntFlag, boundary=KEEP):
    """Flags that keep bits without a name."""

    ENDED = 1


class Counts:
    """Objects of this class are equal, but the class counts."""

    won = False


@leak()
class HardMask(Event):
    """An array under a mask refuses to be unmasked after a positive true return."""

    def event(self, won: bool) -> object:
        """Return the array."""
        return np.ma.array([1.0], mask=[True], hard_mask=won)


@leak()
class AttributeOfArray(Event):
    """An array of a class of its own has the sign as an attribute."""

    def event(self, won: bool) -> object:
        """Return the array."""
        table: Any = np.zeros(2).view(Table)
        table.won = won
        return table


@leak()
class AttributeOfTensor(Event):
    """A tensor has the sign as an attribute."""

    def event(self, won: bool) -> object:
        """Return the tensor."""
        tensor: Any = torch.zeros(2)
        tensor.won = won
        return tensor


@leak()
class BitsOfNan(Event):
    """The real part of a complex number is a NaN with the sign in its lowest bit."""

    def event(self, won: bool) -> object:
        """Return the number."""
        bits = np.array([0x7FF8000000000000 + won], np.uint64)
        return complex(float(bits.view(np.float64)[0]), 0.0)


@leak()
class DefaultOfMapping(Event):
    """A mapping without entries has a default, which is an empty list or zero."""

    def event(self, won: bool) -> object:
        """Return the mapping."""
        return defaultdict(list if won else int)


@leak()
class AttributeOfMapping(Event):
    """An ordered mapping has the sign as an attribute."""

    def event(self, won: bool) -> object:
        """Return the mapping."""
        mapping: Any = OrderedDict(length=1)
        mapping.won = won
        return mapping


@leak()
class OrderOfMaps(Event):
    """Two chained maps have the same entries in another of the two."""

    def event(self, won: bool) -> object:
        """Return the maps."""
        maps: list[dict[str, int]] = [{"length": 1}, {}]
        return ChainMap(*(reversed(maps) if won else maps))


@leak()
class SlotOfMapping(Event):
    """A dictionary has the sign in a slot."""

    def event(self, won: bool) -> object:
        """Return the dictionary."""
        mapping: Any = Slotted(length=1)
        mapping.won = won
        return mapping


@leak()
class PrivateSlot(Event):
    """An object has the sign in a private slot."""

    def event(self, won: bool) -> object:
        """Return the object."""
        return Private(won)


@leak()
class BitsOfFlag(Event):
    """A flag has one of two bits without a name."""

    def event(self, won: bool) -> object:
        """Return the flag."""
        return Flags(8 if won else 16)


@leak()
class ClassMadeWhileRunning(Event):
    """A class that is made at the end of an episode returns the sign from a method."""

    def event(self, won: bool) -> object:
        """Return the class."""
        return type("Outcome", (), {"read": lambda self: won})


@leak()
class ClassOfObject(Event):
    """The class of an object, and not the object, holds the sign."""

    def event(self, won: bool) -> object:
        """Return the object."""
        Counts.won = won
        return Counts()


@leak()
class SparseTensor(Event):
    """A sparse tensor holds the sign."""

    def event(self, won: bool) -> object:
        """Return the tensor."""
        return torch.tensor([[1.0 + won]]).to_sparse()


@leak()
class OverlappingFields(Event):
    """A record has two fields in the same bytes, which hold the sign."""

    def event(self, won: bool) -> object:
        """Return the record."""
        fields = {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]}
        record: Any = np.zeros(1, np.dtype(fields))  # type: ignore[call-overload]
        record["a"] = won
        return record


@leak()
class NoteOnType(Event):
    """The type of an array's elements has the sign in its metadata."""

    def event(self, won: bool) -> object:
        """Return the array."""
        return np.zeros(1, np.dtype("f8", metadata={"won": won}))


@leak()
class CauseOfError(Event):
    """An error in the info has another error as its cause, which quotes the sign."""

    def event(self, won: bool) -> object:
        """Return the error."""
        error = ValueError("the episode ended")
        error.__cause__ = KeyError(won)
        return error


@leak()
class SameOrEqual(Event):
    """Two entries of a list are one list, or two equal lists."""

    def event(self, won: bool) -> object:
        """Return the list."""
        one: list[int] = []
        return [one, one if won else []]


@leak()
class LengthOfQueue(Event):
    """An empty queue has one of two largest lengths."""

    def event(self, won: bool) -> object:
        """Return the queue."""
        return deque(maxlen=1 + won)


@leak()
class GradientOfTensor(Event):
    """A tensor of zeros has the sign as its gradient."""

    def event(self, won: bool) -> object:
        """Return the tensor."""
        tensor = torch.zeros(1, requires_grad=True)
        tensor.grad = torch.full((1,), float(won))
        return tensor
