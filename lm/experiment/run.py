"""One run of a method: train, examine, cut, examine, repair, examine, attack, tell.

Each stage is a file in the run's folder. A run that was killed goes on where it was, and ends with
the same weights to the last bit.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from lm.attack.suite import SUITES
from lm.evaluation.exam import Exam
from lm.evaluation.examine import examine, examine_calibrated
from lm.experiment.config import UnlearnConfig
from lm.experiment.cut import cut
from lm.experiment.export import export
from lm.experiment.material import Material, make_material
from lm.experiment.relearned import attacked
from lm.experiment.repair import repair
from lm.experiment.result import told
from lm.experiment.samples import samples
from lm.experiment.stages import Stages, device
from lm.experiment.subject import Subject
from lm.experiment.training import CHECKPOINT, NOTES, Training
from lm.hf.model import RoutedCausalLM
from lm.model.language_model import LanguageModel
from lm.training.processes import broadcast
from lm.training.resume import remove
from oversight.record import read_json, write_json

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


def assist(config: UnlearnConfig, task: Subject, name: str, seed: int, folder: Path) -> None:
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
        broadcast(not self.stages.finished("trained"))  # `assist` waits for it
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
        suite = [name for name in SUITES[self.config.suite] if self.task.takes(name)]
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
