"""The suites of attacks: relearning alone, or the full grid, which also adapts, reads and asks.

Weight quantization: rounding may bring back what an update of the weights had suppressed.

Zhang et al. 2024 (arXiv 2410.16454) found so of models unlearned after training: their updates are
smaller than a step of the rounding. Each matrix is rounded to nearest, symmetrically, with one
scale for each output, and computed with in floating point.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from lm.attacks.lora import LoRAConfig, linear_maps
from lm.attacks.probing import ProbeConfig, logit_lens, probe
from lm.attacks.prompting import GCGConfig, few_shot, gcg
from lm.attacks.relearning import ATTACKS
from lm.attacks.results import FACTS, LOSS, Row
from lm.data.task import Task
from lm.evaluation.exam import Exam
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import score
from lm.models.language_model import LanguageModel


def quantize(weight: Tensor, bits: int) -> Tensor:
    """Return a matrix [outputs, inputs] as its rounding to so many bits stands for it.

    The levels of an output are the integers up to 2^(bits - 1) - 1, times its scale, by which its
    largest weight is the highest level. No weight moves by more than half the scale.

    Raises:
        ValueError: if there are fewer than two bits, or more than 16.

    >>> quantize(torch.tensor([[7.0, 2.6, -7.0], [0.0, 0.0, 0.0]]), bits=4)
    tensor([[ 7.,  3., -7.],
            [ 0.,  0.,  0.]])
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"{bits} bits were asked for: give 2 to 16")
    highest = 2 ** (bits - 1) - 1
    largest = weight.abs().amax(1, keepdim=True)
    scale = torch.where(largest == 0, 1, largest / highest)
    return (weight / scale).round().clamp(-highest, highest) * scale


@torch.no_grad()
def quantized(model: LanguageModel, bits: int) -> LanguageModel:
    """Return a copy of a model whose linear maps in the blocks are rounded to so many bits."""
    rounded = model.copied()
    for module in linear_maps(rounded):
        assert isinstance(module.weight, nn.Parameter)
        module.weight.copy_(quantize(module.weight, bits))
    return rounded


Suite = Literal["relearning", "full"]
"""Which attacks there are."""

RELEARNING = ("same", "half", "benign")
INFERENCE_ATTACKS = ("few-shot", "probe", "logit-lens", "quantized", "gcg")
"""Attacks that train nothing of the model."""

SUITES: dict[Suite, tuple[str, ...]] = {
    "relearning": RELEARNING,
    "full": (*ATTACKS, *INFERENCE_ATTACKS),
}


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


def run_inference_attack(
    model: LanguageModel, task: Task, exam: Exam, name: str, config: GridConfig, seed: int
) -> list[Row]:
    """Return what an attack that trains nothing of a model gets out of it.

    Args:
        model: it stays as it is.
        task: what was to be unlearned.
        exam: whose questions are asked where the attack changes the model, and not the question.
        name: one of `INFERENCE_ATTACKS`.
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
    raise ValueError(f"unknown attack {name!r}: choose one of {', '.join(INFERENCE_ATTACKS)}")


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
