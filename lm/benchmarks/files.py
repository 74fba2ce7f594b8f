"""Questions of a local file.

A .jsonl file has a record on each line, a .json file a list of them:

    {"question": "How many legs has a spider?", "choices": ["six", "eight"], "answer": 1}

`answer` counts from 0; `subject`, a text, may be added.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lm.benchmarks.question import QuestionSet, question_of

SUFFIXES = (".json", ".jsonl")


def read_questions(path: Path) -> QuestionSet:
    """Return the questions of a file, under its path as their name.

    Raises:
        ValueError: if it cannot be read, holds no question, or a record is malformed; the message
            names the line.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} holds no questions: give a file that ends in .json or .jsonl")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}): convert the file") from error
    records = _lines(path, text) if path.suffix == ".jsonl" else _list(path, text)
    questions = tuple(question_of(record, where) for where, record in records)
    if not questions:
        raise ValueError(f"{path} holds no questions: give one or more")
    return QuestionSet(str(path), questions)


def _lines(path: Path, text: str) -> Iterator[tuple[str, object]]:
    """Yield the record of each line that is not blank, and where it stands."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{where} is not JSON ({error}): correct it") from error
            yield where, record


def _list(path: Path, text: str) -> Iterator[tuple[str, object]]:
    """Yield the records of a list, and where each begins."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): correct it") from error
    if not isinstance(whole, list):
        raise ValueError(f"{path} holds {type(whole).__name__}: give a list of questions")
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    for _ in whole:
        place = _skip(text, place)
        line = text.count("\n", 0, place) + 1
        record, place = decoder.raw_decode(text, place)
        yield f"{path}, line {line}", record


def _skip(text: str, place: int) -> int:
    """Return where the next record begins."""
    while text[place].isspace() or text[place] == ",":
        place += 1
    return place
