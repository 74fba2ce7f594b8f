"""The short way of a plain step: the kernel, where numba is installed and the arrays fit."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.observers.observer import Mask
from envs.wrappers.oversight_state import OversightState

MASK = np.dtype(np.bool_)


@cache
def load() -> Any:  # noqa: ANN401 (a module, or None)
    """Return the compiled kernel, or None where numba is missing or does not fit NumPy."""
    try:
        return import_module("envs.wrappers.vector.kernel")
    except ImportError:
        return None


class Plain:
    """Takes the plain steps of a vector environment with the compiled kernel.

    Args:
        kernel: The module that is loaded.
        clock: Of an observer by episode, with no flag; it is moved on.
        mode: What happens to a lane that ended.
    """

    def __init__(self, kernel: Any, clock: OversightState, mode: AutoresetMode) -> None:  # noqa: ANN401
        self._advance: Callable[..., int] = kernel.advance
        self._unfit, self._mode = kernel.UNFIT, kernel.MODES[mode]
        self._clock, self._num_lanes = clock, len(clock.watched)
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._masks = (8 if self._same_step else 3), self._num_lanes
        self._rewards = (2 if self._same_step else 1), self._num_lanes
        self._dtype: np.dtype[Any] | None = None  # of the first rewards
        self.fits = True  # until arrays come that the kernel is not compiled for

    def step(
        self,
        true: NDArray[Any],
        terminated: Mask,
        truncated: Mask,
        resetting: Mask,
        inner: dict[str, Any],
    ) -> tuple[NDArray[Any], dict[str, Any]] | None:
        """Return what is paid and the infos; or None, with nothing done, if NumPy has to step.

        The lanes `resetting`, [n], are moved on to the next step; the others are what the
        environment gave.
        """
        if not self.fits:
            return None
        if self._dtype is None:
            self._dtype = np.asarray(true).dtype
        # fresh: an agent may keep what it is given, and write to it
        masks, rewards = np.empty(self._masks, MASK), np.empty(self._rewards)
        paid = np.empty(self._num_lanes, self._dtype)
        watched, words = self._clock.ahead()
        try:
            # fmt: off
            begun = self._advance(
                true, terminated, truncated, self._mode,
                resetting, watched, words,
                masks, rewards, paid,
            )
            # fmt: on
        except self._unfit:
            self.fits = False
            return None
        if begun < 0:
            return None
        infos = told(masks, 0, rewards[0])
        if self._same_step and begun:
            infos["final_info"], infos["_final_info"] = told(masks, 3, rewards[1]), masks[6]
            infos["final_obs"], infos["_final_obs"] = inner["final_obs"], masks[7]
        return paid, infos


def told(masks: Mask, row: int, rewards: NDArray[np.float64]) -> dict[str, Any]:
    """Return infos that hold what was seen and nothing else, from three rows of the masks."""
    # each by its index, which is quicker than a loop over rows
    return {
        "observed": masks[row],
        "_observed": masks[row + 1],
        "observed_reward": rewards,
        "_observed_reward": masks[row + 2],
    }


def shortcut(clock: OversightState, mode: AutoresetMode) -> Plain | None:
    """Return what takes plain steps quickly, or None where they are left to NumPy."""
    kernel = load()
    return None if kernel is None else Plain(kernel, clock, mode)
