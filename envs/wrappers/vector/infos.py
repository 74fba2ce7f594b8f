"""What the agents of a vector environment are told of oversight, in Gymnasium's masked arrays."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.observers.observer import Flips, Mask
from envs.wrappers.settings import check_finite

INTEGERS: dict[int, type[np.signedinteger[Any]]] = {2: np.int16, 4: np.int32, 8: np.int64}

Lanes = NDArray[np.intp]
Ends = tuple[Mask, Lanes, Any]
"""The lanes whose episodes ended and were reset, as a mask and as indices, and `final_obs`."""


class Seen(NamedTuple):
    """Which steps were observed, and the rewards that were seen, 0.0 where none was."""

    observed: Mask  # [n]
    rewards: NDArray[np.float64]  # [n]
    paid: NDArray[Any]  # [n], the same of the environment's dtype, for the agents to keep

    @classmethod
    def of(
        cls, true: NDArray[Any], watched: Mask, resetting: Mask, flips: Flips | None = None
    ) -> "Seen":
        """Keep the rewards of watched steps as they are reported, and read no other.

        Args:
            true: The environment's rewards, [n].
            watched: The lanes that somebody watches, [n].
            resetting: The lanes that this step only resets, [n].
            flips: Which reports err.

        Raises:
            ValueError: If one of them is not finite.
        """
        observed = watched & ~resetting
        paid = check_finite(only(observed, true), "the environment")
        if flips is not None:
            paid = reported(paid, flips)
        return cls(observed, paid.astype(np.float64), paid)

    def take_out(self, over: Lanes) -> tuple[Mask, NDArray[np.float64]]:
        """Move what was seen in the lanes that are over to arrays of their own."""
        observed, rewards = np.zeros(self.observed.size, np.bool_), np.zeros(self.observed.size)
        lanes = over[self.observed[over]]
        observed[lanes] = True
        rewards[lanes] = self.rewards[lanes]
        self.observed[lanes] = False
        self.rewards[lanes] = 0.0
        return observed, rewards


def only(lanes: Mask, values: NDArray[Any]) -> NDArray[Any]:
    """Return the floats of some lanes, and 0.0 in the others, whatever stands there.

    It is `np.where` on bits, so that no lane costs a branch.

    >>> only(np.array([True, False, False]), np.array([2.0, -1.0, np.nan]))
    array([2., 0., 0.])
    """
    integer = INTEGERS.get(values.itemsize)
    if integer is None:
        return np.where(lanes, values, values.dtype.type(0))
    bits = -lanes.view(np.int8)  # -1 has all bits set, at every width
    shown: NDArray[Any] = (values.view(integer) & bits).view(values.dtype)
    return shown


def reported(rewards: NDArray[Any], flips: Flips) -> NDArray[Any]:
    """Return what the overseer says of observed rewards, some with the opposite sign, [n]."""
    wrong = np.where(rewards > 0, flips.rewards, flips.punishments & (rewards < 0))
    return np.where(wrong, -rewards, rewards)


def check_rewards(rewards: object, num_envs: int) -> NDArray[Any]:
    """Return the rewards of a vector environment as an array of floats.

    Raises:
        ValueError: If they are not one number a lane.
    """
    array = np.asarray(rewards)
    kind = array.dtype.kind
    if array.shape != (num_envs,) or kind not in "fiub":
        raise ValueError(
            f"PartialOversight needs one scalar reward a lane, numbers of shape ({num_envs},), "
            f"the environment gave {array.dtype} of shape {array.shape}: combine several rewards "
            f"into one in a wrapper inside PartialOversight"
        )
    return array if kind == "f" else array.astype(np.float64)


def told(observed: Mask, rewards: NDArray[np.float64], mask: Mask) -> dict[str, Any]:
    """Return infos that hold what was seen, in the lanes of a mask, and nothing else."""
    return {
        "observed": observed,
        "_observed": mask.copy(),
        "observed_reward": rewards,
        "_observed_reward": mask.copy(),
    }


def told_of_step(seen: Seen, every: Mask, ends: Ends | None) -> dict[str, Any]:
    """Return the infos of a step; what was seen of ended episodes lies in `final_info`.

    Args:
        seen: What was seen; it is used up.
        every: All True, [n].
        ends: The episodes that ended and were reset in this step, if any.
    """
    if ends is None:
        return told(seen.observed, seen.rewards, every)
    ended, over, final = ends
    final_info = told(*seen.take_out(over), ended)
    infos = told(seen.observed, seen.rewards, every)
    infos["final_info"], infos["_final_info"] = final_info, ended.copy()
    infos["final_obs"], infos["_final_obs"] = final, ended
    return infos
