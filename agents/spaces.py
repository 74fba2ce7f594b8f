"""Spaces: which ones a policy can learn in, what their numbers mean, and that they are finite.

Networks count discrete values from 0, and their continuous actions are floats. The environment gets
the values of its own space: `Discrete(2, start=10)` gets 10 and 11, and an integer `Box` integers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space

ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)

AnySpace = spaces.Space[Any]
Starts = NDArray[np.int64] | dict[str, NDArray[np.int64]]


def start_of(space: AnySpace) -> Starts | None:
    """Return the lowest value of each number in a space of discrete ones; None if all are 0.

    A `Dict` space has a start for each of its keys that has one.

    >>> start_of(spaces.Discrete(2, start=10)), start_of(spaces.Discrete(2))
    (array(10), None)
    """
    if isinstance(space, spaces.Dict):
        found = {key: start_of(part) for key, part in space.spaces.items()}
        return {key: each for key, each in found.items() if isinstance(each, np.ndarray)} or None
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return None
    start = np.asarray(space.start, dtype=np.int64)
    return start if start.any() else None


def from_zero(values: Any, starts: Starts | None) -> Any:  # noqa: ANN401 (of any space)
    """Return values of a space, arrays or tensors, with the discrete ones counted from 0.

    >>> from_zero(np.array([12, 10]), np.array(10))
    array([2, 0])
    """
    if starts is None:
        return values
    if isinstance(starts, dict):
        return {**values, **{key: from_zero(values[key], each) for key, each in starts.items()}}
    if isinstance(values, torch.Tensor):
        return values - torch.as_tensor(starts, device=values.device)
    return values - starts


def arrays_of(observations: Any) -> Iterator[tuple[str, NDArray[Any]]]:  # noqa: ANN401 (of any space)
    """Yield the arrays of observations, each with the words that name it."""
    if isinstance(observations, np.ndarray) or not isinstance(observations, Mapping):
        yield "", np.asarray(observations)
        return
    for key, part in observations.items():
        yield f" (key {key!r})", np.asarray(part)


def lane_of(observations: Any, lane: int | list[int]) -> Any:  # noqa: ANN401 (of any space)
    """Return a copy of what one lane sees, or of what some lanes see.

    Args:
        observations: arrays of all lanes, or an array of objects, one for each lane.
        lane: number of the lane, or a list of numbers.
    """
    if isinstance(observations, np.ndarray) and observations.dtype != np.object_:
        return np.array(observations[lane])
    if isinstance(observations, Mapping):
        return {key: lane_of(part, lane) for key, part in observations.items()}
    return _copied(observations[lane])


def _copied(observation: Any) -> Any:  # noqa: ANN401 (of any space)
    """Return a copy of a single observation, with arrays in place of numbers."""
    if isinstance(observation, Mapping):
        return {key: _copied(part) for key, part in observation.items()}
    return np.array(observation)


def num_numbers(space: AnySpace) -> int:
    """Return how many numbers `numbers_of` gives for an observation of a space."""
    if isinstance(space, spaces.Dict):
        return sum(map(num_numbers, space.spaces.values()))
    return int(np.prod(space.shape or (1,)))


def numbers_of(space: AnySpace, observations: Any) -> NDArray[np.float32]:  # noqa: ANN401
    """Return observations of some lanes as rows of numbers, [lanes, numbers].

    Discrete values are counted from 0, images are scaled to [0, 1], and those of a `Dict` follow
    each other in the order of its keys.

    >>> parts = spaces.Dict({"a": spaces.Discrete(2, start=5), "b": spaces.Box(0, 1, (2,))})
    >>> numbers_of(parts, {"a": np.array([6]), "b": np.array([[0.5, 0.25]])})
    array([[1.  , 0.5 , 0.25]], dtype=float32)
    """
    if isinstance(space, spaces.Dict):
        parts = [numbers_of(part, observations[key]) for key, part in space.spaces.items()]
        return np.concatenate(parts, axis=1)
    counted = from_zero(np.asarray(observations), start_of(space))
    rows: NDArray[np.float32] = counted.reshape(len(counted), -1).astype(np.float32)
    return rows / np.float32(255) if is_image_space(space) else rows


def to_environment(space: AnySpace, actions: NDArray[Any]) -> NDArray[Any]:
    """Return the environment's actions, given those of a policy, [..., *shape].

    Args:
        space: action space of the environment.
        actions: discrete actions counted from 0, or continuous ones within the bounds of a `Box`.

    >>> to_environment(spaces.Discrete(2, start=10), np.array([0, 1]))
    array([10, 11])
    >>> to_environment(spaces.Box(-3, 3, (2,), np.int8), np.array([[-0.7, 2.2]], np.float32))
    array([[-1,  2]], dtype=int8)
    """
    if isinstance(space, spaces.Box) and space.dtype.kind != "f":
        whole: NDArray[Any] = np.rint(actions).astype(space.dtype)
        return whole
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return actions.astype(space.dtype, copy=False)
    start = start_of(space)
    return actions if start is None else np.asarray(actions + start, dtype=space.dtype)


def require_arrays(space: AnySpace) -> None:
    """Raise a ValueError for observations that are neither arrays nor a dictionary of arrays."""
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
    if parts and all(isinstance(part, ARRAYS) for part in parts):
        return
    raise ValueError(
        "observations must be arrays, or a Dict of arrays, the environment has "
        f"{_line(space)}: {_how_to_mend(space)}"
    )


def _how_to_mend(space: AnySpace) -> str:
    """Return what turns the observations of a space into arrays or a dictionary of arrays."""
    inside = space.spaces if isinstance(space, spaces.Dict) else {}
    minigrid = any(type(part).__module__.startswith("minigrid") for part in inside.values())
    if keys := [key for key, part in inside.items() if isinstance(part, ARRAYS)]:
        some = f"keep the keys that are, with gymnasium.wrappers.FilterObservation(env, {keys})"
        return (
            f"{some}, or flatten them with minigrid.wrappers.FlatObsWrapper"
            if minigrid or "mission" in inside
            else f"{some}, or flatten them with gymnasium.wrappers.FlattenObservation"
            if _flattens(space)
            else some
        )
    if isinstance(space, spaces.Tuple) and all(isinstance(part, ARRAYS) for part in space.spaces):
        return (
            "name the items of the tuple in a Dict with gymnasium.wrappers.TransformObservation, "
            "or flatten them with gymnasium.wrappers.FlattenObservation"
        )
    if _flattens(space):
        return "flatten them with gymnasium.wrappers.FlattenObservation"
    return "give only parts that are arrays, with a gymnasium.ObservationWrapper"


def _flattens(space: AnySpace) -> bool:
    """Return whether Gymnasium can flatten a space to a Box of fixed size."""
    try:
        return isinstance(spaces.flatten_space(space), spaces.Box)
    except (NotImplementedError, TypeError, ValueError):
        return False


def require_spaces(observations: AnySpace, actions: AnySpace) -> None:
    """Raise a ValueError for spaces in which no policy of SB3 or of this project can learn."""
    require_arrays(observations)
    parts = observations.spaces if isinstance(observations, spaces.Dict) else {"": observations}
    for key, part in parts.items():
        what = f"observations of the key {key!r}" if key else "observations"
        _require_values(what, part, "ReshapeObservation", "FlattenObservation")
    if not isinstance(actions, ARRAYS):
        raise ValueError(
            "actions must lie in a Discrete, Box, MultiDiscrete or MultiBinary space, the "
            f"environment has {_line(actions)}: change them in a gymnasium.ActionWrapper"
        )
    _require_values("actions", actions, "TransformAction", "TransformAction")
    if isinstance(actions, spaces.MultiBinary) and len(actions.shape) != 1:
        raise ValueError(
            "actions in a MultiBinary space must have one axis, the environment has "
            f"{_line(actions)}: flatten them with gymnasium.wrappers.TransformAction"
        )
    if isinstance(actions, spaces.Box) and not np.isfinite([actions.low, actions.high]).all():
        raise ValueError(
            f"continuous actions must have finite bounds, the environment has {_line(actions)}: "
            "bound them with gymnasium.wrappers.TransformAction"
        )


MOST_VALUES = 2**26
"""A network has a row of weights for each value of a discrete space: here some 30 GiB, at 128."""


def _require_values(what: str, space: AnySpace, reshape: str, flatten: str) -> None:
    """Raise a ValueError for arrays without axes or values, or of too many discrete values.

    Args:
        what: observations or actions.
        space: their space.
        reshape: name of Gymnasium's wrapper that gives them another shape.
        flatten: name of the one that makes a vector of them.
    """
    shape = space.shape or ()
    values = getattr(space, "n" if isinstance(space, spaces.Discrete) else "nvec", 0)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.sum(values) > MOST_VALUES:
        raise ValueError(
            f"discrete {what} may have at most {MOST_VALUES:,} values, each of which takes a row "
            f"of weights, the environment has {_line(space)}: group them, or use a Box, in a "
            "wrapper of the environment"
        )
    if not isinstance(space, spaces.Discrete) and (not shape or 0 in shape):
        raise ValueError(
            f"{what} must be arrays with at least one axis and one value, the environment has "
            f"{_line(space)} of shape {shape}: give them the shape (1,) with "
            f"gymnasium.wrappers.{reshape}"
        )
    if isinstance(space, spaces.MultiDiscrete) and len(shape) != 1:
        raise ValueError(
            f"{what} in a MultiDiscrete space must have one axis, the environment has "
            f"{_line(space)}: flatten them with gymnasium.wrappers.{flatten}"
        )


def require_start_of_zero(policy: str, observations: AnySpace, actions: AnySpace) -> None:
    """Raise a ValueError for discrete values that SB3's policies would take to count from 0."""
    for what, space in (("observations", observations), ("actions", actions)):
        if start_of(space) is not None:
            raise ValueError(
                f"{policy} counts discrete {what} from 0, the environment has {_line(space)}: use "
                "MotivationPolicy, or shift them in a wrapper of the environment"
            )


def _line(space: AnySpace) -> str:
    """Return the name of a space in one line."""
    return " ".join(str(space).split())


MEND_OBSERVATIONS = (
    "mend the environment, or replace such observations in a wrapper such as "
    "gymnasium.wrappers.TransformObservation"
)
MEND_REWARDS = (
    "hide rewards by paying 0.0 or a proxy, with info['observed'] = False, and scale larger ones "
    "in a wrapper of the environment"
)
MEND_SOURCE = "return finite numbers that float32 can hold from it"
MEND_VALUES = "lower learning_rate, or scale rewards in a wrapper of the environment"


def require_finite(what: str, values: NDArray[Any], mend: str) -> None:
    """Raise a ValueError if a value is NaN or infinite.

    Args:
        what: what each of the values is.
        values: [lanes, ...].
        mend: what to do about it.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        lane = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(f"{what} is NaN, or infinite as {values.dtype}, in lane {lane}: {mend}")


def require_finite_observations(
    what: str,
    observations: Any,  # noqa: ANN401 (of any space)
    batched: bool = True,
) -> None:
    """Raise a ValueError if a number in observations, or in a single one, is NaN or infinite."""
    for key, values in arrays_of(observations):
        require_finite(f"{what}{key}", values if batched else values[None], MEND_OBSERVATIONS)
