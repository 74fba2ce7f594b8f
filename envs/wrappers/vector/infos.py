"""What the agents of a vector environment are told of oversight, in Gymnasium's masked arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.observers.observer import Flips, Mask
from envs.wrappers.settings import allowed, check_finite


class Seen(NamedTuple):
    """Which steps were observed, and the rewards that were seen, 0.0 where none was."""

    observed: Mask  # [n]
    rewards: NDArray[Any]  # [n], of the environment's dtype

    @classmethod
    def of(cls, rewards: NDArray[Any], observed: Mask) -> "Seen":
        """Keep the rewards of observed steps, and read no other."""
        # np.where and no product: -1.0 * False is -0.0, which tells the sign of a hidden reward
        shown = np.where(observed, rewards, rewards.dtype.type(0))
        return cls(observed, check_finite(shown, "the environment"))

    def divided(self, lanes: Mask) -> tuple["Seen", "Seen"]:
        """Return what was seen outside some lanes, and what was seen in them."""
        inside = self.observed & lanes
        rest = self.rewards.copy()
        np.copyto(rest, 0.0, where=lanes)
        return Seen(self.observed ^ inside, rest), Seen(inside, self.rewards - rest)


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
    if array.shape != (num_envs,) or array.dtype.kind not in "fiub":
        raise ValueError(
            f"PartialOversight needs one scalar reward a lane, numbers of shape ({num_envs},), "
            f"the environment gave {array.dtype} of shape {array.shape}: combine several rewards "
            f"into one in a wrapper inside PartialOversight"
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)


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
    lanes = mask.copy()
    told = {
        "observed": seen.observed,
        "_observed": lanes,
        "observed_reward": seen.rewards.astype(np.float64),  # a copy: rewards are given out too
        "_observed_reward": lanes.copy(),
    }
    return allowed(infos, allow) | told if allow else told
