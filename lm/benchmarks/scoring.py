"""Ask a model the questions of a set, some at a time.

How a question is asked: the prompt, and the continuations among which a model chooses.

The prompts are those of lm-evaluation-harness 0.4 to the letter: `letter` of its tasks `wmdp_bio`
and `mmlu`, `cloze` of `mmlu_continuation`. `answer` lists the choices as `letter` does, and asks
for the text of one. `control` is `letter` without the question: what a model gets right there, the
choices alone give away (O'Brien et al. 2025, arXiv 2508.06601, who ask by cloze, too).

Log-likelihoods of the ends of rows, in batches; rows that read the same are read once.

So all letters of a question are one row. `lm.evaluation.likelihoods` reads a row for each token
of a continuation, which is as good for the single words of its quizzes; answers here are
sentences, and all their tokens are predicted from one row.

Requests as tokens, split between prompt and continuation as lm-evaluation-harness does it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lm.benchmarks.questions import Question, QuestionSet
from lm.evaluation.likelihoods import log_probabilities
from lm.models.language_model import CHUNK_LOGITS, LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Request(NamedTuple):
    """A prompt, and what may follow it."""

    context: str
    continuations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to ask."""

    introduction: str
    """what all questions on a subject begin with"""
    prompt: Callable[[Question], str]
    """the question, without its answer"""
    targets: Callable[[Question], Sequence[str]]
    """what answers it, for each choice"""

    def request(self, question: Question, examples: Sequence[Question] = ()) -> Request:
        """Return a question as it is asked after solved examples."""
        subject = question.subject.replace("_", " ")
        introduction = self.introduction.format(subject) if subject else ""
        solved = (f"{self.prompt(one)} {self.targets(one)[one.answer]}\n\n" for one in examples)
        context = "".join([introduction, *solved, self.prompt(question)])
        return Request(context, tuple(f" {target}" for target in self.targets(question)))


def _lettered(question: Question) -> str:
    return f"{question.question.strip()}\n{_choices(question)}"


def _choices(question: Question) -> str:
    rows = zip(ascii_uppercase, question.choices, strict=False)
    return "".join(f"{letter}. {choice}\n" for letter, choice in rows) + "Answer:"


def _alone(question: Question) -> str:
    return f"Question: {question.question.strip()}\nAnswer:"


def _letters(question: Question) -> str:
    return ascii_uppercase[: len(question.choices)]


def _texts(question: Question) -> tuple[str, ...]:
    return question.choices


_MULTIPLE_CHOICE = "The following are multiple choice questions (with answers) about {}.\n\n"

FORMS = {
    "letter": Form(_MULTIPLE_CHOICE, _lettered, _letters),
    "answer": Form(_MULTIPLE_CHOICE, _lettered, _texts),
    "cloze": Form("The following are questions (with answers) about {}.\n\n", _alone, _texts),
    "control": Form(_MULTIPLE_CHOICE, _choices, _letters),
}
"""By name: for the letter of a listed choice, for the text of one, for the text of one that is not
listed, and for the letter without the question."""


class Row(NamedTuple):
    """What a model reads, and the tokens that are to follow the last positions of it."""

    read: tuple[int, ...]
    targets: tuple[int, ...]


class Encoder:
    """Encodes requests for a context.

    A prompt and its continuation are encoded together, and the prompt alone says how many of
    these tokens are its own, so that words are cut as in running text. What does not fit is
    dropped on the left.

    Args:
        tokenizer: of the model.
        context: tokens that the model sees at most.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", context: int) -> None:
        self.tokenizer, self.context = tokenizer, context
        first = tokenizer.bos_token_id
        self.first: str = tokenizer.decode(tokenizer.eos_token_id if first is None else first)

    def rows(self, request: Request) -> list[Row]:
        """Return a row for each continuation.

        Raises:
            ValueError: if a continuation is no token, or more than the context holds.
        """
        context = request.context.rstrip()
        spaces = request.context[len(context) :]  # a word begins with the space before it
        count = len(self._tokens(context))
        return [
            self._row(self._tokens(context + spaces + continuation), count)
            for continuation in request.continuations
        ]

    def _row(self, tokens: list[int], count: int) -> Row:
        targets = tuple(tokens[count:])
        if not 1 <= len(targets) <= self.context:
            raise ValueError(
                f"one of its choices is {len(targets)} tokens after the prompt: give from 1 to "
                f"{self.context}, which the model's context holds"
            )
        return Row(tuple(tokens[-(self.context + 1) :][:-1]), targets)

    def _tokens(self, text: str) -> list[int]:
        # a text that brings the first token itself gets no second one
        special = not text.startswith(self.first)
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=special, verbose=False)
        return tokens


@torch.no_grad()
def log_likelihoods(model: LanguageModel, rows: Sequence[Row], batch_size: int) -> list[float]:
    """Return the log-likelihood of the targets of each row, their log-probabilities' sum.

    Args:
        model: read where it is, without routes, and causal, as rows are filled up on the right.
        rows: from an `Encoder` for the model's context.
        batch_size: different rows that are read at a time, the longest first.
    """
    requests: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        requests.setdefault(row.read, []).append(number)
    different = sorted(requests, key=lambda read: (-len(read), read))
    found = torch.zeros(len(rows), dtype=torch.float64)
    for start in range(0, len(different), batch_size):
        batch = different[start : start + batch_size]
        places = _places(batch, requests, rows)
        found.index_add_(0, places.requests, _read(model, batch, places))
    numbers: list[float] = found.tolist()
    return numbers


class _Places(NamedTuple):
    """k predictions, [k] int64 each: the batch's row, the position, the token, the request."""

    rows: Tensor
    positions: Tensor
    tokens: Tensor
    requests: Tensor


def _places(
    batch: Sequence[tuple[int, ...]],
    requests: dict[tuple[int, ...], list[int]],
    rows: Sequence[Row],
) -> _Places:
    table = [
        (place, len(read) - len(rows[number].targets) + step, token, number)
        for place, read in enumerate(batch)
        for number in requests[read]
        for step, token in enumerate(rows[number].targets)
    ]
    return _Places(*torch.tensor(table).unbind(1))


def _read(model: LanguageModel, batch: Sequence[tuple[int, ...]], places: _Places) -> Tensor:
    """Return the log-probability of each prediction, [k] float64 on the CPU."""
    longest = max(map(len, batch))
    tokens_bt = torch.tensor([read + (0,) * (longest - len(read)) for read in batch])
    x_btd = model.features(tokens_bt.to(model.device))
    different, which = torch.unique(
        torch.stack([places.rows, places.positions]), dim=1, return_inverse=True
    )
    found = torch.empty(len(which), dtype=torch.float64)
    piece = max(1, CHUNK_LOGITS // model.vocab_size)
    for start in range(0, different.shape[1], piece):
        row, position = different[:, start : start + piece].to(x_btd.device)
        table = log_probabilities(model, x_btd[row, position])
        here = (which >= start) & (which < start + piece)
        token = places.tokens[here].to(table.device)
        found[here] = table[(which[here] - start).to(table.device), token].double().cpu()
    return found


CHUNK = 32
"""Questions that are asked at a time, whatever was asked before: so a run that goes on has the
batches, and the bits, of one that never stopped."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model made of a question; its text is not kept."""

    subject: str
    answer: int
    lengths: tuple[int, ...]
    """characters of each choice"""
    likelihoods: dict[str, tuple[float, ...]]
    """the log-likelihood of each choice, by form"""


@dataclass(frozen=True, eq=False)
class Asker:
    """Asks a model.

    Args:
        model: read where it is, without routes.
        encoder: of its tokenizer and context.
        forms: names of `FORMS`.
        shots: solved examples in each prompt.
        batch_size: rows that are read at a time.
    """

    model: LanguageModel
    encoder: Encoder
    forms: Sequence[str] = tuple(FORMS)
    shots: int = 0
    batch_size: int = 16

    def ask(self, questions: QuestionSet, first: int = 0) -> Iterator[list[Asked]]:
        """Yield what the model makes of the questions, a chunk at a time, from one on.

        Raises:
            ValueError: if there are too few examples, or a choice cannot be encoded.
        """
        for start in range(first, len(questions.questions), CHUNK):
            yield self._chunk(questions, start)

    def _chunk(self, questions: QuestionSet, start: int) -> list[Asked]:
        chunk = questions.questions[start : start + CHUNK]
        found: list[dict[str, tuple[float, ...]]] = [{} for _ in chunk]
        for form in self.forms:
            rows = [
                self._rows(questions, number, form) for number in range(start, start + len(chunk))
            ]
            flat = [row for several in rows for row in several]
            numbers = iter(log_likelihoods(self.model, flat, self.batch_size))
            for each, several in zip(found, rows, strict=True):
                each[form] = tuple(next(numbers) for _ in several)
        return [_asked(question, each) for question, each in zip(chunk, found, strict=True)]

    def _rows(self, questions: QuestionSet, number: int, form: str) -> list[Row]:
        question = questions.questions[number]
        request = FORMS[form].request(question, questions.shown(question, self.shots))
        try:
            return self.encoder.rows(request)
        except ValueError as error:
            raise ValueError(f"{questions.name}, question {number + 1}: {error}") from None


def _asked(question: Question, likelihoods: dict[str, tuple[float, ...]]) -> Asked:
    lengths = tuple(len(choice) for choice in question.choices)
    return Asked(question.subject, question.answer, lengths, likelihoods)
