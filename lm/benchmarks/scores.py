"""Shares of questions answered right, with their intervals, by form and by subject."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from lm.benchmarks.asking import Asked
from lm.evaluation.quiz import credit

NORMAL = 1.959963984540054
"""Standard deviations on each side that hold 95% of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share, and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """What a model scores on some questions."""

    questions: int
    chance: float
    """what guessing scores"""
    measures: Mapping[str, Share]
    """the credit, by measure"""


def _letter(asked: Asked) -> Sequence[float]:
    return asked.likelihoods["letter"]


def _answer(asked: Asked) -> Sequence[float]:
    return asked.likelihoods["answer"]


def _cloze(asked: Asked) -> Sequence[float]:
    return asked.likelihoods["cloze"]


def _per_character(asked: Asked) -> Sequence[float]:
    pairs = zip(asked.likelihoods["cloze"], asked.lengths, strict=True)
    return [likelihood / length if length else -float("inf") for likelihood, length in pairs]


def _control(asked: Asked) -> Sequence[float]:
    return asked.likelihoods["control"]


MEASURES: dict[str, tuple[str, Callable[[Asked], Sequence[float]]]] = {
    "letter": ("letter", _letter),
    "answer": ("answer", _answer),
    "cloze": ("cloze", _cloze),
    "cloze_per_character": ("cloze", _per_character),
    "control": ("control", _control),
}
"""The form that each measure needs, and by what it ranks the choices; the fourth is the `acc_norm`
of lm-evaluation-harness."""


def scores(asked: Sequence[Asked]) -> dict[str, Score]:
    """Return the scores on all questions, and by subject where there are several.

    The best choice gets the credit; equally good ones share it (`lm.evaluation.quiz.credit`),
    where lm-evaluation-harness gives all of it to the first.

    Raises:
        ValueError: if no question was asked.
    """
    if not asked:
        raise ValueError("no question was asked: ask one or more")
    subjects = sorted({each.subject for each in asked})
    groups = {"all": list(asked)}
    if len(subjects) > 1:
        groups |= {name: [each for each in asked if each.subject == name] for name in subjects}
    return {name: _score(group) for name, group in groups.items()}


def _score(group: Sequence[Asked]) -> Score:
    forms = group[0].likelihoods
    measures = {
        name: wilson(_mean_credit(group, rank), len(group))
        for name, (form, rank) in MEASURES.items()
        if form in forms
    }
    chance = sum(1 / len(each.lengths) for each in group) / len(group)
    return Score(len(group), chance, measures)


def _mean_credit(group: Sequence[Asked], rank: Callable[[Asked], Sequence[float]]) -> float:
    credits: list[Tensor] = []
    for each in group:
        ranked = torch.tensor([rank(each)], dtype=torch.float64)
        credits.append(credit(ranked, torch.tensor([each.answer])))
    return float(torch.cat(credits).mean())


def wilson(share: float, count: int) -> Share:
    """Return a share of a count with Wilson's interval, which holds what is within 0 and 1.

    Of shared credit, which varies less than right and wrong do, it is wider than need be.

    >>> round(wilson(0.0, 10).high, 4)
    0.2775
    """
    spread = NORMAL**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))
