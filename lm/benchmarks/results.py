"""Shares of questions answered right, with their intervals, by form and by subject.

The file of results: what was asked so far, and with which settings.

What a model scores, as a table for a terminal.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan, sqrt
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from lm.benchmarks.questions import QuestionSet
from lm.benchmarks.scoring import CHUNK, Asked
from lm.evaluation.quiz import credit
from lm.models.language_model import LanguageModel
from oversight.runs.console import plain_table
from oversight.runs.folder import as_read, read_json, write_json

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


class Results:
    """What was asked, by set of questions; kept in a file if one is given.

    Args:
        settings: whatever results depend on, besides the questions.
        path: of the file; it is read if it is there.

    Raises:
        ValueError: if the file is not of these settings.
    """

    def __init__(self, settings: Mapping[str, Any], path: Path | None = None) -> None:
        self.settings, self.path = as_read(settings), path
        self.sets: dict[str, Any] = {}
        if path is not None and path.exists():
            self.sets = self._stored(path)

    def asked(self, questions: QuestionSet) -> list[Asked]:
        """Return what was asked of a set already: all of it, or whole chunks.

        Raises:
            ValueError: if the file has other questions under its name.
        """
        stored = self.sets.get(questions.name)
        if stored is None:
            return []
        if stored["checksum"] != checksum(questions):
            raise ValueError(
                f"{self.path} is about other questions named {questions.name}, or another number "
                "of them: choose another file, or remove it"
            )
        found = [_asked(record) for record in stored["asked"]]
        whole = len(found) == len(questions.questions)
        return found if whole else found[: len(found) // CHUNK * CHUNK]

    def keep(self, questions: QuestionSet, asked: Sequence[Asked]) -> None:
        """Note what was asked of a set so far, in the file too."""
        self.sets[questions.name] = {
            "checksum": checksum(questions),
            "questions": len(questions.questions),
            "scores": {name: asdict(score) for name, score in scores(asked).items()},
            "asked": [asdict(each) for each in asked],
        }
        if self.path is not None:
            write_json(self.path, {"settings": self.settings, "sets": self.sets})

    def _stored(self, path: Path) -> dict[str, Any]:
        stored = read_json(path)
        settings, sets = stored.get("settings"), stored.get("sets")
        if not isinstance(settings, dict) or not isinstance(sets, dict):
            raise ValueError(f"{path} holds other results: choose another file")
        names = sorted({*settings, *self.settings})
        other = [name for name in names if settings.get(name) != self.settings.get(name)]
        if other:
            raise ValueError(
                f"{path} has results of another {', '.join(other)}: choose another file, or "
                "remove it"
            )
        return sets


def checksum(questions: QuestionSet) -> str:
    """Return what tells questions and their examples from others."""
    data = [
        [asdict(question) for question in questions.questions],
        {
            name: [asdict(example) for example in examples]
            for name, examples in questions.examples.items()
        },
    ]
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def fingerprint(model: LanguageModel) -> str:
    """Return what tells the weights of a model from others, wherever they are."""
    found = 0
    for parameter in model.parameters():
        numbers = parameter.detach().cpu().contiguous().flatten().view(torch.uint8)
        found = zlib.crc32(numbers.numpy().data, found)
    return f"{found:08x}"


def _asked(record: Mapping[str, Any]) -> Asked:
    likelihoods = {
        form: tuple(nan if number is None else number for number in numbers)
        for form, numbers in record["likelihoods"].items()
    }
    return Asked(record["subject"], record["answer"], tuple(record["lengths"]), likelihoods)


HEADINGS = {
    "letter": "letter",
    "answer": "answer",
    "cloze": "cloze",
    "cloze_per_character": "cloze, per\ncharacter",
    "control": "control",
}


def scores_table(title: str, found: Mapping[str, Score]) -> Table:
    """Return a row for all questions, then one for each subject."""
    measured = [name for name in MEASURES if name in found["all"].measures]
    headings = ["questions", *(HEADINGS[name] for name in measured), "chance"]
    table = plain_table(title, "subject", headings)
    for name, score in found.items():
        cells = (percent(score.measures[measure]) for measure in measured)
        table.add_row(name, str(score.questions), *cells, f"{score.chance:.1%}")
    table.caption = (
        "Questions answered right, and 95% intervals. letter: of the listed choices; answer: "
        "the text of a listed choice; cloze: the text, which is not listed, by its likelihood, and "
        "by that per character; control: the letter, without the question. Equally likely choices "
        "share the credit"
    )
    return table


def percent(share: Share) -> str:
    """Return a share and its interval.

    >>> percent(Share(0.5, 0.4, 0.6))
    '50.0% (40 to 60)'
    """
    return f"{share.value:.1%} ({100 * share.low:.0f} to {100 * share.high:.0f})"
