"""The notes of a training: losses, speed, shares of gradients, and a validation curve."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lm.training.loop import LoopConfig, Progress
from oversight.runs.folder import read_json, write_json

LOG_EVERY = 20
"""Steps between points of the curve of the loss."""

Report = Callable[[float], None]
"""Called with the share of training that is done."""

VALIDATIONS = 24
"""Number of points of a validation curve."""


def validation_steps(steps: int, count: int = VALIDATIONS) -> tuple[int, ...]:
    """Return the numbers of finished steps after which to validate, more densely early.

    >>> validation_steps(100, count=6)
    (0, 4, 16, 36, 64, 100)
    """
    return tuple(sorted({round(steps * (k / (count - 1)) ** 2) for k in range(count)}))


Validate = Callable[[], Mapping[str, float]]
"""Returns losses of the model in training by section, and leaves it unchanged."""


class Log:
    """Collects the metrics of training, and writes them whenever a checkpoint is written.

    Args:
        path: path of the notes. Existing notes of the same run are continued.
        loop: settings of the training loop.
        identity: settings that determine the trained weights.
        report: is called with the share of training that is done.
        validate: measures the model for a validation curve, which also has the model as given.

    Raises:
        ValueError: if the notes are damaged or belong to a run with other settings or another seed.
    """

    def __init__(
        self,
        path: Path,
        loop: LoopConfig,
        identity: dict[str, Any],
        report: Report,
        validate: Validate | None = None,
    ) -> None:
        self.path, self.loop, self.identity, self.report = path, loop, identity, report
        self.validate = validate
        new: dict[str, Any] = {"identity": self.identity}
        notes = read_json(path) if path.exists() else new
        if notes.get("identity") != self.identity:
            raise ValueError(f"{path} belongs to another run: remove it to note training anew")
        self.loss = {int(step): loss for step, loss in notes.get("loss", [])}
        self.speed = notes.get("tokens_per_second")
        self.validation: dict[str, dict[int, float]] = {
            section: {int(step): loss for step, loss in curve}
            for section, curve in notes.get("validation", {}).items()
        }
        self.gradient_shares: dict[str, dict[int, float]] = {
            name: {int(step): share for step, share in curve}
            for name, curve in notes.get("gradient_shares", {}).items()
        }
        self.before, self.started = float(notes.get("seconds", 0)), time.perf_counter()
        if not self.validation:
            self._validate(0)

    def __call__(self, progress: Progress) -> None:
        """Add a step."""
        done = progress.step + 1
        if progress.step % LOG_EVERY == 0 or done == self.loop.steps:
            self.loss[progress.step] = float(progress.loss)
            self.report(done / self.loop.steps)
        for label, row in (progress.gradient_shares or {}).items():
            for target, share in row.items():
                curve = self.gradient_shares.setdefault(f"gradient_share_{target}/{label}", {})
                curve[progress.step] = share
        self.speed = progress.tokens_per_second
        self._validate(done)
        if done % self.loop.checkpoint_every == 0 or done == self.loop.steps:
            self.write()

    def write(self) -> None:
        """Write the notes."""
        notes: dict[str, Any] = {
            "seconds": self.before + time.perf_counter() - self.started,
            "tokens_per_second": self.speed,
            "loss": sorted(self.loss.items()),
            "identity": self.identity,
        }
        for name in ("validation", "gradient_shares"):
            curves: Mapping[str, Mapping[int, float]] = getattr(self, name)
            if curves:
                notes[name] = {each: sorted(curve.items()) for each, curve in curves.items()}
        write_json(self.path, notes)

    def _validate(self, done: int) -> None:
        """Add a point to the validation curve, if one is due after `done` steps."""
        if self.validate is None or done not in validation_steps(self.loop.steps):
            return
        for section, loss in self.validate().items():
            self.validation.setdefault(section, {})[done] = loss
