"""A plain step of all lanes, compiled by numba and equal to `infos` and `OversightState` to the bit.

Importing this file imports numba and compiles, for a second or two. The machine code is kept in a
cache, beside this file or in the user's folder, so that later processes only load it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numba import njit, types
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from envs.observers.observer import Mask
from envs.random_streams import Words
from envs.wrappers.oversight_state import ONE

Floats = NDArray[np.floating[Any]]

NEXT_STEP, SAME_STEP, DISABLED = range(3)
MODES = {
    AutoresetMode.NEXT_STEP: NEXT_STEP,
    AutoresetMode.SAME_STEP: SAME_STEP,
    AutoresetMode.DISABLED: DISABLED,
}
# Rows of the masks: `observed` and two masks of what is told; where lanes end and reset in one
# step the same three of `final_info`, and the lanes that ended, twice.
OBSERVED, TOLD, FINAL, FINAL_TOLD, ENDED, ROWS = 0, 1, 3, 4, 6, 8
REFUSED = -1
UNFIT = (TypeError, ValueError, NumbaError)  # of a call for whose types nothing is compiled

_LANES = types.boolean[::1]


def _signature(floats: Any) -> Any:  # noqa: ANN401 (a type of numba's)
    step = (floats[::1], _LANES, _LANES, types.int64)
    clock = (_LANES, _LANES, types.uint64[::1])
    return types.intp(*step, *clock, types.boolean[:, ::1], types.float64[:, ::1], floats[::1])


def _compile(function: Callable[..., int]) -> Callable[..., int]:
    """Compile for rewards of both widths, with a cache unless there is no place for one."""
    signatures = [_signature(types.float32), _signature(types.float64)]
    compiled: Callable[..., int]
    try:
        compiled = njit(signatures, nogil=True, cache=True)(function)
    except (RuntimeError, OSError):
        compiled = njit(signatures, nogil=True)(function)
    return compiled


@njit
def _show(
    true: Floats, watched: Mask, resetting: Mask, masks: Mask, rewards: Floats, paid: Floats
) -> bool:
    """Write what is seen, and return whether all of it is finite."""
    observed, nothing = masks[OBSERVED], true.dtype.type(0)
    for lane in range(len(true)):
        observed[lane] = watched[lane] & (not resetting[lane])
        masks[TOLD, lane] = masks[TOLD + 1, lane] = True
    wrong = 0
    for lane in range(len(true)):
        seen = true[lane] if observed[lane] else nothing  # a choice: no product with a hidden one
        paid[lane] = seen
        rewards[0, lane] = seen
        wrong += not (seen - seen == 0)  # noqa: SIM201 (NaN where it is not finite)
    return wrong == 0


@njit
def _end(terminated: Mask, truncated: Mask, masks: Mask) -> None:
    """Write which episodes ended."""
    for lane in range(len(terminated)):
        ended = terminated[lane] | truncated[lane]
        for row in range(FINAL_TOLD, ROWS):
            masks[row, lane] = ended


@njit
def _move(over: Mask, masks: Mask, rewards: Floats) -> None:
    """Move what was seen of the episodes that are over to the rows of `final_info`."""
    for lane in range(len(over)):
        masks[FINAL, lane] = masks[OBSERVED, lane] & over[lane]
        masks[OBSERVED, lane] &= not over[lane]
    for lane in range(len(over)):
        seen = rewards[0, lane]
        rewards[1, lane] = seen if over[lane] else 0.0
        rewards[0, lane] = 0.0 if over[lane] else seen


@njit
def _begin(due: Mask, watched: Mask, words: Words) -> int:
    """Go to the next episode of the lanes where it is due, as `OversightState.begin`; return how many."""
    count = 0
    for lane in range(len(due)):  # every lane, since a branch would be mispredicted
        words[lane] >>= np.uint64(due[lane])
        watched[lane] = words[lane] & ONE
        count += due[lane]
    return count


@_compile
def advance(  # noqa: PLR0913, PLR0917 (few, since each takes 0.1 us)
    true: Floats,
    terminated: Mask,
    truncated: Mask,
    mode: int,
    resetting: Mask,
    watched: Mask,
    words: Words,
    masks: Mask,
    rewards: Floats,
    paid: Floats,
) -> int:
    """Show the rewards that are observed, begin the episodes that are due, and count those.

    `true`, `terminated` and `truncated` are the environment's, [n]; `mode` is one of `MODES`.
    Moved on to the next step are `resetting`, the lanes that this one only resets, `watched` and
    `words`, as `OversightState.ahead` has them, [n]. Filled are `masks`, whose rows are above, [8, n] where
    lanes end and reset in one step, else [3, n]; the `rewards` told, [2, n] or [1, n]; and `paid`,
    [n].

    Returns:
        How many lanes begin an episode; or `REFUSED`, with nothing moved on, where a length is not
        n or an observed reward is not finite.
    """
    fits = len(true) == len(terminated) == len(truncated) == len(words)
    if not (fits and _show(true, watched, resetting, masks, rewards, paid)):
        return REFUSED
    if mode == DISABLED:
        return 0
    if mode == SAME_STEP:
        _end(terminated, truncated, masks)
        _move(masks[ENDED], masks, rewards)
    begun: int = _begin(masks[ENDED] if mode == SAME_STEP else resetting, watched, words)
    if mode == NEXT_STEP:
        for lane in range(len(resetting)):
            resetting[lane] = terminated[lane] | truncated[lane]
    return begun
