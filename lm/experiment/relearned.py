"""The last stages of a run: what each attack brings back, read off the exam or asked."""

from dataclasses import replace
from typing import Any

from lm.attack import rows
from lm.attack.attacks import ATTACKS, run_attack
from lm.attack.records import to_json
from lm.attack.relearning import Measure
from lm.attack.suite import RELEARNING
from lm.evaluation.exam import Exam
from lm.evaluation.examine import examine_section
from lm.experiment.config import UnlearnConfig
from lm.experiment.subject import Subject
from lm.model.language_model import LanguageModel

DRAWS = 1000
"""Draws of examples that a seed of a study has of its own."""


def attacked(
    model: LanguageModel, task: Subject, exam: Exam, name: str, config: UnlearnConfig, seed: int
) -> dict[str, Any]:
    """Return the curves of an attack that trains, or the rows of another, as plain data.

    Models of the same seed are given the same examples and questions.
    """
    if name not in ATTACKS:
        found = task.look(model, exam, name, config.grid, seed)
        return {"rows": [rows.to_json(row) for row in found]}
    attack = config.attack
    own = replace(attack, seeds=tuple(seed * DRAWS + draw for draw in attack.seeds))
    if name not in RELEARNING:
        own = replace(own, evaluate_at=config.grid.evaluate_at)
    measure = measure_of(exam, ATTACKS[name].shows)
    curves = run_attack(model, task.examples, name, measure, own, config.grid.lora)
    return {"curves": [to_json(curve) for curve in curves]}


def measure_of(exam: Exam, name: str) -> Measure:
    """Return what reads losses and scores in a section off a model, named as `examine` does."""
    section = exam.sections[name]

    def measure(model: LanguageModel) -> dict[str, float]:
        report = examine_section(model, name, section)
        return {key: value for key, value in report.items() if not key.endswith("control")}

    return measure
