"""What the agents of a vector environment are told of oversight, in Gymnasium's masked arrays.

A wrapper's state beside that of the environment inside, under names that cannot meet.

When the lanes of a vector environment reset, which it must say.

The spaces of a vector wrapper: with the flag in what is seen, a question in what is done.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.observers.observer import Flips, Mask
from envs.wrappers.options import Settings, asking_space, check_finite, flagged_space

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


Arrays = dict[str, NDArray[Any]]

INSIDE = "env."  # before every name of the environment inside; no wrapper's own name starts so


def keeps_state(env: VectorEnv[Any, Any, Any]) -> bool:
    """Return whether an environment, and every one inside it, has `get_state` and `set_state`."""
    able = hasattr(env, "get_state") and hasattr(env, "set_state")
    return able and (not isinstance(env, VectorWrapper) or keeps_state(env.env))


def joined(own: Mapping[str, NDArray[Any]], env: VectorEnv[Any, Any, Any]) -> Arrays:
    """Copy a wrapper's arrays and those of the environment inside.

    Raises:
        ValueError: If that has no state to copy.
    """
    if not keeps_state(env):
        raise ValueError(
            f"{env!r} has no get_state and set_state that reach all the way in: take a native "
            "vector environment that has both, as PartialGrid-v0"
        )
    inside: Arrays = env.get_state()  # type: ignore[attr-defined]
    copies = {name: array.copy() for name, array in own.items()}
    return copies | {INSIDE + name: array for name, array in inside.items()}


def parted(
    state: Mapping[str, NDArray[Any]], held: Mapping[str, NDArray[Any]]
) -> tuple[Arrays, Arrays]:
    """Return copies of a wrapper's own arrays, and those of the environment inside.

    Args:
        state: What `joined` returned.
        held: The wrapper's arrays that it would replace.

    Raises:
        ValueError: If a name, shape or dtype is not that of what is held.
    """
    own = {name: np.array(array) for name, array in state.items() if not name.startswith(INSIDE)}
    if own.keys() != held.keys():
        raise ValueError(
            f"state must hold {sorted(held)} and names that start with {INSIDE!r}, "
            f"got {sorted(state)}: was it saved with other wrappers?"
        )
    for name, array in held.items():
        if own[name].shape != array.shape or own[name].dtype != array.dtype:
            raise ValueError(
                f"state[{name!r}] must be {array.dtype} of shape {array.shape}, got "
                f"{own[name].dtype} of shape {own[name].shape}: was it saved with other arguments?"
            )
    return own, {name.removeprefix(INSIDE): state[name] for name in state if name not in own}


def check_array(observations: object, space: Space[Any]) -> NDArray[Any]:
    """Return observations that a wrapper keeps.

    Raises:
        ValueError: If they are no array.
    """
    if not isinstance(observations, np.ndarray):
        raise ValueError(
            "the state of PartialOversight holds the observations that its observer or proxy "
            f"reads, which must be arrays, got {space}: flatten them in a wrapper inside"
        )
    return observations


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Return the autoreset mode that an environment states in its metadata.

    Raises:
        ValueError: If it states none.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"env.metadata['autoreset_mode'] must be an AutoresetMode, got {mode!r}: set it to one "
            f"of {[str(mode) for mode in AutoresetMode]}, or a step cannot be told to its episode"
        )
    return mode


def widen(wrapper: VectorWrapper[Any, Any, Any, Any, Any], settings: Settings) -> None:
    """Add to a wrapper's spaces what the settings say.

    Raises:
        ValueError: If a space has no place for it.
    """
    env = wrapper.env
    if settings.shows:
        wrapper.single_observation_space = flagged_space(env.single_observation_space)
        wrapper.observation_space = batch_space(wrapper.single_observation_space, env.num_envs)
    if settings.doubles:
        wrapper.single_action_space = asking_space(env.single_action_space)
        wrapper.action_space = batch_space(wrapper.single_action_space, env.num_envs)
