"""Checkpoints between rollouts, and a clean stop where one is asked for."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from agents import RoutedPPO
from agents.checkpoint import State, training_state, write_state


class Checkpoints(BaseCallback):
    """Writes the training state every few rollouts, and when the run is interrupted.

    Between rollouts the state is complete, so that a run that goes on from it is bit for bit the
    uninterrupted one. The first interrupt waits for such a moment; the second one does not.

    Args:
        path: where the state goes.
        every: rollouts between checkpoints.
        beside: returns what else is kept in the state, beside the agent's.
    """

    def __init__(self, path: Path, every: int, beside: Callable[[], State]) -> None:
        super().__init__()
        self.path, self.every, self.beside = path, every, beside
        self.rollouts = 0
        self.interrupted = False
        self.handlers: dict[signal.Signals, Any] = {}

    def _on_training_start(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self.handlers = {
                number: signal.signal(number, self._interrupt)
                for number in (signal.SIGINT, signal.SIGTERM)
            }

    def _on_rollout_start(self) -> None:
        if self.interrupted or (self.rollouts and self.rollouts % self.every == 0):
            self.write()
        if self.interrupted:
            raise KeyboardInterrupt
        self.rollouts += 1

    def _on_step(self) -> bool:
        return True

    def write(self) -> None:
        """Write the state; only between rollouts."""
        assert isinstance(self.model, RoutedPPO)
        write_state({"agent": training_state(self.model), **self.beside()}, self.path)

    def restore_signals(self) -> None:
        """Give interrupts back to whoever had them before."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> Any:  # noqa: ANN401
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
