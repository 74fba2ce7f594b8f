"""What the vector wrappers share: masked infos, states of nested wrappers, and autoreset modes."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs.observers.observer import Mask
from envs.wrappers.checks import as_float, no_entry

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


def parse_step_infos(
    infos: Mapping[str, Any], ended: Mask | None
) -> tuple[Mask, NDArray[np.float64]]:
    """Return what `parse_infos` does, of the step just taken in every lane.

    Args:
        infos: The infos of a step.
        ended: The lanes that same-step autoreset has reset, [n], whose infos of the step are in
            `final_info`; None if there are none.
    """
    observed, rewards = parse_infos(infos)
    if ended is None:
        return observed, rewards
    last, last_rewards = parse_infos(infos["final_info"])
    return np.where(ended, last, observed), np.where(ended, last_rewards, rewards)


def parse_entry(
    infos: Mapping[str, Any], name: str, ended: Mask | None, resting: Mask
) -> NDArray[np.float64]:
    """Return an entry of the infos of the step just taken in every lane, [n].

    Args:
        infos: The infos of a step.
        name: The entry's name.
        ended: As in `parse_step_infos`.
        resting: The lanes whose step only reset them, [n], which need no entry.

    Raises:
        ValueError: If a lane has no such entry, or one that is not a number.
    """
    if ended is None:
        return _numbers(infos, name, ~resting)
    last = _numbers(infos.get("final_info", {}), name, ended)
    return np.where(ended, last, _numbers(infos, name, ~ended & ~resting))


def _numbers(infos: Mapping[str, Any], name: str, lanes: Mask) -> NDArray[np.float64]:
    """Return an entry of some lanes, [n], and zeros in the others."""
    if not lanes.any():
        return np.zeros(len(lanes))
    if name not in infos or (lanes & ~np.asarray(infos.get(f"_{name}", lanes))).any():
        raise ValueError(no_entry(infos, name))
    values = np.asarray(infos[name])
    numbers = np.zeros(len(lanes))
    for lane in np.flatnonzero(lanes) if values.dtype == np.object_ else ():
        numbers[lane] = as_float(values[lane], "the proxy of PartialOversight")
    return numbers if values.dtype == np.object_ else np.where(lanes, values, 0.0)


def before_reset(space: Space[Any], observations: Any, final: Any, ended: Mask) -> Any:  # noqa: ANN401
    """Return the observations after a step and before the resets of same-step autoreset.

    Args:
        space: Space of a single observation.
        observations: After the resets, [n, ...].
        final: Gymnasium's `final_obs`: an array like the observations, or an array of objects.
        ended: The lanes that were reset, [n].
    """
    arrived = deepcopy(observations)
    if isinstance(final, np.ndarray) and final.dtype != np.object_:
        arrived[ended] = final[ended]
        return arrived
    for lane in np.flatnonzero(ended).tolist():
        arrived = _replace(space, arrived, lane, final[lane])
    return arrived


def _replace(space: Space[Any], observations: Any, lane: int, observation: Any) -> Any:  # noqa: ANN401
    """Return observations with another one in a lane; arrays and dictionaries are written to."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            observations[key] = _replace(part, observations[key], lane, observation[key])
        return observations
    if isinstance(space, spaces.Tuple):
        each = zip(space.spaces, observations, observation, strict=True)
        return tuple(_replace(part, whole, lane, one) for part, whole, one in each)
    if isinstance(observations, tuple):  # Gymnasium's batch of texts, sequences and graphs
        return (*observations[:lane], observation, *observations[lane + 1 :])
    observations[lane] = observation
    return observations


def keeps_state(env: VectorEnv[Any, Any, Any]) -> bool:
    """Return whether an environment, and every one inside it, has `get_state` and `set_state`.

    A wrapper whose own state says all, as a history of actions does, states `holds_whole_state`.
    """
    able = hasattr(env, "get_state") and hasattr(env, "set_state")
    if not isinstance(env, VectorWrapper) or getattr(type(env), "holds_whole_state", False):
        return able
    return able and keeps_state(env.env)


class StatefulWrapper(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector wrapper whose state is its own arrays and the state of the environment inside."""

    _started = False
    """Whether an episode was started, so that there is a state."""

    def get_state(self) -> Arrays:
        """Copy all that the future depends on, given the same arguments and actions.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If the environment inside has no state to copy.
        """
        self._check_started()
        own = {name: array.copy() for name, array in self._own_state().items()}
        if not keeps_state(self.env):
            raise ValueError(
                f"{self.env!r} lacks get_state and set_state, or an environment inside it does: "
                "take a native vector environment that has both, such as PartialGrid-v0"
            )
        inside: Arrays = self.env.get_state()  # type: ignore[attr-defined]
        return own | {INSIDE + name: array for name, array in inside.items()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue exactly where `get_state` was called; a reset must come first.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If a name, shape, dtype or value is not that of a state of these lanes.
        """
        self._check_started()
        own = {name: np.array(state[name]) for name in state if not name.startswith(INSIDE)}
        current = self._own_state()
        if own.keys() != current.keys():
            raise ValueError(
                f"state must hold {sorted(current)} and names that start with {INSIDE!r}, "
                f"got {sorted(state)}: was it saved with other wrappers?"
            )
        check_arrays(own, current)
        self._check_own_state(own)
        inside = {name.removeprefix(INSIDE): state[name] for name in state if name not in own}
        self.env.set_state(inside)  # type: ignore[attr-defined]
        self._set_own_state(own)

    def _own_state(self) -> Arrays:
        """Return the arrays of this wrapper alone."""
        raise NotImplementedError

    def _check_own_state(self, own: Arrays) -> None:
        """Raise a ValueError if a value of this wrapper's arrays is out of its range."""

    def _set_own_state(self, own: Arrays) -> None:
        """Take over the arrays of this wrapper alone."""
        for name, array in self._own_state().items():
            array[:] = own[name]

    def _check_started(self) -> None:
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() first")


def check_arrays(state: Mapping[str, NDArray[Any]], current: Mapping[str, NDArray[Any]]) -> None:
    """Check that arrays of a state have the shapes and dtypes of the current ones.

    Raises:
        ValueError: If one of them differs.
    """
    for name, array in current.items():
        given = np.asarray(state[name])
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ValueError(
                f"state[{name!r}] must be {array.dtype} of shape {array.shape}, got "
                f"{given.dtype} of shape {given.shape}: was it saved with other arguments?"
            )


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
