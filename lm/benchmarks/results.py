"""The file of results: what was asked so far, and with which settings."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Any

import torch

from lm.benchmarks.asking import CHUNK, Asked
from lm.benchmarks.question import QuestionSet
from lm.benchmarks.scores import scores
from lm.model.language_model import LanguageModel
from oversight.record import as_read, read_json, write_json


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
