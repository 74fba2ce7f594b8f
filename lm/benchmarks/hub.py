"""Benchmarks by name, from the Hugging Face hub: WMDP (arXiv 2403.03218) and MMLU (2009.03300)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lm.benchmarks.question import Question, QuestionSet, question_of
from lm.benchmarks.subjects import CATEGORIES, SUBJECTS


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
