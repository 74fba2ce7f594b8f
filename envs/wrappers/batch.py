"""Observations of many lanes: one lane as a batch, and the last observations of ended episodes."""

from copy import deepcopy
from typing import Any

import numpy as np

from envs.observers.observer import Mask


def lane_of_one(value: Any) -> Any:  # noqa: ANN401 (of any space)
    """Return a copy of an observation or action with a leading axis of one lane."""
    if isinstance(value, dict):
        return {key: lane_of_one(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(lane_of_one(part) for part in value)
    return np.array(value)[None]


def before_reset(observations: Any, final: Any, ended: Mask) -> Any:  # noqa: ANN401
    """Return what each lane's step led to, where ended lanes already show their next episode.

    Args:
        observations: [n, ...] after the resets.
        final: `final_obs` of Gymnasium: an array like it, or one of objects.
        ended: The lanes that were reset, [n].
    """
    arrived = deepcopy(observations)
    if isinstance(final, np.ndarray) and final.dtype != np.object_:
        arrived[ended] = final[ended]
        return arrived
    for lane in np.flatnonzero(ended).tolist():
        _write(arrived, lane, final[lane])
    return arrived


def _write(observations: Any, lane: int, observation: Any) -> None:  # noqa: ANN401
    if isinstance(observation, dict):
        for key, part in observation.items():
            _write(observations[key], lane, part)
    elif isinstance(observation, tuple):
        for whole, part in zip(observations, observation, strict=True):
            _write(whole, lane, part)
    else:
        observations[lane] = observation
