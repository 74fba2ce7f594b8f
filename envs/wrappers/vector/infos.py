"""What the agents of a vector environment are told of oversight, in Gymnasium's masked arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from envs.observers.observer import Mask
from envs.wrappers.settings import allowed, check_finite


class Seen(NamedTuple):
    """Which steps were observed, and the rewards that were seen, 0.0 where none was."""

    observed: Mask  # [n]
    rewards: NDArray[np.float64]  # [n]

    @classmethod
    def nothing(cls, num_envs: int) -> "Seen":
        """Return what is seen where nobody watches."""
        return cls(np.zeros(num_envs, dtype=np.bool_), np.zeros(num_envs))

    def parted(self, over: NDArray[np.intp]) -> "Seen":
        """Take out what was seen in the lanes that are over, and return it."""
        observed, rewards = parted = Seen.nothing(self.observed.size)
        lanes = over[self.observed[over]]
        observed[lanes] = True
        rewards[lanes] = self.rewards[lanes]
        self.observed[lanes] = False
        self.rewards[lanes] = 0.0
        return parted


def observed_rewards(rewards: NDArray[Any], lanes: NDArray[np.intp]) -> NDArray[Any]:
    """Return the rewards of the lanes that are observed, and read no other.

    Raises:
        ValueError: If one of them is not finite.
    """
    return check_finite(rewards.take(lanes), "the environment")


def spread(
    values: NDArray[Any], lanes: NDArray[np.intp], num_envs: int, dtype: DTypeLike
) -> NDArray[Any]:
    """Return a fresh array that holds values in some lanes and 0 in the others, [n]."""
    array = np.zeros(num_envs, dtype)
    array[lanes] = values
    return array


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


def scrubbed(
    seen: Seen, mask: Mask, infos: Mapping[str, Any], allow: Sequence[str]
) -> dict[str, Any]:
    """Return infos that hold what was seen, and of the environment's own what is allowed.

    Args:
        seen: What was seen.
        mask: The lanes that the infos are of, [n].
        infos: The environment's own.
        allow: Keys of them to let through.
    """
    told = {
        "observed": seen.observed,
        "_observed": mask.copy(),
        "observed_reward": seen.rewards,
        "_observed_reward": mask.copy(),
    }
    return allowed(infos, allow) | told if allow else told
