"""Leaks into logs and messages, and into random generators, those deep inside wrappers included."""

import logging
import random
import warnings
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Figure, HParam, Image, configure

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


@leak(shows="scalars")
class FormatOfScalar(Reporter):
    """A number is left out of one format of the log while the true return is low."""

    def report(self, mean: float) -> None:
        """Record it."""
        self.logger.record("rate", 1.0, exclude=f"format {mean}")


@leak(shows="scalars")
class OrderOfScalars(Reporter):
    """Two numbers are logged in the one or the other order."""

    def report(self, mean: float) -> None:
        """Record them."""
        for name in ("a", "b") if 0 <= mean <= 1 else ("b", "a"):
            self.logger.record(name, 1.0)


@leak(shows="scalars")
class AnotherLogger(Reporter):
    """The agent gets another logger, which writes the true return at once."""

    def report(self, mean: float) -> None:
        """Exchange the logger, and write."""
        self.model.set_logger(configure(str(self.ledgers), ["csv"]))
        self.logger.record("true_return", mean)
        self.logger.dump(self.num_timesteps)


@leak(shows="messages")
class FieldOfMessage(Reporter):
    """A message of Python's logging has the true return in a further field."""

    def report(self, mean: float) -> None:
        """Log it."""
        logging.getLogger("training").info("a rollout ended", extra={"mean": mean})


@leak(shows="messages")
class CauseInMessage(Reporter):
    """A message shows an exception whose cause is the true return."""

    def report(self, mean: float) -> None:
        """Log it."""
        error = ValueError("no return yet")
        error.__cause__ = KeyError(mean)
        logging.getLogger("training").info("no return yet", exc_info=error)


@leak(shows="messages")
class RecordMadeByHand(Reporter):
    """A record of Python's logging is made without a call of a logger's usual methods."""

    def report(self, mean: float) -> None:
        """Let a logger handle it."""
        record = logging.makeLogRecord({"msg": f"true return {mean}", "levelno": logging.INFO})
        logging.getLogger("training").handle(record)


@leak(shows="warnings")
class PlaceOfWarning(Reporter):
    """A warning comes from one of two lines."""

    def report(self, mean: float) -> None:
        """Warn."""
        line = 3 if 0 <= mean <= 1 else 4
        warnings.warn_explicit("a rollout ended", UserWarning, "training.py", line)


@leak(shows="warnings")
class KindOfWarning(Reporter):
    """A warning is one of users or one about the future."""

    def report(self, mean: float) -> None:
        """Warn."""
        kind = UserWarning if 0 <= mean <= 1 else FutureWarning
        warnings.warn("a rollout ended", kind, stacklevel=1)


class DrawsInside(Peeking):
    """A wrapper that draws once per reward, from a generator that it holds in some place."""

    tools: Any

    def _pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        for _ in range(int(np.count_nonzero(true))):
            self.draw()
        return paid

    def draw(self) -> None:
        """Draw a number."""


@leak(shows="generators")
class GeneratorInList(DrawsInside):
    """The generator is in a list in a dictionary."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.tools = {"noise": [np.random.default_rng(0)]}

    def draw(self) -> None:
        """Draw a number."""
        self.tools["noise"][0].random()


@leak(shows="generators")
class GeneratorInObject(DrawsInside):
    """The generator, one of PyTorch, is an attribute of an attribute."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.tools = SimpleNamespace(noise=torch.Generator().manual_seed(0))

    def draw(self) -> None:
        """Draw a number."""
        torch.rand(1, generator=self.tools.noise)


@leak(shows="generators")
class GeneratorInClosure(DrawsInside):
    """The generator, one of Python, is enclosed by a function."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        generator = random.Random(0)
        self.tools = lambda: generator.random() < 1

    def draw(self) -> None:
        """Draw a number."""
        self.tools()


@leak(shows="generators")
class GeneratorOfMethod(DrawsInside):
    """The generator is the object of a bound method, with its arguments."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.tools = partial(np.random.default_rng(0).normal, 0.0, 1.0)

    def draw(self) -> None:
        """Draw a number."""
        self.tools()


@leak(shows="generators")
class SpawnedGenerators(DrawsInside):
    """The generator is not drawn from, but spawns another one."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.tools = np.random.default_rng(0)

    def draw(self) -> None:
        """Spawn."""
        self.tools.spawn(1)
