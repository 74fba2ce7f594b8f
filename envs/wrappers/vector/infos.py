"""What the vector wrappers share: masked infos, states of nested wrappers, and autoreset modes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs.observers.observer import Mask

Arrays = dict[str, NDArray[Any]]

INSIDE = "env."  # prefix of the inner environment's names in a state; no wrapper's own starts so


def make_infos(observed: Mask, rewards: NDArray[np.float64], mask: Mask) -> dict[str, Any]:
    """Return infos that say, in the lanes of a mask, what was observed, and nothing else."""
    return {
        "observed": observed,
        "_observed": mask.copy(),
        "observed_reward": rewards,
        "_observed_reward": mask.copy(),
    }


def make_step_infos(
    observed: Mask,
    rewards: NDArray[np.float64],
    ended: Mask | None,
    final_obs: object,
) -> dict[str, Any]:
    """Return the infos of a step in Gymnasium's layout.

    Args:
        observed: Whether each lane's step was observed, [n].
        rewards: The reported rewards, [n], 0.0 for hidden steps.
        ended: The lanes that same-step autoreset has reset, [n]: their flags and rewards go to
            `final_info`. None if there are none.
        final_obs: Their last observations, as Gymnasium's entry of that name.
    """
    every = np.ones_like(observed)
    if ended is None:
        return make_infos(observed, rewards, every)
    infos = make_infos(observed & ~ended, np.where(ended, 0.0, rewards), every)
    infos["final_info"] = make_infos(observed & ended, np.where(ended, rewards, 0.0), ended)
    infos["final_obs"] = final_obs
    return infos | {"_final_info": ended.copy(), "_final_obs": ended.copy()}


def parse_infos(infos: Mapping[str, Any]) -> tuple[Mask, NDArray[np.float64]]:
    """Return which lanes' steps were observed, [n], and their rewards, [n], 0.0 for hidden ones."""
    # `SyncVectorEnv` makes arrays of objects, which hold None in lanes without an entry.
    observed = np.asarray(infos["observed"], dtype=np.bool_)
    if "_observed" in infos:
        observed = observed & infos["_observed"]
    rewards = np.where(observed, infos["observed_reward"], 0.0).astype(np.float64)
    return observed, rewards


def keeps_state(env: VectorEnv[Any, Any, Any]) -> bool:
    """Return whether an environment, and every one inside it, has `get_state` and `set_state`."""
    able = hasattr(env, "get_state") and hasattr(env, "set_state")
    return able and (not isinstance(env, VectorWrapper) or keeps_state(env.env))


def join_states(own: Mapping[str, NDArray[Any]], env: VectorEnv[Any, Any, Any]) -> Arrays:
    """Copy a wrapper's arrays and those of the environment inside.

    Raises:
        ValueError: If an environment inside has no state to copy.
    """
    if not keeps_state(env):
        raise ValueError(
            f"{env!r} lacks get_state and set_state, or an environment inside it does: take a "
            "native vector environment that has both, such as PartialGrid-v0"
        )
    inside: Arrays = env.get_state()  # type: ignore[attr-defined]
    copies = {name: array.copy() for name, array in own.items()}
    return copies | {INSIDE + name: array for name, array in inside.items()}


def split_state(
    state: Mapping[str, NDArray[Any]], current: Mapping[str, NDArray[Any]]
) -> tuple[Arrays, Arrays]:
    """Return copies of a wrapper's own arrays, and those of the environment inside.

    Args:
        state: What `join_states` returned.
        current: The wrapper's arrays that it would replace.

    Raises:
        ValueError: If a name, shape or dtype differs from that of the current array.
    """
    own = {name: np.array(array) for name, array in state.items() if not name.startswith(INSIDE)}
    if own.keys() != current.keys():
        raise ValueError(
            f"state must hold {sorted(current)} and names that start with {INSIDE!r}, "
            f"got {sorted(state)}: was it saved with other wrappers?"
        )
    for name, array in current.items():
        if own[name].shape != array.shape or own[name].dtype != array.dtype:
            raise ValueError(
                f"state[{name!r}] must be {array.dtype} of shape {array.shape}, got "
                f"{own[name].dtype} of shape {own[name].shape}: was it saved with other arguments?"
            )
    return own, {name.removeprefix(INSIDE): state[name] for name in state if name not in own}


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Return the autoreset mode that an environment states in its metadata.

    Raises:
        ValueError: If it states none.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"env.metadata['autoreset_mode'] must be an AutoresetMode, got {mode!r}: set it to one "
            f"of {[str(mode) for mode in AutoresetMode]}, since steps belong to episodes by it"
        )
    return mode
