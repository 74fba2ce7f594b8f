"""A multiple-choice question, and its record in a file or a data set.

Questions of a local file.

A .jsonl file has a record on each line, a .json file a list of them:

    {"question": "How many legs has a spider?", "choices": ["six", "eight"], "answer": 1}

`answer` counts from 0; `subject`, a text, may be added.

Benchmarks by name, from the Hugging Face hub: WMDP (arXiv 2403.03218) and MMLU (2009.03300).

The subjects of MMLU, by the categories of Hendrycks et al. 2021 (arXiv 2009.03300).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from string import ascii_uppercase
from typing import Any

FIELDS = ("question", "choices", "answer")


@dataclass(frozen=True, slots=True)
class Question:
    """A question with two choices or more, one of them right."""

    question: str
    choices: tuple[str, ...]
    answer: int
    """where the right choice is, from 0"""
    subject: str = ""
    """what the prompt says that it is about; nothing by default"""

    def __post_init__(self) -> None:
        count = len(self.choices)
        if not 2 <= count <= len(ascii_uppercase):
            raise ValueError(f"it has {count} choices: give from 2 to {len(ascii_uppercase)}")
        if not 0 <= self.answer < count:
            raise ValueError(
                f"its answer is {self.answer}: give the number of one of the {count} choices, "
                f"from 0 to {count - 1}"
            )


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions under one name, with the solved examples that a prompt may begin with."""

    name: str
    questions: tuple[Question, ...]
    examples: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    """of each subject, in order"""

    def first(self, limit: int | None) -> "QuestionSet":
        """Return the first questions; all by default."""
        return QuestionSet(self.name, self.questions[:limit], self.examples)

    def shown(self, question: Question, shots: int) -> Sequence[Question]:
        """Return the first examples of a question's subject.

        Raises:
            ValueError: if there are fewer.
        """
        examples = self.examples.get(question.subject, ())
        if shots > len(examples):
            raise ValueError(
                f"{shots} examples were asked for, and {self.name} has {len(examples)}"
                + (f" on {question.subject}" if question.subject else "")
                + ": ask without, as those of mmlu alone come with some, 5 of each subject"
            )
        return examples[:shots]


def question_of(record: object, where: str, subject: str | None = None) -> Question:
    """Return the question of a record with `FIELDS`, and perhaps a `subject`.

    Args:
        record: from a file or a data set.
        where: where it stands, for the error.
        subject: what it is about, whatever the record says; its own by default.

    Raises:
        ValueError: if a field is missing or of another type, there are fewer choices than two, or
            the answer is none of them.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{where} is {type(record).__name__}: give an object with {_FIELDS}")
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}: give an object with {_FIELDS}")
    told = record.get("subject", "") if subject is None else subject
    text, choices, answer = (record[name] for name in FIELDS)
    _check(where, "question", text, "a text", isinstance(text, str))
    _check(where, "choices", choices, "a list of texts", _are_texts(choices))
    _check(where, "answer", answer, "a whole number", type(answer) is int)
    _check(where, "subject", told, "a text", isinstance(told, str))
    try:
        return Question(text, tuple(choices), answer, told)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


_FIELDS = ", ".join(FIELDS)


def _are_texts(choices: object) -> bool:
    return isinstance(choices, list | tuple) and all(isinstance(each, str) for each in choices)


def _check(where: str, name: str, value: Any, kind: str, fits: bool) -> None:  # noqa: ANN401
    if not fits:
        raise ValueError(f"{where}: its {name} is {type(value).__name__}: give {kind}")


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


CATEGORIES = {
    "humanities": [
        "formal_logic",
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "international_law",
        "jurisprudence",
        "logical_fallacies",
        "moral_disputes",
        "moral_scenarios",
        "philosophy",
        "prehistory",
        "professional_law",
        "world_religions",
    ],
    "other": [
        "business_ethics",
        "clinical_knowledge",
        "college_medicine",
        "global_facts",
        "human_aging",
        "management",
        "marketing",
        "medical_genetics",
        "miscellaneous",
        "nutrition",
        "professional_accounting",
        "professional_medicine",
        "virology",
    ],
    "social_sciences": [
        "econometrics",
        "high_school_geography",
        "high_school_government_and_politics",
        "high_school_macroeconomics",
        "high_school_microeconomics",
        "high_school_psychology",
        "human_sexuality",
        "professional_psychology",
        "public_relations",
        "security_studies",
        "sociology",
        "us_foreign_policy",
    ],
    "stem": [
        "abstract_algebra",
        "anatomy",
        "astronomy",
        "college_biology",
        "college_chemistry",
        "college_computer_science",
        "college_mathematics",
        "college_physics",
        "computer_security",
        "conceptual_physics",
        "electrical_engineering",
        "elementary_mathematics",
        "high_school_biology",
        "high_school_chemistry",
        "high_school_computer_science",
        "high_school_mathematics",
        "high_school_physics",
        "high_school_statistics",
        "machine_learning",
    ],
}
SUBJECTS = [subject for subjects in CATEGORIES.values() for subject in subjects]


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """Where the questions of a benchmark are."""

    dataset: str
    subset: str
    subject: str | None = None
    """what all are about; by default each says it"""
    subjects: tuple[str, ...] = ()
    """which are taken; all by default"""
    examples: str | None = None
    """the split of the solved examples, if there are some"""


def _mmlu(subset: str, subjects: Iterable[str] = ()) -> Benchmark:
    return Benchmark(dataset="cais/mmlu", subset=subset, subjects=tuple(subjects), examples="dev")


def _wmdp(subset: str, subject: str) -> Benchmark:
    return Benchmark(dataset="cais/wmdp", subset=subset, subject=subject)


BENCHMARKS = {
    "wmdp-bio": _wmdp("wmdp-bio", "biology"),
    "wmdp-chem": _wmdp("wmdp-chem", "chemistry"),
    "wmdp-cyber": _wmdp("wmdp-cyber", "cybersecurity"),
    "mmlu": _mmlu("all"),
    **{f"mmlu-{name}": _mmlu("all", subjects) for name, subjects in CATEGORIES.items()},
    **{f"mmlu-{subject}": _mmlu(subject) for subject in SUBJECTS},
}
"""By name; MMLU whole, by category and by subject."""


def load_benchmark(name: str) -> QuestionSet:
    """Return the questions of a benchmark, and its examples.

    Raises:
        ValueError: if there is none of that name, the hub cannot be reached, or the package
            `datasets` is not installed.
    """
    if name not in BENCHMARKS:
        near = get_close_matches(name, BENCHMARKS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else _NAMES
        raise ValueError(f"{name} is neither a file nor a benchmark: {hint}")
    benchmark = BENCHMARKS[name]
    examples: dict[str, tuple[Question, ...]] = {}
    if benchmark.examples is not None:
        for question in _questions(benchmark, benchmark.examples):
            examples[question.subject] = (*examples.get(question.subject, ()), question)
    return QuestionSet(name, _questions(benchmark, "test"), examples)


_NAMES = (
    "give the path of one that ends in .json or .jsonl, or wmdp-bio, wmdp-chem, wmdp-cyber, mmlu, "
    f"mmlu-SUBJECT, or {', '.join(f'mmlu-{name}' for name in CATEGORIES)}"
)


def _questions(benchmark: Benchmark, split: str) -> tuple[Question, ...]:
    source = f"{benchmark.dataset}, {benchmark.subset}, {split}"
    found = [
        question_of(record, f"{source}, record {number}", benchmark.subject)
        for number, record in enumerate(_records(benchmark, split))
    ]
    kept = benchmark.subjects
    return tuple(question for question in found if not kept or question.subject in kept)


def _records(benchmark: Benchmark, split: str) -> Iterable[Mapping[str, Any]]:
    try:
        from datasets import load_dataset  # noqa: PLC0415 (it needs the extra)
    except ImportError as error:
        raise ValueError(
            f"reading {benchmark.dataset} needs the package datasets: pip install -e '.[hf]'"
        ) from error
    try:
        records: Iterable[Mapping[str, Any]] = load_dataset(
            benchmark.dataset, benchmark.subset, split=split
        )
    except Exception as error:  # there is no end to what a network can do
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{benchmark.dataset} cannot be read ({said}): check the network, log in by "
            "`hf auth login` if it asks so, or give its questions as a .jsonl file"
        ) from error
    return records
