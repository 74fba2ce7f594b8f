"""Questions of files and benchmarks, asked of a model within a study.

A question is asked as `python -m lm.ask` does in the form `cloze`: the prompt is the question, and
the model answers with the choice whose text has the largest log-likelihood after it. The control
leaves the question out. The prompt follows the token before texts, as the texts of the study do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lm.evaluation.harness import QuestionSet, check_record
from lm.evaluation.likelihoods import lay_out_whole
from lm.evaluation.quiz import Quiz

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CUE = "Answer:"
"""The end of a prompt, and the whole prompt of the control."""


def prompt_of(record: Mapping[str, Any]) -> str:
    r"""Return the prompt of a question, that of the form `cloze` of `lm.evaluation.harness`.

    >>> prompt_of({"question": "Who? ", "subject": ""})
    'Question: Who?\nAnswer:'
    """
    about = record["subject"].replace("_", " ")
    intro = f"The following are questions (with answers) about {about}.\n\n" if about else ""
    return f"{intro}Question: {record['question'].strip()}\n{CUE}"


def records_of(questions: QuestionSet) -> list[Mapping[str, Any]]:
    """Return the questions of a set in order."""
    return [source.questions[place] for source, place in questions.places]


def drawn(
    records: Sequence[Mapping[str, Any]], count: int | None, seed: int
) -> list[Mapping[str, Any]]:
    """Return some of the questions, which the seed draws, in their order; all by default."""
    if count is None or count >= len(records):
        return list(records)
    chosen = np.random.default_rng([seed, 3]).permutation(len(records))[:count]
    return [records[number] for number in sorted(chosen)]


def chance(records: Sequence[Mapping[str, Any]]) -> float:
    """Return the expected share of right answers by guessing.

    >>> chance([{"choices": ["a", "b"]}, {"choices": ["a", "b", "c", "d"]}])
    0.375
    """
    return float(np.mean([1 / len(record["choices"]) for record in records]))


def encode_records(
    records: Sequence[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerBase", start: int
) -> Quiz:
    """Encode questions, as `check_record` returns them.

    Args:
        records: the questions, each with any number of choices.
        tokenizer: the tokenizer of the model.
        start: the token before a prompt.

    Raises:
        ValueError: if there is no question, or a choice has no tokens after its prompt.
    """
    width = max((len(record["choices"]) for record in records), default=0)
    texts: list[list[int]] = []
    values: list[list[list[int]]] = []
    for prompt in (*map(prompt_of, records), *[CUE] * len(records)):
        record = records[len(texts) % len(records)]
        before, several = _encoded(prompt, record["choices"], tokenizer)
        texts.append([start, *before])
        values.append([*several, *[several[-1]] * (width - len(several))])
    counts = torch.tensor([len(record["choices"]) for record in records])
    return Quiz(
        texts=lay_out_whole(texts, values),
        choices=torch.arange(width).expand(len(records), width),
        answers=torch.tensor([record["answer"] for record in records]),
        present=torch.arange(width) < counts[:, None],
    )


def _encoded(
    prompt: str, choices: Sequence[str], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[int], list[list[int]]]:
    """Return the tokens of a prompt, and those of each choice after it."""

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    before = tokens(prompt)
    after = [tokens(f"{prompt} {choice}")[len(before) :] for choice in choices]
    for choice, own in zip(choices, after, strict=True):
        if not own:
            raise ValueError(
                f"the choice {choice!r} has no tokens of its own after its question: give another"
            )
    return before, after


def checked(records: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Return given questions in their common shape.

    Raises:
        ValueError: if there is none, or one is malformed.
    """
    if isinstance(records, str | bytes | Path) or not len(records):
        raise ValueError(f"{name} are {records!r}: give a list of one question or more")
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise ValueError(
                f"{name}, record {number} holds {type(record).__name__}: give an object with "
                "question, choices, answer"
            )
    return [check_record(each, f"{name}, record {number}") for number, each in enumerate(records)]
