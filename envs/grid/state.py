"""The check that a saved state fits the lanes it is to be set on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.grid.rules import Rules


def check_state(
    state: Mapping[str, NDArray[Any]], held: Mapping[str, NDArray[Any]], rules: Rules
) -> None:
    """Compare a state with the arrays it would replace.

    Raises:
        ValueError: If a name, shape, dtype or value could not be that of a running episode.
    """
    if state.keys() != held.keys():
        raise ValueError(f"state must hold {sorted(held)}, got {sorted(state)}")
    for name, array in held.items():
        given = np.asarray(state[name])
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ValueError(
                f"state[{name!r}] must be {array.dtype} of shape {array.shape}, "
                f"got {given.dtype} of shape {given.shape}: was it saved with other arguments?"
            )
    limits = {"elapsed": rules.horizon} | dict.fromkeys(_CELLS, rules.size**2)
    for name, limit in limits.items():
        if state[name].min() < 0 or state[name].max() >= limit:
            raise ValueError(f"state[{name!r}] must be from 0 to {limit - 1}")
    agent, ghost, diamond = (state[name] for name in _CELLS)
    if np.any((agent == ghost) | (agent == diamond) | (ghost == diamond)):
        raise ValueError("state must hold the agent, ghost and diamond of a lane on distinct cells")


_CELLS = ("agent", "ghost", "diamond")
