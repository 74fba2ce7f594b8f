"""One run of a method: train, ablate, repair, examine before and after, attack, and write a result.

Each stage is a file in the run's folder (`lm.stages`). A finished stage is read and not repeated,
so that an interrupted run resumes and ends with bit-identical weights.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from math import isfinite
from pathlib import Path
from shutil import rmtree
from typing import Any

from lm.attacks.relearning import ATTACKS, Measure, run_attack
from lm.attacks.results import curve_from_json, rows_of
from lm.attacks.suite import RELEARNING, SUITES
from lm.branching import CORE, CORE_METHOD, WEIGHTS, finished_training, make_training
from lm.config import RunConfig
from lm.evaluation.exam import Exam, examine, examine_calibrated, examine_section
from lm.evaluation.likelihoods import losses
from lm.labels import Unit
from lm.methods import METHODS, begins_with, method_of
from lm.models import files
from lm.models.gpt import ablate_random
from lm.models.hf import RoutedCausalLM, contract
from lm.models.hf_loading import load_tokenizer, save_pretrained
from lm.models.language_model import LanguageModel
from lm.pretraining import CHECKPOINT, LABELER, NOTES, Training, default_device, topic_exam
from lm.repair import repair
from lm.serving import Elicitation, Served, examine_profiles, served
from lm.stages import RESULT, Stages
from lm.task import StoryTask, UnlearningTask, sample_texts
from lm.training.distributed import broadcast, processes
from lm.training.log import Report
from lm.training_data import TrainingData, make_training_data
from oversight.runs.folder import read_json, write_json

PLAIN = "plain"
"""Folder, within that of the run, of a model that transformers loads without our code."""

BEFORE = {"ablated": "trained", "model": "ablated"}
"""The stage before each stage that changes the trained model."""

Progress = Callable[[str, float], None]
"""Is called with the current stage of a run and the share of the run that is done."""

TRAINED, PROFILED, EXAMINED = 0.6, 0.65, 0.7
"""Shares of a run that are done after training, before profiles and before the attacks."""
DRAWS = 1000
"""Number of seeds of an attack's examples that are reserved for each seed of a study."""


def run_method(
    config: RunConfig,
    task: UnlearningTask,
    name: str,
    seed: int,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Run a method, or resume its run, and return the result, which `result.json` holds as well.

    The folder then holds the weights after training (`trained.safetensors`), after the ablation
    (`ablated.safetensors`) and after the repair (`model.safetensors`). The repaired model is
    attacked. A pretrained model is also written in the format of transformers (`plain`). Of large
    models, only files are kept that a resumed study reads (`Run.remove_large_weights`).

    Args:
        config: settings that all methods share.
        task: task of the config.
        name: one of `lm.methods.METHODS`.
        seed: seed of stories, labels, first weights and examples.
        folder: folder of the run. A method that begins with the model of another method reuses the
            model of that method's run in the same study, if there is one.
        progress: is called as the run advances.

    Raises:
        ValueError: if a file is damaged, belongs to another run or cannot be written, or if the
            label precision is impossible.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(config, task, name, seed, folder)
    before, after, model = run.repaired(progress)
    if isinstance(model, RoutedCausalLM):
        export(config, model, folder)
    repaired = run.stages.record("repaired", lambda: run.examine_next("model", after, model))
    profiles = run.profiles(progress) if config.profiles else {}
    if not config.keep_weights:
        run.remove_large_weights()
    attacks = None if config.suite == "none" else run.attack_all(model, progress)
    examined = {"before": before, "after": after, "repaired": repaired}
    result = build_result(
        name, seed, read_json(folder / NOTES), run.stages.seconds, examined, attacks
    )
    run.stages.write_result(result | profiles)
    return read_json(folder / RESULT)


def train_as_worker(
    config: RunConfig, task: UnlearningTask, name: str, seed: int, folder: Path
) -> None:
    """Take part in the training of a run of rank 0, unless that training is finished.

    Raises:
        ValueError: for the same reasons as `run_method`.
    """
    if broadcast(False):
        data = make_training_data(config, task, name, seed)
        train(make_training(config, task, name, seed, data), folder, lambda share: None)


def train(training: Training, folder: Path, report: Report) -> LanguageModel:
    """Return the trained model of a run; all processes must call this together.

    If another method is trained in the same way, and its run in the same study is finished and has
    the same settings, its model is reused and its notes are copied. Otherwise training starts or
    resumes.
    """
    other = begins_with(training.name)
    found = None if other is None else finished_training(training, other, folder)
    if found is None:
        return training.run(folder, report)
    if processes().rank == 0:
        write_json(folder / NOTES, read_json(found / NOTES))
    return files.load(found / WEIGHTS)


def run_identity(
    config: RunConfig, of_task: Mapping[str, Any], name: str, seed: int
) -> dict[str, Any]:
    """Return the plain data that determine all files of a run.

    Args:
        config: settings of the run.
        of_task: the identity of its task.
        name: name of the method.
        seed: seed of the run.
    """
    settings = {**asdict(config), "loop": config.loop.identity, **of_task}
    del settings["keep_weights"]  # which changes no file that is kept
    del settings["suite"]  # each attack is a separate stage in every suite
    del settings["texts"]  # the task has checksums of texts and questions
    if config.texts.forget:
        del settings["data"]  # it lies in the folder of the study, which may be moved
    return {"method": name, "seed": seed, **settings}


class Run:
    """The stages of a run, with their data and exam, which are made when a stage needs them."""

    def __init__(
        self, config: RunConfig, task: UnlearningTask, name: str, seed: int, folder: Path
    ) -> None:
        self.config, self.task, self.name, self.seed = config, task, name, seed
        self.folder = folder
        self.stages = Stages(folder, run_identity(config, task.identity, name, seed))

    @cached_property
    def data(self) -> TrainingData:
        """The texts to train on, with their labels."""
        return make_training_data(self.config, self.task, self.name, self.seed)

    @cached_property
    def exam(self) -> Exam:
        """The exam of the run's seed."""
        return self.task.exam(self.seed, self.config.exam)

    @cached_property
    def training(self) -> Training:
        """The first stage."""
        return make_training(self.config, self.task, self.name, self.seed, self.data)

    def repaired(self, progress: Progress) -> tuple[dict[str, Any], dict[str, Any], LanguageModel]:
        """Return the exams before and after the ablation, and the repaired model."""
        stages, steps = self.stages, ("trained", "ablated")
        if stages.finished("model") and not all(map(stages.finished, steps)):
            broadcast(False)  # large weights were removed, and no training is left
            return stages.stored("before"), stages.stored("after"), stages.load("model")
        trained = self.trained(lambda share: progress("training", TRAINED * share))
        progress("cutting and repairing", TRAINED)
        before = stages.record("before", lambda: self.examine_trained(trained))
        ablated = stages.model("ablated", lambda: self.ablate(trained))
        after = stages.record("after", lambda: self.examine_next("ablated", before, ablated))
        return before, after, stages.model("model", lambda: self.repair(ablated))

    def remove_large_weights(self) -> None:
        """Remove weights of more than `LARGE` bytes that neither this run nor another one reads."""
        for stage in removable(self.name):
            path = self.folder / f"{stage}.safetensors"
            if path.exists() and path.stat().st_size > LARGE:
                path.unlink()

    def trained(self, report: Report) -> LanguageModel:
        """Return the trained model, and remove the checkpoints of training."""
        broadcast(not self.stages.finished("trained"))  # `train_as_worker` waits for it
        model = self.stages.model("trained", lambda: train(self.training, self.folder, report))
        for name in (CHECKPOINT, LABELER):
            (self.folder / name).unlink(missing_ok=True)
        rmtree(self.folder / CORE, ignore_errors=True)
        return model

    def examine_trained(self, model: LanguageModel) -> dict[str, Any]:
        """Return the exam before the ablation, shares of gradients, and a classifier's quality."""
        shares = self.training.gradient_shares(model.to(default_device()))
        quality = self.data.classifier
        classifier = {} if quality is None else {"classifier": quality.as_result()}
        return {"gradient_shares": shares, **classifier, **self.examine(model)}

    def examine(self, model: LanguageModel) -> dict[str, Any]:
        """Return losses, scores and sample texts."""
        model = model.to(default_device())
        calibration = self.config.exam.calibration
        report = examine(model, self.exam) | examine_calibrated(model, self.exam, calibration)
        require_finite(report)
        return {"report": report, "samples": sample_texts(model, self.task, self.seed)}

    def examine_next(
        self, stage: str, earlier: Mapping[str, Any], model: LanguageModel
    ) -> dict[str, Any]:
        """Return the exam of a stage's model, which is that of the stage before if both are equal.

        Nothing is ablated from references, and a repair that only harms leaves a model as it was.

        Args:
            stage: name of the stage.
            earlier: the exam of the model of the stage before.
            model: the model of the stage.
        """
        if self.stages.equal(BEFORE[stage], stage):
            return {name: earlier[name] for name in ("report", "samples")}
        return self.examine(model)

    def ablate(self, model: LanguageModel) -> LanguageModel:
        """Return the model after the ablation and the post-hoc step of its method."""
        unit = self.task.labeled_unit
        return ablate(
            self.config, self.name, model.to(default_device()), self.data, self.seed, unit
        )

    def repair(self, model: LanguageModel) -> LanguageModel:
        """Return the model after some steps on texts to retain."""
        data, batch_size = self.data, self.config.batch_size
        model = model.to(default_device())
        return repair(model, data.repair, data.held_out, self.config.repair, batch_size, self.seed)

    def profiles(self, progress: Progress) -> dict[str, Any]:
        """Return the exams of all profiles, and the validation curve of the baseline.

        The profile without a topic to forget also has what elicitation brings back of each.
        """
        progress("profiles", PROFILED)
        profiles = self.stages.record("profiles", self.examine_profiles)["profiles"]
        elicited = self.stages.record("elicited", self.elicit)
        for profile in profiles:
            for topic, found in elicited.items() if not profile["kept"] else ():
                profile["topics"][topic] |= found
        curve = read_json(self.folder / NOTES).get("validation")
        return {"profiles": profiles, **({"validation": curve} if curve else {})}

    def served(self) -> Iterator[Served]:
        """Yield the models of all profiles, on the device of the run."""
        trained, ablated = (
            self.stages.load(stage).to(default_device()) for stage in ("trained", "ablated")
        )
        assert isinstance(self.task, StoryTask)  # other settings are refused
        return served(self.name, trained, ablated, self.task.splits.forget)

    def examine_profiles(self) -> dict[str, Any]:
        """Return the losses and facts of each profile, by topic."""
        exam = topic_exam(self.config, self.task, self.seed)
        return {"profiles": examine_profiles(self.served(), exam)}

    def elicit(self) -> dict[str, Any]:
        """Return what fine-tuning brings back of each topic in the profile without any."""
        assert isinstance(self.task, StoryTask)  # other settings are refused
        config = self.config
        model = next((each.model for each in self.served() if not each.kept), None)
        if model is None:
            return {}
        attack = Elicitation(self.task, self.seed, config.attack, config.exam)
        return {topic: attack.run(model, topic) for topic in self.task.splits.forget}

    def attack_all(self, model: LanguageModel, progress: Progress) -> dict[str, dict[str, Any]]:
        """Return the record of each attack of the suite that the task supports, by name."""
        found = {}
        suite = [name for name in SUITES[self.config.suite] if self.task.supports_attack(name)]
        for number, name in enumerate(suite):
            progress(f"attack {name}", EXAMINED + (1 - EXAMINED) * number / len(suite))
            attack = partial(self.attack, model, name)
            found[name] = self.stages.record(f"attack-{name}", attack)
        return found

    def attack(self, model: LanguageModel, name: str) -> dict[str, Any]:
        """Return the curves of an attack that trains, or the rows of another, as plain data.

        Models of the same seed get the same examples and questions.
        """
        model, config, exam = model.to(default_device()), self.config, self.exam
        if name not in ATTACKS:
            rows = self.task.run_inference_attack(model, exam, name, config.grid, self.seed)
            return {"rows": [row._asdict() for row in rows]}
        seeds = tuple(self.seed * DRAWS + draw for draw in config.attack.seeds)
        settings = replace(config.attack, seeds=seeds)
        if name not in RELEARNING:
            settings = replace(settings, evaluate_at=config.grid.evaluate_at)
        measure = measure_section(exam, ATTACKS[name].shows)
        curves = run_attack(model, self.task.examples, name, measure, settings, config.grid.lora)
        return {"curves": [curve._asdict() for curve in curves]}


def require_finite(report: Mapping[str, float]) -> None:
    """Raise a ValueError if a loss of an exam is not finite."""
    for name, value in report.items():
        if name in ("forget_loss", "retain_loss") and not isfinite(value):
            raise ValueError(
                f"the {name} of the model is {value}, as its training diverged: lower the learning "
                "rate of the training, or of the method after it"
            )


LARGE = 100_000_000
"""Bytes of a file of weights from which on it is removed once no run reads it."""


def removable(name: str) -> tuple[str, ...]:
    """Return the stages of a method whose weights no run reads after the repair.

    Methods that follow training begin with the trained model of another method.
    """
    kept = name == CORE_METHOD or any(begins_with(other) == name for other in METHODS)
    return ("ablated",) if kept else ("trained", "ablated")


def measure_section(exam: Exam, name: str) -> Measure:
    """Return a function from a model to its losses and scores in a section of an exam.

    It also measures the loss on what is to be retained, which an attack must leave intact.
    """
    section, kept = exam.sections[name], exam.retained

    def measure(model: LanguageModel) -> dict[str, float]:
        report = examine_section(model, name, section)
        found = {key: value for key, value in report.items() if not key.endswith("control")}
        return {**found, f"{kept}_loss": losses(model, exam.sections[kept].rows).loss}

    return measure


def ablate(
    config: RunConfig,
    name: str,
    model: LanguageModel,
    data: TrainingData,
    seed: int,
    unit: Unit = "document",
) -> LanguageModel:
    """Return a model after the ablation and the post-hoc step of its method.

    Args:
        config: settings of the run.
        name: name of the method.
        model: the trained model.
        data: texts with their labels.
        seed: seed of the run.
        unit: what of the texts labeled forget the post-hoc step unlearns.

    Raises:
        ValueError: if no text is labeled forget and the post-hoc step needs one.
    """
    method = method_of(name)
    if method.ablation == "expansion":
        model = model.ablated()
    elif method.ablation == "random":
        model = ablate_random(model, config.expansion, range(len(model.layers())), seed)
    if method.posthoc is None:
        return model
    follows = config.posthoc.method(method.posthoc)
    return follows.unlearn(model, data.forget, data.retain, config.batch_size, seed, unit)


def export(config: RunConfig, model: RoutedCausalLM, folder: Path) -> None:
    """Write a plain copy of a model with its tokenizer, unless the exported folder exists.

    Args:
        config: settings of the run, with a pretrained model.
        model: the model to write, on any device.
        folder: folder of the run.

    Raises:
        ValueError: if the folder cannot be written, or the tokenizer no longer exists.
    """
    path = folder / PLAIN
    if path.exists():
        return
    assert config.model is not None
    tokenizer = load_tokenizer(config.model, config.gguf_file)
    save_pretrained(contract(model), tokenizer, path)


CONSTANTS = ("_entropy_lower_bound", "fact_guess_loss", "_chance")
"""Name endings of measures of the exam itself, which are the same for every model."""


def build_result(
    method: str,
    seed: int,
    training: Mapping[str, Any],
    seconds: Mapping[str, float],
    examined: Mapping[str, Mapping[str, Any]],
    attacks: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Return the result of a run as plain data.

    Each measure of `lm.evaluation.exam` has the values `before` and `after` the ablation, and
    `repaired`. The time of a method that reuses the model of another method includes its training.

    Args:
        method: name of the method.
        seed: seed of the run.
        training: notes of training.
        seconds: duration of each stage.
        examined: records of the three exams, by stage.
        attacks: records of the attacks, by name; None if none was to be run.
    """
    reports = {stage: record["report"] for stage, record in examined.items()}
    measures = {
        name: value
        if name.endswith(CONSTANTS)
        else {stage: report[name] for stage, report in reports.items()}
        for name, value in reports["before"].items()
    }
    records = (attacks or {}).values()
    curves = [curve for record in records for curve in record.get("curves", ())]
    rows = [row for record in records for row in record.get("rows", ())]
    grid = [*(row._asdict() for row in rows_of(map(curve_from_json, curves))), *rows]
    seconds = {**seconds, "trained": training["seconds"]}  # of all processes of the training
    return {
        "method": method,
        "seed": seed,
        "tokens_per_second": training["tokens_per_second"],
        "wall_seconds": sum(seconds.values()),
        "seconds": seconds,
        **measures,
        **{k: v for k, v in examined["before"].items() if k == "classifier"},
        "gradient_shares": examined["before"]["gradient_shares"],
        "training": {"loss": training["loss"], **training.get("gradient_shares", {})},
        "samples": {stage: record["samples"] for stage, record in examined.items()},
        **({} if attacks is None else {"curves": curves}),
        **({"grid": grid} if rows else {}),  # only the full suite has attacks without training
    }
