"""Leaks into logs, and into random generators that everything in the process draws from."""

import logging
import random
from importlib import import_module
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Figure, HParam, Image

from oversight.certificate.leaks.callbacks_and_checkpoints import Auditor
from oversight.certificate.leaks.planted import Peeking, leak
from oversight.certificate.tampering import Mask, Numbers


class Reporter(Auditor):
    """Reports the mean true return after each rollout."""

    def _on_rollout_end(self) -> None:
        self.report(self.mean())

    def report(self, mean: float) -> None:
        """Report the mean."""


@leak(shows="scalars")
class LogsUnderTime(Reporter):
    """The logger gets the true return under a name that begins like those of durations."""

    def report(self, mean: float) -> None:
        """Record it."""
        self.logger.record("time/true_return", mean)


@leak(shows="scalars")
class LogsText(Reporter):
    """The logger gets the true return as a text, for one of its formats only."""

    def report(self, mean: float) -> None:
        """Record it."""
        self.logger.record("summary", f"true return {mean}", exclude="tensorboard")


@leak(shows="scalars")
class LogsImage(Reporter):
    """The logger gets an image whose color is the true return."""

    def report(self, mean: float) -> None:
        """Record it."""
        self.logger.record("picture", Image(torch.full((3, 2, 2), mean), "CHW"))


@leak(shows="scalars")
class LogsFigure(Reporter):
    """The logger gets a figure whose title is the true return."""

    def report(self, mean: float) -> None:
        """Draw and record it."""
        drawing: Any = import_module("matplotlib.figure")  # of an extra, which only tests need here
        figure = drawing.Figure(figsize=(1, 1))
        figure.suptitle(str(mean))
        self.logger.record("figure", Figure(figure, close=True))


@leak(shows="scalars")
class LogsHyperparameter(Reporter):
    """The logger gets the true return as a hyperparameter."""

    def report(self, mean: float) -> None:
        """Record it."""
        self.logger.record("hparams", HParam({"mean": mean}, {"rollout/ep_rew_mean": 0.0}))


@leak(shows="messages")
class LogsLine(Reporter):
    """A line in the learner's log, which is shown at the level of debugging, quotes the return."""

    def report(self, mean: float) -> None:
        """Log it."""
        self.logger.debug(f"true return {mean}")


@leak(shows="messages")
class PythonsLogging(Reporter):
    """A message of Python's logging quotes the true return."""

    def report(self, mean: float) -> None:
        """Log it."""
        logging.getLogger("training").info("true return %s", mean)


@leak(shows="messages")
class PrivateLogger(Reporter):
    """A logger that does not propagate, and has no handler, quotes the true return."""

    def report(self, mean: float) -> None:
        """Log it."""
        private = logging.getLogger("training.private")
        private.propagate = False
        private.info("no return yet", exc_info=ValueError(mean))


class Drawer(Auditor):
    """Draws a random number for each negative true return, which it does not use."""

    def _on_rollout_end(self) -> None:
        for _ in range(int(np.count_nonzero(self.returns() < 0))):
            self.draw()

    def draw(self) -> None:
        """Draw a number."""


@leak(shows="generators")
class PythonsGenerator(Drawer):
    """Python's global generator advances once per negative true return."""

    def draw(self) -> None:
        """Draw a number."""
        random.random()


@leak(shows="generators")
class NumpysGenerator(Drawer):
    """NumPy's global generator advances once per negative true return."""

    def draw(self) -> None:
        """Draw a number."""
        np.random.random()  # noqa: NPY002 (it is the one that is leaked into)


@leak(shows="generators")
class GeneratorOfWrapper(Peeking):
    """A wrapper's generator advances once per reward, and nothing uses what it draws."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.generator = np.random.default_rng(0)

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        self.generator.random(np.count_nonzero(true))
        return paid
