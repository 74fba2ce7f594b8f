"""The first stage of a run: a model trained on stories by the routes of a method."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm.experiment.config import UnlearnConfig
from lm.experiment.gradients import gradient_shares
from lm.experiment.material import Material
from lm.experiment.models import load
from lm.experiment.stages import device, owned
from lm.experiment.start import first_model
from lm.experiment.subject import Subject
from lm.methods import METHODS, begins_with, routed
from lm.model.language_model import LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.loop import LoopConfig, Progress, train
from lm.training.processes import processes
from lm.training.routes import UNROUTED
from oversight.record import as_read, read_json, write_json

NOTED_EVERY = 20
"""Steps between points of the curve of the loss."""
AUDITED = 128
"""Stories on which it is told which labels teach which parameters; a batch of a pretrained model,
whose activations are large."""
CHECKPOINT, NOTES, TRAINED = "training.pt", "training.json", "trained.safetensors"

Report = Callable[[float], None]
"""Called with the share of training that is done."""


class Log:
    """Notes losses and speed of training, and writes them where checkpoints are written.

    Args:
        path: of the notes; those of an earlier process are gone on with.
        loop: how the run trains.
        identity: what the trained weights depend on.
        report: told the share that is done.

    Raises:
        ValueError: if the notes are damaged, or of other settings or another seed.
    """

    def __init__(
        self, path: Path, loop: LoopConfig, identity: dict[str, Any], report: Report
    ) -> None:
        self.path, self.loop, self.identity, self.report = path, loop, identity, report
        new: dict[str, Any] = {"identity": self.identity}
        notes = read_json(path) if path.exists() else new
        if notes.get("identity") != self.identity:
            raise ValueError(f"{path} belongs to another run: remove it to note training anew")
        self.loss = {int(step): loss for step, loss in notes.get("loss", [])}
        self.speed = notes.get("tokens_per_second")
        self.before, self.started = float(notes.get("seconds", 0)), time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        """Note a step."""
        done = progress.step + 1
        if progress.step % NOTED_EVERY == 0 or done == self.loop.steps:
            self.loss[progress.step] = float(progress.loss)
            self.report(done / self.loop.steps)
        self.speed = progress.tokens_per_second
        if done % self.loop.checkpoint_every == 0 or done == self.loop.steps:
            self.write()

    def write(self) -> None:
        """Write the notes as they are."""
        notes = {
            "seconds": self.before + time.perf_counter() - self.started,
            "tokens_per_second": self.speed,
            "loss": sorted(self.loss.items()),
            "identity": self.identity,
        }
        write_json(self.path, notes)


class Training:
    """What a method trains on, and how.

    Args:
        config: what methods have in common.
        task: whose stories they are.
        name: of the method.
        seed: of the first weights, without the expansion the same for all methods, and of the
            order of stories, which is the same for all too.
        material: what the method learns from.
    """

    def __init__(
        self, config: UnlearnConfig, task: Subject, name: str, seed: int, material: Material
    ) -> None:
        self.config, self.task, self.name, self.seed = config, task, name, seed
        self.method = METHODS[name]
        self.texts = routed(self.method, material.rows, material.labels, task.vocab_size, seed)

    def run(self, folder: Path, report: Report) -> LanguageModel:
        """Return the trained model; training goes on from the folder's checkpoint.

        All processes call.
        """
        if (found := self._taken_over(folder)) is not None:
            return found
        model = first_model(self.config, self.name, self.task, self.seed).to(device())
        batches = Rows(self.texts, self.config.batch_size, self.seed)
        loop = self.config.loop
        if processes().rank:  # the first process notes what all do
            train(model, self.method.table, batches, loop, folder / CHECKPOINT)
            return model
        log = Log(folder / NOTES, loop, self._identity, report)
        train(model, self.method.table, batches, loop, folder / CHECKPOINT, log)
        log.write()
        return model

    def gradient_shares(self, model: LanguageModel) -> dict[str, dict[str, float]]:
        """Return which labels teach which parameters, on some of the stories."""
        most = AUDITED if self.config.model is None else self.config.batch_size
        count = min(most, len(self.texts))
        batch = Rows(self.texts, count, self.seed)(0)
        here = Batch(*(part.to(model.device) for part in batch))
        return gradient_shares(model, self.method.table.to(here.now.device), here)

    @property
    def _identity(self) -> dict[str, Any]:
        return {**identity(self.config, self.name, self.seed), **self.task.identity}

    def _taken_over(self, folder: Path) -> LanguageModel | None:
        """Return the trained model of a run beside this one, and take over its notes.

        None if no method trains alike, its run is not finished, or it is of other settings, or its
        file of another run.
        """
        other = begins_with(self.name)
        if other is None:
            return None
        # a sweep over labels runs the unrouted model once, at all labels
        for name in (folder.name.replace(self.name, other, 1), f"{other}-seed{self.seed}"):
            weights, notes = (folder.parent / name / file for file in (TRAINED, NOTES))
            if not owned(weights) or not notes.exists():
                continue
            found = read_json(notes)
            if found.get("identity") == self._identity:
                if processes().rank == 0:
                    write_json(folder / NOTES, found)
                return load(weights)
        return None


def identity(config: UnlearnConfig, name: str, seed: int) -> dict[str, Any]:
    """Return what the trained weights of a method depend on beside itself, as JSON has it."""
    told: dict[str, Any] = {"task": asdict(config.task), "loop": config.loop.identity}
    told |= {"model": config.model, "gguf_file": config.gguf_file, "size": config.size}
    told |= {"batch_size": config.batch_size, "data": config.data, "seed": seed}
    told["held"] = config.repair.stories  # stories are drawn, and judged, together with them
    if METHODS[name].expanded:
        told["expansion"] = config.expansion
    if METHODS[name].table != UNROUTED:
        told["labels"] = asdict(config.labels)
    return as_read(told)
