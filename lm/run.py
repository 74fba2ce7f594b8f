"""One run of a method: train, examine, cut, examine, repair, examine, attack, tell.

Each stage is a file in the run's folder. A run that was killed goes on where it was, and ends with
the same weights to the last bit.

What a method takes out of a trained model, and what it does to what is left.

The last stages of a run: what each attack brings back, read off the exam or asked.

The result of a run: what its stages found, in the form that reports read.

A run's model as a folder that transformers loads with no code of ours.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lm.attacks import results
from lm.attacks.relearning import ATTACKS, Measure, run_attack
from lm.attacks.results import curve_from_json, curve_to_json, row_to_json, rows_of
from lm.attacks.suite import RELEARNING, SUITES
from lm.config import UnlearnConfig
from lm.datasets import Subject, samples
from lm.evaluation.exam import Exam, examine, examine_calibrated, examine_section
from lm.methods import METHODS, POSTHOC
from lm.models.gpt import ablate_random
from lm.models.hf import RoutedCausalLM, contract
from lm.models.hf_loading import load_tokenizer
from lm.models.language_model import LanguageModel
from lm.pretraining import CHECKPOINT, NOTES, Material, Training, make_material
from lm.repair import repair
from lm.stages import Stages, device
from lm.training.checkpoints import remove
from lm.training.distributed import broadcast
from oversight.runs.folder import read_json, write_json


def cut(
    config: UnlearnConfig, name: str, model: LanguageModel, material: Material, seed: int
) -> LanguageModel:
    """Return a model without what its method takes out, and as what follows leaves it.

    Raises:
        ValueError: if there is no story labeled forget for a method that needs one.
    """
    method = METHODS[name]
    if method.ablation == "expansion":
        model = model.ablated()
    elif method.ablation == "random":
        model = ablate_random(model, config.expansion, range(len(model.layers())), seed)
    if method.posthoc == "nothing":
        return model
    unlearn, own = POSTHOC[method.posthoc], getattr(config, method.posthoc)
    return unlearn(model, material.forget, material.kept, own, config.batch_size, seed)


DRAWS = 1000
"""Draws of examples that a seed of a study has of its own."""


def attacked(
    model: LanguageModel, task: Subject, exam: Exam, name: str, config: UnlearnConfig, seed: int
) -> dict[str, Any]:
    """Return the curves of an attack that trains, or the rows of another, as plain data.

    Models of the same seed are given the same examples and questions.
    """
    if name not in ATTACKS:
        found = task.run_inference_attack(model, exam, name, config.grid, seed)
        return {"rows": [results.row_to_json(row) for row in found]}
    attack = config.attack
    own = replace(attack, seeds=tuple(seed * DRAWS + draw for draw in attack.seeds))
    if name not in RELEARNING:
        own = replace(own, evaluate_at=config.grid.evaluate_at)
    measure = measure_of(exam, ATTACKS[name].shows)
    curves = run_attack(model, task.examples, name, measure, own, config.grid.lora)
    return {"curves": [curve_to_json(curve) for curve in curves]}


def measure_of(exam: Exam, name: str) -> Measure:
    """Return what reads losses and scores in a section off a model, named as `examine` does."""
    section = exam.sections[name]

    def measure(model: LanguageModel) -> dict[str, float]:
        report = examine_section(model, name, section)
        return {key: value for key, value in report.items() if not key.endswith("control")}

    return measure


CONSTANT = ("_entropy_lower_bound", "fact_guess_loss")
"""Ends of names of what an exam says of itself, whatever the model."""


def told(
    method: str,
    seed: int,
    training: Mapping[str, Any],
    seconds: Mapping[str, float],
    examined: Mapping[str, Mapping[str, Any]],
    attacks: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the result of a run as plain data.

    What `lm.evaluation.exam` reads off a model is there by its name, `before`, `after` (the
    cut) and `repaired`. A method that begins with a trained model counts its training, too.

    Args:
        method: its name.
        seed: of the run.
        training: the notes of training.
        seconds: of each stage.
        examined: the records of the three looks at the model.
        attacks: the records of the attacks, by name.
    """
    reports = {stage: record["report"] for stage, record in examined.items()}
    figures: dict[str, Any] = {}
    for name, value in reports["before"].items():
        stages = {stage: report[name] for stage, report in reports.items()}
        figures[name] = value if name.endswith(CONSTANT) else stages
    seconds = {**seconds, "trained": training["seconds"]}  # those of all its processes
    return {
        "method": method,
        "seed": seed,
        "tokens_per_second": training["tokens_per_second"],
        "wall_seconds": sum(seconds.values()),
        "seconds": seconds,
        **figures,
        "gradient_shares": examined["before"]["gradient_shares"],
        "training": {"loss": training["loss"]},
        "samples": {stage: record["samples"] for stage, record in examined.items()},
        **summarize_attacks(attacks),
    }


def summarize_attacks(attacks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the curves of relearning; and the grid of all attacks, if some train nothing.

    Args:
        attacks: the records of the attacks, by name.
    """
    curves = [curve for record in attacks.values() for curve in record.get("curves", ())]
    read = [row for record in attacks.values() for row in record.get("rows", ())]
    if not read:
        return {"curves": curves}
    trained = rows_of(map(curve_from_json, curves))
    return {"curves": curves, "grid": [*map(row_to_json, trained), *read]}


PLAIN = "plain"
"""The folder's name, within that of the run."""


def export(config: UnlearnConfig, model: RoutedCausalLM, folder: Path) -> None:
    """Write a model and its tokenizer as `save_pretrained` does, unless that is done.

    The folder gets its name when it is whole.

    Args:
        config: of the run, with a pretrained model.
        model: to write, on any device.
        folder: of the run.

    Raises:
        ValueError: if it cannot be written, or the tokenizer is no longer there.
    """
    path, draft = folder / PLAIN, folder / f".{PLAIN}"
    if path.exists():
        return
    assert config.model is not None
    shutil.rmtree(draft, ignore_errors=True)  # what a kill has left
    try:
        contract(model).save_pretrained(draft)
        load_tokenizer(config.model, config.gguf_file).save_pretrained(draft)
        draft.rename(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


Progress = Callable[[str, float], None]
"""Called with the stage that a run is in, and the share of the run that is done."""

TRAINED, EXAMINED = 0.6, 0.7
"""Shares of a run that are done after training, and when the attacks begin."""


def run_method(
    config: UnlearnConfig, task: Subject, name: str, seed: int, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Run a method, or go on with a run, and return its result, which is `result.json` as well.

    The folder then holds the weights as trained (`trained.safetensors`), cut (`ablated`), and
    repaired (`model`), which are attacked; of a pretrained one, also as anyone loads it (`plain`).

    Args:
        config: what methods have in common.
        task: that of the config.
        name: one of `lm.methods.METHODS`.
        seed: of stories, labels, first weights and examples.
        folder: of the run. A method that begins with the model of another takes that of the
            other's run beside it, if there is one.
        progress: told how far the run is.

    Raises:
        ValueError: if a file is damaged, of another run or cannot be written, or the labels are
            not possible.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(config, task, name, seed, folder)
    trained = run.trained(lambda share: progress("training", TRAINED * share))
    progress("cutting and repairing", TRAINED)
    before = run.stages.record("before", lambda: run.before(trained))
    ablated = run.stages.model("ablated", lambda: run.cut(trained))
    after = run.stages.record("after", lambda: run.examined(ablated))
    model = run.stages.model("model", lambda: run.repaired(ablated))
    run.export(model)
    repaired = run.stages.record("repaired", lambda: run.examined(model))
    attacks = run.attacks(model, progress)
    examined = {"before": before, "after": after, "repaired": repaired}
    training, seconds = read_json(folder / NOTES), run.stages.seconds
    write_json(folder / "result.json", told(name, seed, training, seconds, examined, attacks))
    return read_json(folder / "result.json")


def train_as_worker(
    config: UnlearnConfig, task: Subject, name: str, seed: int, folder: Path
) -> None:
    """Take part in a run that the first process does: in its training, if that is not finished.

    Args:
        config: what methods have in common.
        task: that of the config.
        name: one of `lm.methods.METHODS`.
        seed: of the run.
        folder: of the run.

    Raises:
        ValueError: as `run_method`.
    """
    if broadcast(False):
        material = make_material(config, task, name, seed)
        Training(config, task, name, seed, material).run(folder, lambda share: None)


class _Run:
    """What the stages of a run share, made when the first of them asks for it."""

    def __init__(
        self, config: UnlearnConfig, task: Subject, name: str, seed: int, folder: Path
    ) -> None:
        self.config, self.task, self.name, self.seed = config, task, name, seed
        self.folder = folder
        own = {**asdict(config), "loop": config.loop.identity, **task.identity}
        del own["suite"]  # each attack is a stage of its own, whatever others there are
        self.stages = Stages(folder, {"method": name, "seed": seed, **own})

    @cached_property
    def material(self) -> Material:
        return make_material(self.config, self.task, self.name, self.seed)

    @cached_property
    def exam(self) -> Exam:
        return self.task.exam(self.seed, self.config.exam)

    @cached_property
    def training(self) -> Training:
        return Training(self.config, self.task, self.name, self.seed, self.material)

    def trained(self, report: Callable[[float], None]) -> LanguageModel:
        """Return the model as the method trains it, and remove the checkpoints of training."""
        broadcast(not self.stages.finished("trained"))  # `train_as_worker` waits for it
        model = self.stages.model("trained", lambda: self.training.run(self.folder, report))
        remove(self.folder / CHECKPOINT)
        return model

    def before(self, model: LanguageModel) -> dict[str, Any]:
        """Return what is read off a model before anything is cut out, gradients included."""
        shares = self.training.gradient_shares(model.to(device()))
        return {"gradient_shares": shares, **self.examined(model)}

    def cut(self, model: LanguageModel) -> LanguageModel:
        """Return the model without what its method takes out."""
        return cut(self.config, self.name, model.to(device()), self.material, self.seed)

    def repaired(self, model: LanguageModel) -> LanguageModel:
        """Return the model trained on, for a little while, on what is not to be forgotten."""
        own, size = self.material, self.config.batch_size
        model = model.to(device())
        return repair(model, own.kept, own.held, self.config.repair, size, self.seed)

    def export(self, model: LanguageModel) -> None:
        """Write a pretrained model as transformers loads it."""
        if isinstance(model, RoutedCausalLM):
            export(self.config, model, self.folder)

    def examined(self, model: LanguageModel) -> dict[str, Any]:
        """Return losses, scores and sample texts."""
        model = model.to(device())
        calibration = self.config.exam.calibration
        report = examine(model, self.exam) | examine_calibrated(model, self.exam, calibration)
        return {"report": report, "samples": samples(model, self.task, self.seed)}

    def attacks(self, model: LanguageModel, progress: Progress) -> dict[str, dict[str, Any]]:
        """Return what each attack of the suite gets that the task takes, by name."""
        found = {}
        suite = [name for name in SUITES[self.config.suite] if self.task.supports_attack(name)]
        for number, attack in enumerate(suite):
            progress(f"attack {attack}", EXAMINED + (1 - EXAMINED) * number / len(suite))
            found[attack] = self.attacked(model, attack)
        return found

    def attacked(self, model: LanguageModel, attack: str) -> dict[str, Any]:
        """Return the curves or the rows of an attack."""
        arguments = (self.task, self.exam, attack, self.config, self.seed)
        return self.stages.record(
            f"attack-{attack}", lambda: attacked(model.to(device()), *arguments)
        )
