"""The first stage of a run: a model trained on stories by the routes of a method.

What a run starts from: a task in the tokens of its model, and the model before training.

What a learner has: stories, and what it is told of them. The truth is not among it.

Which labels teach which parameters: the share of the gradient that each sends to each target.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm.config import UnlearnConfig
from lm.data.shards import open_shards
from lm.data.task import StoryRows, Texts, make_task
from lm.datasets import Documents, Stories, Subject, require_enough
from lm.labels import LabelConfig, classify_documents, story_labels
from lm.methods import METHODS, Method, begins_with, routed
from lm.models.files import load
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.hf_loading import load_pretrained, load_tokenizer
from lm.models.language_model import LanguageModel
from lm.models.layers import GPTConfig, size
from lm.stages import device, owned
from lm.training.batches import Batch, Rows
from lm.training.distributed import processes
from lm.training.loop import LoopConfig, Progress, train
from lm.training.route_tables import FORGET, RETAIN, UNROUTED
from oversight.routing import RouteTable, audit, routing
from oversight.runs.folder import as_read, read_json, write_json


def task_of(config: UnlearnConfig) -> Subject:
    """Return what a run is to unlearn, in the tokens of the pretrained model if there is one.

    Raises:
        ValueError: if a topic is unknown, the tokenizer cannot be loaded, or documents are too few
            or not prepared for it.
    """
    if config.data is not None:
        return _documents(config, config.data)
    if config.model is None:
        return Stories(**vars(make_task(config.task)))
    tokenizer = load_tokenizer(config.model, config.gguf_file)
    own = make_task(config.task, tokenizer.backend_tokenizer, tokenizer.eos_token_id)
    return Stories(**vars(own))


def _documents(config: UnlearnConfig, folder: Path) -> Documents:
    """Return prepared documents; a new model takes the tokenizer that they were prepared with."""
    manifest = open_shards(folder).manifest
    context = manifest.setting("context")
    if context is None:
        raise ValueError(
            f"{folder} was prepared without a cut, so that rows have no length: prepare it with a "
            "--context"
        )
    name = config.model or manifest.setting("tokenizer")
    file = config.gguf_file if config.model else manifest.setting("gguf_file")
    tokenizer = load_tokenizer(name, file)
    documents = Documents(open_shards(folder, tokenizer), tokenizer, context)
    require_enough(documents, config)
    return documents


def first_model(config: UnlearnConfig, name: str, task: Subject, seed: int) -> LanguageModel:
    """Return the model that a method trains: a new one, or a pretrained one with what it adds.

    Args:
        config: of the run.
        name: of the method.
        task: of the run.
        seed: of new weights. Those that a new model has without an expansion do not depend on it.

    Raises:
        ValueError: if the pretrained model cannot be loaded, or lacks the layers to add to.
    """
    method = METHODS[name]
    if config.model is None:
        return GPT(gpt_shape(config, task, method), seed)
    plain = load_pretrained(config.model, config.gguf_file).model
    if method.adapted:
        return RoutedCausalLM(plain, seed=seed, adapters=config.adapters)
    layers = range(plain.config.num_hidden_layers) if method.expanded else ()
    return RoutedCausalLM(plain, config.expansion if method.expanded else 0, layers, seed)


def gpt_shape(config: UnlearnConfig, task: Subject, method: Method) -> GPTConfig:
    """Return the shape of a method's own model for a task."""
    plain = replace(size(config.size, task.vocab_size), context=task.context)
    if not method.expanded:
        return plain
    layers = tuple(range(plain.num_layers))
    return replace(
        plain,
        expansion=config.expansion,
        expanded_layers=layers,
        added_embedding=method.embedded,
    )


STREAM = 1
"""Keeps the draw of stories apart from those of labels, exams and attacks, whatever the seed."""


@dataclass(frozen=True, eq=False)
class Material:
    """Stories to train on and others to choose by, and what each is taken for."""

    rows: Texts
    """to train on, the same for all methods with the same seed"""
    labels: Tensor
    """theirs, [n]: as given, or those that the classifier of the method predicts"""
    held: StoryRows
    """other stories, all taken for ones to retain"""

    @property
    def forget(self) -> Texts:
        """The stories to train on that are taken for ones to forget."""
        return self.rows.take(self.labels == FORGET)

    @property
    def kept(self) -> Texts:
        """Those that are taken for ones to retain."""
        return self.rows.take(self.labels == RETAIN)


def make_material(config: UnlearnConfig, task: Subject, name: str, seed: int) -> Material:
    """Return what a method learns from, stories drawn and labeled by the seed.

    Raises:
        ValueError: if there are too few stories for the labels.
    """
    method, count = METHODS[name], config.task.stories
    drawn = task.sample(count + config.repair.stories, [seed, STREAM])
    quality = LabelConfig() if method.uses_true_labels else config.labels
    labeled = story_labels(task, drawn, quality, seed)
    labels = torch.where(labeled, FORGET, task.retain_labels(drawn.topics))
    if method.classified:
        labels = classify_documents(drawn.read(), labeled, task.vocab_size, seed)
    ours = torch.arange(len(drawn)) < count
    held = drawn.take(~ours & (labels == RETAIN)).read()
    return Material(drawn.take(ours), labels[ours], held)


def gradient_shares(
    model: LanguageModel, table: RouteTable, batch: Batch
) -> dict[str, dict[str, float]]:
    """Return, for each label and target of parameters, its share of the gradient norms there.

    The routes that expand, route, ablate has for weights of tokens count as `forget`. No gradient
    is left behind.

    Args:
        model: as it was trained, before anything is cut out.
        table: of its method.
        batch: on the model's device, its routes made for the table.
    """
    with torch.enable_grad(), routing(model, table, batch.route):
        losses = model.token_losses(batch.inputs, batch.targets)
        norms = audit(losses, model.parameter_targets(), UNROUTED, _labels(batch.route))
    total = {
        target: sum(sent[target] for sent in norms.values()) for target in model.parameter_targets()
    }
    return {
        label: {target: norm / total[target] if total[target] else 0.0 for target, norm in row}
        for label, row in ((label, sent.items()) for label, sent in norms.items())
    }


def _labels(route: Tensor) -> Tensor:
    """Return the label that each route stands for: they come first, and the rest are of forget."""
    return route.clamp(max=FORGET)


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
        return gradient_shares(model, self.method.table.to(here.inputs.device), here)

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
    told["held"] = config.repair.stories  # stories are drawn, and classified, together with them
    if METHODS[name].expanded:
        told["expansion"] = config.expansion
    if METHODS[name].table != UNROUTED:
        told["labels"] = asdict(config.labels)
    return as_read(told)
