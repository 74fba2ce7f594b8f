"""Presets of `python -m lm.unlearn`: one function per study of unlearning."""

from configs.documents import DOCUMENTS
from lm.attack.gcg import GCGConfig
from lm.attack.lora import LoRAConfig
from lm.attack.probe import ProbeConfig
from lm.attack.relearning import AttackConfig
from lm.attack.suite import GridConfig
from lm.config import StudyConfig
from lm.evaluation.calibration import CalibrationConfig
from lm.evaluation.exam import ExamConfig
from lm.experiment.repair import RepairConfig
from lm.hf.adapters import AdapterConfig
from lm.posthoc.graddiff import GradDiffConfig
from lm.posthoc.npo import NPOConfig
from lm.posthoc.rmu import RMUConfig
from lm.posthoc.simnpo import SimNPOConfig
from lm.task import TaskConfig
from lm.training.loop import LoopConfig


def default() -> StudyConfig:
    """The references, filtering and the best routed method at 90% of labels: five minutes."""
    return StudyConfig()


def quick() -> StudyConfig:
    """The same in a minute, an eighth of the training: it learns the stories, not the facts."""
    return StudyConfig(
        loop=LoopConfig(steps=100, warmup=10),
        attack=AttackConfig(learning_rates=(2e-3,), num_examples=(8,), steps=5),
    )


def smoke() -> StudyConfig:
    """A study of seconds, to see that everything works; it learns nothing."""
    return StudyConfig(
        task=TaskConfig(stories=64),
        loop=LoopConfig(steps=2, warmup=1),
        rmu=RMUConfig(steps=2),
        graddiff=GradDiffConfig(steps=2),
        npo=NPOConfig(steps=2),
        simnpo=SimNPOConfig(steps=2),
        repair=RepairConfig(steps=1, stories=8),
        exam=ExamConfig(stories=4, rounds=1),
        attack=AttackConfig(learning_rates=(2e-3,), num_examples=(4,), steps=2),
        grid=GridConfig(
            lora=LoRAConfig(rank=1, learning_rates=(1e-2,)),
            shots=(0, 1),
            bits=(4,),
            probe=ProbeConfig(ridge=1.0, rounds=1),
            gcg=GCGConfig(tokens=2, steps=1, candidates=2, top=2),
        ),
    )


def controls() -> StudyConfig:
    """All labels: every kind of routing, its controls and RMU, five seeds; an hour."""
    return StudyConfig(
        method=(
            "gold",
            "unrouted",
            "unrouted-ablated",
            "random-region",
            "rmu",
            "era",
            "parameters",
            "modules-judged",
        ),
        seeds=(0, 1, 2, 3, 4),
        label_recall=1.0,
    )


def labels() -> StudyConfig:
    """Half and nine tenths of the labels: filtering, RMU and routing, five seeds; an hour."""
    return StudyConfig(
        method=("filtered", "rmu", "era", "parameters-judged", "modules-judged"),
        seeds=(0, 1, 2, 3, 4),
        sweep="labels",
        recalls=(0.5, 0.9),
    )


def paper() -> StudyConfig:
    """The paper's sweep over labels: its methods and attack, five seeds; for a GPU or a night."""
    return StudyConfig(
        method=("gold", "unrouted", "filtered", "rmu", "era", "parameters"),
        seeds=(0, 1, 2, 3, 4),
        sweep="labels",
        attack=AttackConfig(learning_rates=(5e-5, 5e-4), num_examples=(64,), steps=40),
    )


def pretrained() -> StudyConfig:
    """A pretrained model taught stories and made to forget one topic, on a laptop in half an hour.

    Made for SmolLM2-135M on two cores, and the preset of whoever gives `--model` and no preset.
    """
    return StudyConfig(
        method=("gold", "unrouted", "rmu", "lora-pair"),
        label_recall=1.0,
        adapters=AdapterConfig(rank=32, alpha=480.0),
        batch_size=8,
        task=TaskConfig(stories=2000),
        loop=LoopConfig(steps=40, warmup=4, learning_rate=3e-4, weight_decay=0.0),
        rmu=RMUConfig(layer=7, coefficient=1000.0, steps=40, learning_rate=3e-3),
        repair=RepairConfig(steps=12, learning_rate=3e-5, every=4, stories=32),
        exam=ExamConfig(
            stories=8,
            rounds=1,
            questions=8,
            calibration=CalibrationConfig(steps=30, batch_tokens=64),
        ),
        attack=AttackConfig(learning_rates=(1e-4,), num_examples=(8,), steps=5),
        grid=GridConfig(
            evaluate_at=(0,),
            lora=LoRAConfig(learning_rates=(1e-3,)),
            shots=(0, 2),
            probe=ProbeConfig(rounds=1),
            gcg=GCGConfig(steps=4, candidates=8),
        ),
    )


PRESETS = {
    "default": default,
    "quick": quick,
    "smoke": smoke,
    "controls": controls,
    "labels": labels,
    "paper": paper,
    "pretrained": pretrained,
    **{name: preset.make for name, preset in DOCUMENTS.items()},
}
