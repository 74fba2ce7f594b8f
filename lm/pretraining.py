"""Training, the first stage of a run: the task, the first model and the loop."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lm.config import RunConfig
from lm.data.document import marks
from lm.data.shards import open_shards
from lm.data.task import Texts, make_task
from lm.evaluation.topic_exam import TopicExam, make_topic_exam, section_losses
from lm.labels import Routed, given_retain_labels
from lm.methods import BASE, Method, method_of, routed
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.hf_loading import load_pretrained, load_tokenizer
from lm.models.language_model import LanguageModel
from lm.models.layers import silence_modules
from lm.models.shapes import EXPANSION, GPTConfig, size
from lm.relearning import relearning_of
from lm.task import (
    DocumentTask,
    StoryTask,
    UnlearningTask,
    questions_of,
    require_enough_documents,
)
from lm.training.assignment import AssignedBatches
from lm.training.batches import Batch, Batches, Rows
from lm.training.distributed import processes
from lm.training.gradient_audit import gradient_norms, gradient_shares
from lm.training.log import Log, Report, Validate
from lm.training.loop import Progress, train
from lm.training.profiles import draw_routes
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from lm.training_data import TrainingData, drawn_texts
from oversight.runs.folder import as_read, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def default_device() -> torch.device:
    """Return the device of a run: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_task(config: RunConfig) -> UnlearningTask:
    """Return the task of a run, in the tokens of the pretrained model if there is one.

    Raises:
        ValueError: if a topic is unknown, the tokenizer cannot be loaded, or documents are too few
            or not prepared for it.
    """
    if config.data is not None:
        return _documents(config, config.data)
    if config.model is None:
        return StoryTask(**vars(make_task(config.task)))
    tokenizer = load_tokenizer(config.model, config.gguf_file)
    around = marks(tokenizer)
    own = make_task(config.task, tokenizer.backend_tokenizer, around.end, around.start)
    return StoryTask(**vars(own))


def _documents(config: RunConfig, folder: Path) -> DocumentTask:
    """Return prepared documents; a new model uses the tokenizer of their preparation."""
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
    documents = DocumentTask(
        open_shards(folder, tokenizer),
        tokenizer,
        context,
        questions_of(config.texts),
        relearning_of(config.texts),
    )
    require_enough_documents(documents, config)
    return documents


def require_fitting_models(
    config: RunConfig, task: UnlearningTask, names: Sequence[str], seed: int
) -> None:
    """Raise a ValueError if methods cannot be trained with the model of a run.

    A pretrained model is loaded for it, so that incomplete weights are refused as well.

    Args:
        config: settings of the run.
        task: its task.
        names: names of the methods.
        seed: seed of new weights.
    """
    if config.model is None:
        new = size(config.size)
        layers, features = new.num_layers, new.width
    else:
        plain = load_pretrained(config.model, config.gguf_file).model
        if max(task.start, task.end) >= plain.get_input_embeddings().num_embeddings:
            raise ValueError(
                f"{config.model} has no embedding of the tokens {', '.join(task.around)} that "
                "stand around texts: load a model with the tokenizer it was trained with"
            )
        expanded = any(method_of(name).kind == "units" for name in names)
        model = with_gates(plain, config.expansion if expanded else None, seed)
        layers, features = len(model.layers()), min(model.down_proj(0).shape)
        if config.data is None:
            drawn_texts(config, task, seed)  # refuses stories that are longer than the context
        if model.context < task.context:
            raise ValueError(
                f"{config.model} reads {model.context} tokens at most, and texts have up to "
                f"{task.context}: give a model with a longer context, or documents prepared with a "
                "shorter --context"
            )
        if isinstance(task, DocumentTask) and model.context < task.longest:
            raise ValueError(
                f"{config.model} reads {model.context} tokens at most, and a question with its "
                f"choice has {task.longest}: leave long questions out"
            )
    for after in (method_of(name).posthoc for name in names):
        if after is not None:
            config.posthoc.method(after).require_fit(layers, features)


def first_model(config: RunConfig, name: str, task: UnlearningTask, seed: int) -> LanguageModel:
    """Return the model before training: a new one, or a pretrained one with the method's additions.

    Args:
        config: settings of the run.
        name: name of the method.
        task: task of the run.
        seed: seed of new weights. An expansion does not change the weights outside of it.

    Raises:
        ValueError: if the pretrained model cannot be loaded, or has no layers to expand.
    """
    method = method_of(name)
    if config.model is None:
        return GPT(gpt_shape(config, method, task.vocab_size, task.context), seed)
    plain = load_pretrained(config.model, config.gguf_file).model
    names, added = method.module_names(config.topics), method.modules
    if added is None or added.kind != "adapters":
        return with_gates(plain, None if added is None else config.expansion, seed, names)
    model = RoutedCausalLM(plain, seed=seed, adapters=config.adapters, modules=names)
    if added.only_adapters:
        model.freeze_outside_blocks()
    return model


def with_gates(
    plain: "PreTrainedModel", units: int | None, seed: int, modules: Sequence[str] = (EXPANSION,)
) -> RoutedCausalLM:
    """Insert gates into a plain model, and add hidden units to every layer if they are given."""
    if units is None:
        return RoutedCausalLM(plain)
    layers = range(plain.config.num_hidden_layers)
    return RoutedCausalLM(plain, units, layers, seed, modules=modules)


def gpt_shape(config: RunConfig, method: Method, vocab_size: int | None, context: int) -> GPTConfig:
    """Return the shape of a method's new model; by default with the vocabulary of its size."""
    plain = replace(size(config.size, vocab_size), context=context)
    added = method.modules
    if added is None or added.kind == "adapters":
        return plain
    names, experts = method.module_names(config.topics), added.kind == "experts"
    return replace(
        plain,
        expansion=plain.hidden if experts else config.expansion,
        expanded_layers=tuple(range(plain.num_layers)),
        added_embedding=added.embedded,
        modules=names,
        expert_weights=(1.0,) * len(names) if experts else (),
    )


def topic_exam(config: RunConfig, task: UnlearningTask, seed: int) -> TopicExam:
    """Return the exam of profiles, which the seed determines."""
    assert isinstance(task, StoryTask)  # other settings are refused
    return make_topic_exam(task, seed, config.exam)


AUDITED = 128
"""Number of texts on which shares of gradients are measured, unless a pretrained model is trained:
its activations are large, and a batch of training is used."""
CHECKPOINT, LABELER, NOTES = "training.pt", "labeler.pt", "training.json"


class Training:
    """The training of a method in a run.

    Args:
        config: settings that all methods share.
        task: task of the run.
        name: name of the method.
        seed: seed of the first weights and of the order of texts. Both are the same for all
            methods, except for the weights of an expansion.
        data: texts to train on, with their labels.
    """

    def __init__(
        self, config: RunConfig, task: UnlearningTask, name: str, seed: int, data: TrainingData
    ) -> None:
        self.config, self.task, self.name, self.seed = config, task, name, seed
        self.method = method_of(name)
        self.table = self.method.route_table(config.topics)
        labels = data.labels
        if self.method.labels.retain_missing:
            labels = given_retain_labels(task, data.texts, labels, config.labels, seed)
        if self.method.draws_routes or self.method.labeler:
            routes = draw_routes(labels, len(config.topics), config.gram, seed)
        if self.method.labeler:
            self.labeled = self._routed(data.texts, routes, labels != UNLABELED)
        if self.method.draws_routes:
            labels = routes
        elif self.method.labeler:
            labels = labels.clamp(max=FORGET)  # the topics are for the labeler
        read = labels == RETAIN if self.method.labels.fills_batches else None
        self.texts = self._routed(data.texts, labels, read)
        self.loop = config.loop

    def _routed(self, texts: Texts, labels: Tensor, chosen: Tensor | None = None) -> Routed:
        """Return texts with their routes: all of them, or those that are chosen, [n] bool."""
        if chosen is not None:
            texts, labels = texts.take(chosen), labels[chosen]
        return routed(self.method, texts, labels, self.task.vocab_size, self.seed)

    def run(self, folder: Path, report: Report) -> LanguageModel:
        """Return the trained model; training resumes from the folder's checkpoint.

        All processes must call this together.
        """
        model = first_model(self.config, self.name, self.task, self.seed)
        return self.fit(model, folder, report)

    def fit(
        self, model: LanguageModel, folder: Path, report: Report, before: float = 0.0
    ) -> LanguageModel:
        """Return a model after training; `before` are the seconds that its first weights took."""
        model = model.to(default_device())
        started, loop, first = time.perf_counter(), self.loop, self.labeler_steps
        share = first / (first + loop.steps) if first else 0.0  # of all steps, those of the labeler
        batches = self._batches(folder, lambda done: report(share * done))
        if self.method.labeler:
            before += time.perf_counter() - started
        if self.method.draws_routes and self.config.gram.silence:
            silence_modules(model, self.config.gram.silence)
        if processes().rank:  # only rank 0 writes notes
            train(model, self.table, batches, loop, folder / CHECKPOINT)
            return model
        if before and not (folder / NOTES).exists():
            write_json(folder / NOTES, {"identity": self.identity, "seconds": before})

        def after_labeler(done: float) -> None:
            report(share + (1 - share) * done)

        log = Log(folder / NOTES, loop, self.identity, after_labeler, self._validation_of(model))
        train(model, self.table, batches, loop, folder / CHECKPOINT, log)
        log.write()
        return model

    @property
    def labeler_steps(self) -> int:
        """Number of steps of the labeler; 0 if the method has none."""
        return self.config.assignment.labeler_steps(self.loop.steps) if self.method.labeler else 0

    def _batches(self, folder: Path, report: Report) -> Batches:
        """Return the batches to train on; a labeler trains first, if the method has one.

        `report` is called with the share of the labeler's training that is done.
        """
        batches, name = Rows(self.texts, self.config.batch_size, self.seed), self.method.labeler
        if name is None:
            return batches
        settings, table = self.config.assignment, method_of(name).route_table(self.config.topics)
        labeler = first_model(self.config, name, self.task, self.seed).to(default_device())
        known = Rows(self.labeled, self.config.batch_size, self.seed)
        loop = replace(self.loop, steps=self.labeler_steps, audit=False)

        def reported(progress: Progress) -> None:
            report((progress.step + 1) / loop.steps)

        train(labeler, table, known, loop, folder / LABELER, reported)
        return AssignedBatches(batches, labeler, table, settings, topics=self.method.per_topic)

    def _validation_of(self, model: LanguageModel) -> Validate | None:
        """Return what notes the validation curve of the baseline, if profiles are to be examined.

        The curve has the stories on which profiles are examined, so that both err alike.
        """
        if not self.config.profiles or self.name != BASE:
            return None
        exam = topic_exam(self.config, self.task, self.seed)
        return lambda: section_losses(model, exam)

    def gradient_shares(self, model: LanguageModel) -> dict[str, dict[str, float]]:
        """Return the share of each label in the gradient of each target, on some of the texts."""
        batch = self.audited(model.device)
        return gradient_shares(model, self.table.to(model.device), batch)

    def gradient_norms(self, model: LanguageModel) -> dict[str, dict[str, float]]:
        """Return the gradient of each label at each target, on some of the texts."""
        return gradient_norms(model, self.table.to(model.device), self.audited(model.device))

    def audited(self, device: torch.device) -> Batch:
        """Return the texts on which gradients are measured."""
        most = AUDITED if self.config.model is None else self.config.batch_size
        batch = Rows(self.texts, min(most, len(self.texts)), self.seed)(0)
        return batch.to(device)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that determine the trained weights, as JSON restores them."""
        config = self.config
        found: dict[str, Any] = {
            "task": asdict(config.task),
            "loop": config.loop.identity,
            # held-out texts are drawn, and classified, together with the training texts
            "held_out": config.repair.stories,
            "seed": self.seed,
        }
        names = ["model", "gguf_file", "size", "batch_size"]
        names += [] if config.texts.forget else ["data"]
        found |= {name: getattr(config, name) for name in names}
        if self.method.uses_expansion:
            found["expansion"] = config.expansion
        if self.method.routes:
            found["labels"] = asdict(config.labels)
        if self.method.draws_routes or self.method.labeler:
            found["gram"] = asdict(config.gram)
        if self.method.labeler:
            found["assignment"] = asdict(config.assignment)
        if self.method.kept:
            found["kept"] = self.method.kept
        return {**as_read(found), **self.task.identity}
