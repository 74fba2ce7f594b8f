"""Trainings in two steps: on the core alone, then on topics, beside the core or in a copy.

The first step is that of `filtered`, whose finished model is reused if a run of the same study has
it. `lm.training.branches` describes the second.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from lm.config import RunConfig
from lm.labels import Routed
from lm.models import files
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM, contract
from lm.models.language_model import LanguageModel
from lm.pretraining import NOTES, Training, gpt_shape, with_gates
from lm.stages import owned
from lm.task import UnlearningTask
from lm.training.branches import draw_branches
from lm.training.log import Report
from lm.training.route_tables import FORGET, RETAIN
from lm.training_data import TrainingData
from oversight.runs.folder import as_read, read_json

WEIGHTS = "trained.safetensors"
"""File of a trained model in the folder of its run."""
CORE_METHOD, CORE = "filtered", "core"
"""The method of the first step, and the folder of its training within that of the run."""
CORE_DONE = 0.5
"""Share of the training that is done after the first step."""


def make_training(
    config: RunConfig, task: UnlearningTask, name: str, seed: int, data: TrainingData
) -> Training:
    """Return the training of a method, in one step or in two; the arguments are those of both."""
    training = Training(config, task, name, seed, data)
    if not training.method.has_branches:
        return training
    return BranchTraining(config, task, name, seed, data)


def finished_training(training: Training, other: str, folder: Path) -> Path | None:
    """Return the folder of another method's run in the same study, if its training is the same.

    In a sweep, runs of the other method may differ in settings on which this training depends, or
    there may be one alone.

    Args:
        training: the training that is asked for.
        other: name of the other method.
        folder: folder of a run, whose name begins with that of its method.
    """
    for found in sorted(folder.parent.glob(f"{other}*-seed{training.seed}")):
        notes = found / NOTES
        if not notes.exists() or read_json(notes).get("identity") != training.identity:
            continue
        if owned(found / WEIGHTS):
            return found
    return None


class BranchTraining(Training):
    """A training on the core, followed by one on topics.

    Args:
        config: settings that all methods share.
        task: task of the run.
        name: name of a method with branches.
        seed: seed of weights, of the order of texts, and of the texts that rehearse the core.
        data: texts to train on, with a label for each topic.
    """

    def __init__(
        self, config: RunConfig, task: UnlearningTask, name: str, seed: int, data: TrainingData
    ) -> None:
        super().__init__(config, task, name, seed, data)
        topics, method = config.topics, self.method
        whole = replace(data, labels=data.labels.clamp(max=FORGET))
        self.core = Training(config, task, CORE_METHOD, seed, whole)
        learned = [topics.index(topic) for topic in method.kept or topics]
        places, routes = draw_branches(data.labels, len(topics), learned, config.branch, seed)
        if method.branch == "copy":
            routes = torch.full_like(routes, RETAIN)
        self.texts = Routed(data.texts.take(places), routes)
        self.loop = replace(
            config.loop,
            steps=config.branch.steps * len(learned),
            learning_rate=config.branch.learning_rate,
            warmup=config.branch.warmup,
        )

    def run(self, folder: Path, report: Report) -> LanguageModel:
        """Return the trained model; training resumes from the folder's checkpoints.

        All processes must call this together.
        """
        found = finished_training(self.core, CORE_METHOD, folder)
        if found is not None:
            core, notes = files.load(found / WEIGHTS), found / NOTES
        else:
            (folder / CORE).mkdir(exist_ok=True)
            core = self.core.run(folder / CORE, lambda share: report(CORE_DONE * share))
            notes = folder / CORE / NOTES
        before = float(read_json(notes)["seconds"]) if notes.exists() else 0.0

        def progress(share: float) -> None:
            report(CORE_DONE + (1 - CORE_DONE) * share)

        return self.fit(self.branched(core), folder, progress, before)

    def branched(self, core: LanguageModel) -> LanguageModel:
        """Return a copy of a trained core, with a module for each topic if the method has some."""
        config, method = self.config, self.method
        if method.branch == "copy":
            return core.copied()
        if isinstance(core, RoutedCausalLM):
            modules = method.module_names(config.topics)
            return with_gates(contract(core), config.expansion, self.seed, modules)
        shape = gpt_shape(config, method, self.task.vocab_size, self.task.context)
        made = GPT(shape, self.seed)
        made.load_state_dict(made.state_dict() | core.cpu().state_dict())
        return made

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that determine the trained weights, as JSON restores them."""
        return super().identity | {"branch": as_read(asdict(self.config.branch))}
