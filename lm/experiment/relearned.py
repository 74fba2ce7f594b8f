"""The last stage of a run: what each attack brings back, read off the exam."""

from dataclasses import replace
from typing import Any

from lm.attack.attacks import ATTACKS, run_attack
from lm.attack.records import to_json
from lm.attack.relearning import AttackConfig, Measure
from lm.evaluation.exam import Exam
from lm.evaluation.losses import losses
from lm.evaluation.quiz import score
from lm.model.language_model import LanguageModel
from lm.task import Task

DRAWS = 1000
"""Draws of examples that a seed of a study has of its own."""


def attacked(
    model: LanguageModel, task: Task, exam: Exam, name: str, config: AttackConfig, seed: int
) -> dict[str, Any]:
    """Return the curves of an attack as plain data; none if the task has no topics for it.

    Models of the same seed are given the same examples.
    """
    if ATTACKS[name].split == "retain" and not task.splits.retain:
        return {"curves": []}
    own = replace(config, seeds=tuple(seed * DRAWS + draw for draw in config.seeds))
    curves = run_attack(model, task, name, measure_of(exam, ATTACKS[name].shows), own)
    return {"curves": [to_json(curve) for curve in curves]}


def measure_of(exam: Exam, name: str) -> Measure:
    """Return what reads losses and scores in a section off a model, named as `examine` does."""
    section = exam.sections[name]

    def measure(model: LanguageModel) -> dict[str, float]:
        loss, facts = losses(model, section.rows)
        choice, _, cloze = score(model, section.quiz)
        return {
            f"{name}_loss": loss,
            f"{name}_fact_loss": facts,
            f"mcq_{name}": choice,
            f"cloze_{name}": cloze,
        }

    return measure
