"""Scores of a model on multiple-choice questions, with intervals, their file and their table."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import nn

from lm.evaluation.harness import CHUNK, QuestionSet, Response
from lm.evaluation.quiz import credit, guessing_share
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
    """The scores of a model on a set of questions."""

    questions: int
    chance: float
    """The score of random guessing."""
    measures: Mapping[str, Share]
    """The score by measure."""


def _per_character(response: Response) -> Sequence[float]:
    """Rank as `acc_norm` of the harness does; a choice without characters is never the best."""
    pairs = zip(response.likelihoods["cloze"], response.lengths, strict=True)
    return [likelihood / length if length else -inf for likelihood, length in pairs]


def _by(form: str) -> Callable[[Response], Sequence[float]]:
    return lambda response: response.likelihoods[form]


MEASURES: dict[str, tuple[str, Callable[[Response], Sequence[float]]]] = {
    "letter": ("letter", _by("letter")),
    "answer": ("answer", _by("answer")),
    "cloze": ("cloze", _by("cloze")),
    "cloze_per_character": ("cloze", _per_character),
    "choices-only": ("choices-only", _by("choices-only")),
}
"""By measure, the form that it needs and the numbers by which it ranks the choices."""


def scores(responses: Sequence[Response]) -> dict[str, Score]:
    """Return the scores on all questions, and by subject if there are several.

    The best choice gets the credit; equally good ones share it (`lm.evaluation.quiz.credit`), where
    the harness gives all of it to the first.

    Raises:
        ValueError: if there is no response.
    """
    if not responses:
        raise ValueError("no question was asked: ask one or more")
    subjects = sorted({each.subject for each in responses})
    groups = {"all": responses}
    if len(subjects) > 1:
        groups |= {name: [each for each in responses if each.subject == name] for name in subjects}
    return {name: _score(group) for name, group in groups.items()}


def _score(group: Sequence[Response]) -> Score:
    measures = {
        name: wilson(_mean_credit(group, rank), len(group))
        for name, (form, rank) in MEASURES.items()
        if form in group[0].likelihoods
    }
    chance = guessing_share([len(each.lengths) for each in group])
    return Score(len(group), chance, measures)


def _mean_credit(group: Sequence[Response], rank: Callable[[Response], Sequence[float]]) -> float:
    ranks = [rank(each) for each in group]
    answers = torch.tensor([each.answer for each in group])
    width = max(map(len, ranks))
    padded = [[*each, *[-inf] * (width - len(each))] for each in ranks]
    return float(credit(torch.tensor(padded, dtype=torch.float64), answers).mean())


def wilson(share: float, count: int) -> Share:
    """Return a share of a count with Wilson's 95% interval, which lies within 0 and 1.

    Shared credit varies less than right and wrong answers do, so that the interval is wider than
    need be where choices are equally likely.

    >>> round(wilson(0.0, 10).high, 4)
    0.2775
    """
    spread = NORMAL**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))


class Results:
    """The responses so far, by set of questions; kept in a file if a path is given.

    The settings are all that responses depend on, besides the questions.

    Raises:
        ValueError: if the file has results of other settings.
    """

    def __init__(self, settings: Mapping[str, Any], path: Path | None = None) -> None:
        self.settings, self.path = as_read(settings), path
        self.sets: dict[str, Any] = {}
        if path is not None and path.exists():
            self.sets = self._stored(path)

    def responses(self, questions: QuestionSet) -> list[Response]:
        """Return the responses to a set so far: all of them, or whole chunks.

        Raises:
            ValueError: if the file has other questions under the name of the set.
        """
        stored = self.sets.get(questions.name)
        if stored is None:
            return []
        if stored["checksum"] != questions.checksum:
            raise ValueError(
                f"{self.path} is about other questions named {questions.name}, or another number "
                "of them: choose another file, or remove it"
            )
        if any(None in row for each in stored["responses"] for row in each["likelihoods"].values()):
            raise ValueError(
                f"{self.path} has responses of a model that gave no likelihoods: remove it, and "
                "ask a model whose weights are finite"
            )
        found = [_response(record) for record in stored["responses"]]
        whole = len(found) == len(questions.places)
        return found if whole else found[: len(found) // CHUNK * CHUNK]

    def keep(self, questions: QuestionSet, responses: Sequence[Response]) -> None:
        """Record the responses to a set so far, in the file too."""
        self.sets[questions.name] = {
            "checksum": questions.checksum,
            "questions": len(questions.places),
            "scores": {name: asdict(score) for name, score in scores(responses).items()},
            "responses": [asdict(each) for each in responses],
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


def _response(record: Mapping[str, Any]) -> Response:
    likelihoods = {form: tuple(numbers) for form, numbers in record["likelihoods"].items()}
    lengths, cut = tuple(record["lengths"]), record.get("cut", False)
    return Response(record["subject"], record["answer"], lengths, likelihoods, cut)


def cut_line(responses: Sequence[Response]) -> str | None:
    """Return a line on how many questions lost the beginning of a prompt, if any did.

    >>> cut_line([Response("", 0, (1, 1), {}, cut=True), Response("", 0, (1, 1), {})])[:50]
    'warning: questions whose prompt lost its beginning'
    """
    cut = sum(each.cut for each in responses)
    if not cut:
        return None
    return (
        "warning: questions whose prompt lost its beginning, since the context of the model is "
        f"shorter: {cut:,} of {len(responses):,}"
    )


def fingerprint(model: nn.Module) -> str:
    """Return a checksum of the weights of a model, which does not depend on their device."""
    found = 0
    for parameter in model.parameters():
        numbers = parameter.detach().cpu().contiguous().flatten().view(torch.uint8)
        found = zlib.crc32(numbers.numpy().data, found)
    return f"{found:08x}"


HEADINGS = {"cloze_per_character": "cloze per\ncharacter", "choices-only": "choices\nonly"}
"""Headings of measures in a table, where they are not the names."""


def scores_table(title: str, found: Mapping[str, Score]) -> Table:
    """Return a table with a row for all questions, then one for each subject.

    It fits 80 columns: intervals are below the scores, and long names are broken.
    """
    measured = [name for name in MEASURES if name in found["all"].measures]
    headings = ["questions", *(HEADINGS.get(name, name) for name in measured), "chance"]
    table = plain_table(title, "subject", headings)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for name, score in found.items():
        cells = (percent(score.measures[measure]) for measure in measured)
        table.add_row(name, str(score.questions), *cells, f"{score.chance:.1%}")
    table.caption = (
        "Share of questions answered right, and 95% intervals. letter: the model chooses the "
        "letter of a listed choice; answer: the text of a listed choice; cloze: the text of a "
        "choice that is not listed, by its likelihood, and by that per character; choices only: "
        "the letter, without the question. Equally likely choices share the credit"
    )
    return table


def percent(share: Share) -> str:
    """Return a share and, in a second line, its interval.

    >>> percent(Share(0.5, 0.4, 0.6)).splitlines()
    ['50.0%', '40-60']
    """
    return f"{share.value:.1%}\n{100 * share.low:.0f}-{100 * share.high:.0f}"
