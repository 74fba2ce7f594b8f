"""What the agents of a vector environment are told of oversight, in Gymnasium's masked arrays."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.observers.observer import Flips, Mask
from envs.wrappers.settings import check_finite


class Seen(NamedTuple):
    """Which steps were observed, and the rewards that were seen, 0.0 where none was."""

    observed: Mask  # [n]
    rewards: NDArray[np.float64]  # [n]
    paid: NDArray[Any]  # [n], the same of the environment's dtype

    @classmethod
    def of(cls, rewards: NDArray[Any], observed: Mask, flips: Flips | None) -> "Seen":
        """Keep the rewards of observed steps as they are reported, and read no other.

        Raises:
            ValueError: If one of them is not finite.
        """
        lanes = observed.nonzero()[0]
        shown = check_finite(rewards.take(lanes), "the environment")
        if flips is not None:
            wrong = np.where(shown > 0, flips.rewards[lanes], flips.punishments[lanes])
            shown = np.where(wrong & (shown != 0), -shown, shown)
        values, paid = np.zeros(observed.size), np.zeros(observed.size, rewards.dtype)
        values[lanes] = shown
        paid[lanes] = shown
        return cls(observed, values, paid)

    def take_out(self, over: NDArray[np.intp]) -> tuple[Mask, NDArray[np.float64]]:
        """Move what was seen in the lanes that are over to arrays of their own, but for `paid`."""
        observed, rewards = np.zeros(self.observed.size, np.bool_), np.zeros(self.observed.size)
        lanes = over[self.observed[over]]
        observed[lanes] = True
        rewards[lanes] = self.rewards[lanes]
        self.observed[lanes] = False
        self.rewards[lanes] = 0.0
        return observed, rewards


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
