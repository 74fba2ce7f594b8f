"""The suites of attacks: none, relearning, or all; and weight quantization, which is one of them.

Rounding may bring back what an update of the weights had suppressed: Zhang et al. 2024 (arXiv
2410.16454) found this of models unlearned after training, whose updates are smaller than a step of
the rounding. Each matrix is rounded to nearest, symmetrically, with one scale for each output, and
computed with in floating point.
"""

from collections.abc import Sequence
from math import nan
from typing import Literal

import torch
from torch import Tensor

from lm.attacks.config import GridConfig
from lm.attacks.lora import linear_maps
from lm.attacks.probing import logit_lens, probe
from lm.attacks.prompting import few_shot, gcg
from lm.attacks.relearning import ATTACKS
from lm.attacks.results import FACTS, LOSS, MAX_RISE, Row
from lm.data.task import Task
from lm.evaluation.exam import Exam
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import score
from lm.models.hf_architecture import matrix_of
from lm.models.language_model import LanguageModel


def quantize(weight: Tensor, bits: int) -> Tensor:
    """Round a matrix [outputs, inputs] to `bits` bits, and return the rounded weights.

    The levels of an output are the integers up to 2^(bits - 1) - 1 in magnitude times a scale, such
    that its largest weight is the highest level. No weight moves by more than half the scale.

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
    """Return a copy of a model with the linear maps of the blocks rounded to `bits` bits."""
    rounded = model.copied()
    for module in linear_maps(rounded):
        matrix = matrix_of(module)
        matrix.copy_(quantize(matrix, bits))
    return rounded


Suite = Literal["none", "relearning", "full"]
"""Which attacks are run."""

RELEARNING = ("same", "half", "benign")
INFERENCE_ATTACKS = ("few-shot", "probe", "logit-lens", "quantized", "gcg")
"""Attacks that do not train the model."""

SUITES: dict[Suite, tuple[str, ...]] = {
    "none": (),
    "relearning": RELEARNING,
    "full": (*ATTACKS, *INFERENCE_ATTACKS),
}


def run_inference_attack(
    model: LanguageModel, task: Task, exam: Exam, name: str, config: GridConfig, seed: int
) -> list[Row]:
    """Run an attack that does not train the model, and return its rows.

    Attacks that change the model, and not the prompt, ask the questions of the exam.

    Raises:
        ValueError: if there is no such attack, or the context of the model is too short.
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
    """Return the facts that a model knows, and its loss, with weights rounded to each bit width.

    The rows of facts are absent if the exam has no questions. Values are NaN if the rounding has
    damaged the model by the rule for all attacks (`lm.attacks.results.MAX_RISE`).
    """
    section, kept, found = exam.sections["forget"], exam.sections[exam.retained].rows, []
    highest = losses(model, kept).loss * (1 + MAX_RISE)
    for bits in widths:
        coarse, setting = quantized(model, bits), {"bits": bits}
        counts = losses(coarse, kept).loss <= highest
        if section.quiz is not None:
            facts = score(coarse, section.quiz).choice if counts else nan
            found.append(Row("quantized", setting, FACTS, facts))
        found.append(
            Row("quantized", setting, LOSS, losses(coarse, section.rows).loss if counts else nan)
        )
    return found
