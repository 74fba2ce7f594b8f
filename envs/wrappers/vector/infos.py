"""What the agents of a vector environment are told of oversight, in Gymnasium's masked arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.observers.observer import Mask

INTEGERS: dict[int, type[np.signedinteger[Any]]] = {2: np.int16, 4: np.int32, 8: np.int64}


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


def told_apart(
    observed: Mask,
    rewards: NDArray[np.float64],
    mask: Mask,
    ended: Mask,
    over: NDArray[np.intp],
    final_obs: object,
) -> dict[str, Any]:
    """Return infos in which what was seen in the lanes that ended lies apart, in `final_info`.

    Args:
        observed: Which steps were observed, [n]; those of ended lanes are taken out in place.
        rewards: The rewards seen, [n]; taken out alike.
        mask: As `told`.
        ended: The lanes that ended, [n]; given away.
        over: Their numbers.
        final_obs: What their episodes ended on.
    """
    lanes = over[observed[over]]
    last, shown = np.zeros(observed.size, np.bool_), np.zeros(observed.size)
    last[lanes] = True
    shown[lanes] = rewards[lanes]
    observed[lanes] = False
    rewards[lanes] = 0.0
    infos = told(observed, rewards, mask)
    infos["final_info"], infos["_final_info"] = told(last, shown, ended), ended.copy()
    infos["final_obs"], infos["_final_obs"] = final_obs, ended
    return infos
