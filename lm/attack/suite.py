"""The suites of attacks: relearning alone, or the full grid, which also adapts, reads and asks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from lm.attack.attacks import ATTACKS
from lm.attack.few_shot import few_shot
from lm.attack.gcg import GCGConfig
from lm.attack.logit_lens import logit_lens
from lm.attack.lora import LoRAConfig
from lm.attack.prefix import gcg
from lm.attack.probe import ProbeConfig, probe
from lm.attack.quantization import quantized
from lm.attack.rows import FACTS, LOSS, Row
from lm.evaluation.exam import Exam
from lm.evaluation.losses import losses
from lm.evaluation.quiz import score
from lm.model.language_model import LanguageModel
from lm.task import Task

Suite = Literal["relearning", "full"]
"""Which attacks there are."""

RELEARNING = ("same", "half", "benign")
LOOKS = ("few-shot", "probe", "logit-lens", "quantized", "gcg")
"""Attacks that train nothing of the model."""

SUITES: dict[Suite, tuple[str, ...]] = {"relearning": RELEARNING, "full": (*ATTACKS, *LOOKS)}


@dataclass(frozen=True, kw_only=True, slots=True)
class GridConfig:
    """The settings of attacks that only the full suite has.

    Raises:
        ValueError: if a list is empty or repeats itself, or a number is out of its range.
    """

    evaluate_at: tuple[int, ...] = (0, 5)
    """steps of relearning after which to measure, and after the last"""
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """how LoRA adapts"""
    shots: tuple[int, ...] = (0, 1, 2, 4)
    """other facts that are told before the one asked for"""
    bits: tuple[int, ...] = (8, 4)
    """of a weight, when weights are quantized"""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """how linear probes are fitted"""
    gcg: GCGConfig = field(default_factory=GCGConfig)
    """how a prefix is searched for"""

    def __post_init__(self) -> None:
        for name in ("shots", "bits"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} {values} were given: give one or more, each once")
        if min(self.shots) < 0 or not 2 <= min(self.bits) <= max(self.bits) <= 16:
            raise ValueError(
                f"shots {self.shots} and bits {self.bits} were given: give shots from 0 on, and "
                "bits from 2 to 16"
            )


def look(
    model: LanguageModel, task: Task, exam: Exam, name: str, config: GridConfig, seed: int
) -> list[Row]:
    """Return what an attack that trains nothing of a model gets out of it.

    Args:
        model: it stays as it is.
        task: what was to be unlearned.
        exam: whose questions are asked where the attack changes the model, and not the question.
        name: one of `LOOKS`.
        config: its settings.
        seed: of what it draws.

    Raises:
        ValueError: if there is no such attack, or the model's context is too short for it.
    """
    if name == "few-shot":
        return few_shot(model, task, config.shots, seed)
    if name == "probe":
        return probe(model, task, seed, config.probe)
    if name == "logit-lens":
        quiz = exam.sections["forget"].quiz
        return [] if quiz is None else logit_lens(model, quiz)
    if name == "quantized":
        return rounded(model, exam, config.bits)
    if name == "gcg":
        return gcg(model, task, seed, config.gcg)
    raise ValueError(f"unknown attack {name!r}: choose one of {', '.join(LOOKS)}")


def rounded(model: LanguageModel, exam: Exam, widths: Sequence[int]) -> list[Row]:
    """Return what a model knows when its weights are rounded to so many bits: facts, and loss.

    Nothing is told of facts that the exam does not ask for.
    """
    section, found = exam.sections["forget"], []
    for bits in widths:
        coarse, setting = quantized(model, bits), {"bits": bits}
        if section.quiz is not None:
            found.append(Row("quantized", setting, FACTS, score(coarse, section.quiz).choice))
        found.append(Row("quantized", setting, LOSS, losses(coarse, section.rows).loss))
    return found
