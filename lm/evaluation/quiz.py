"""Questions about facts, asked of a model, and the calibration of its output bias.

Questions are about stories, whose prompt is the beginning of a story, or come from files and
benchmarks, and are asked as `python -m lm.ask` asks them in the form `cloze`.

A model answers with the choice that has the largest log-likelihood after the prompt. Equally likely
choices share the credit evenly, so that a model without knowledge scores chance, wherever the right
choice stands.

A method that only lowers the logits of some words appears to have forgotten. Calibration undoes
that: an output bias alone is trained, on forget text with weight 1 and on retained text with weight
100, before the loss is measured (Shilov et al. 2025, arXiv 2512.05648). No other weight moves, so
calibration is not an attack. The problem is convex; at its solution, words are predicted as often
as they occur in the weighted text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.corpus import Question
from lm.data.task import StoryRows, Task
from lm.evaluation.likelihoods import (
    Continuations,
    lay_out,
    log_likelihoods,
    real_features,
)
from lm.models.language_model import LanguageModel
from oversight.runs.settings import require_numbers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Scores(NamedTuple):
    """Shares of questions answered correctly."""

    choice: float
    """Accuracy of multiple choice among the four values of a quartet."""
    control: float
    """Accuracy without the entity, or the question, in the prompt: what choices alone reveal."""
    cloze: float | None
    """Accuracy among all values of the relation; None for questions that have only choices."""


@dataclass(frozen=True, eq=False)
class Quiz:
    """n questions, encoded."""

    texts: Continuations
    """The n prompts, then the n controls, each with all values of its relation."""
    choices: Tensor
    """[n, c] int64: index of each choice among the values, c = 4 for stories"""
    answers: Tensor
    """[n] int64: index of the right value among the choices"""
    cloze_answers: Tensor | None = None
    """[n] int64: index of the right value among all values; None if all values are choices"""
    present: Tensor | None = None
    """[n, c] bool: which choices a question has; None if each has all c"""

    def __len__(self) -> int:
        return len(self.answers)


def encode_quiz(task: Task, questions: Sequence[Question]) -> Quiz:
    """Encode questions; a prompt is the beginning of a story.

    Raises:
        ValueError: if there is no question.
    """
    if not questions:
        raise ValueError("a quiz without questions was asked for: give one or more")
    texts = [q.prompt for q in questions] + [q.control for q in questions]
    words = {word: task.encode(word) for question in questions for word in question.values}
    values = [[words[word] for word in question.values] for question in questions]
    choices = [[q.values.index(choice) for choice in q.choices] for q in questions]
    return Quiz(
        texts=lay_out([[task.start, *task.encode(text)] for text in texts], values * 2),
        choices=torch.tensor(choices),
        answers=torch.tensor([question.answer for question in questions]),
        cloze_answers=torch.tensor([question.cloze_answer for question in questions]),
    )


CUE = "Answer:"
"""The end of a prompt, and the whole prompt of the control."""


def prompt_of(record: Mapping[str, Any]) -> str:
    r"""Return the prompt of a question, that of the form `cloze` of `lm.evaluation.harness`.

    It is the `statement` of a record that has one.

    >>> prompt_of({"question": "Who? ", "subject": ""})
    'Question: Who?\nAnswer:'
    """
    if record.get("statement"):
        return str(record["statement"])
    about = record["subject"].replace("_", " ")
    intro = f"The following are questions (with answers) about {about}.\n\n" if about else ""
    return f"{intro}Question: {record['question'].strip()}\n{CUE}"


def draw_records(
    records: Sequence[Mapping[str, Any]], count: int | None, seed: int
) -> list[Mapping[str, Any]]:
    """Return some of the questions, which the seed draws, in their order; all by default."""
    if count is None or count >= len(records):
        return list(records)
    chosen = np.random.default_rng([seed, 3]).permutation(len(records))[:count]
    return [records[number] for number in sorted(chosen)]


def encode_records(
    records: Sequence[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerBase", start: int
) -> Quiz:
    """Encode questions of files or benchmarks, as `lm.evaluation.harness` checks them.

    The prompt is the question, and the control leaves it out. Both follow the token before texts,
    as the texts of a study do.

    Args:
        records: the questions, each with any number of choices.
        tokenizer: the tokenizer of the model.
        start: the token before a prompt.

    Raises:
        ValueError: if there is no question, or a choice has no tokens after its prompt.
    """
    choices = [record["choices"] for record in records]
    prompts = [*map(prompt_of, records), *[CUE] * len(records)]
    counts = torch.tensor([len(several) for several in choices])
    texts = encode_choices(prompts, choices * 2, tokenizer, start)
    width = texts.shape[1]
    return Quiz(
        texts=texts,
        choices=torch.arange(width).expand(len(records), width),
        answers=torch.tensor([record["answer"] for record in records]),
        present=torch.arange(width) < counts[:, None],
    )


def encode_choices(
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    tokenizer: "PreTrainedTokenizerBase",
    start: int,
) -> Continuations:
    """Return prompts with their choices; the last choice fills up the rows of those with fewer.

    Raises:
        ValueError: if there is no prompt, or a choice has no tokens after its prompt.
    """
    width = max((len(several) for several in choices), default=0)
    texts: list[list[int]] = []
    values: list[list[list[int]]] = []
    for prompt, given in zip(prompts, choices, strict=True):
        before, several = _encode_after(prompt, given, tokenizer)
        texts.append([start, *before])
        values.append([*several, *[several[-1]] * (width - len(several))])
    return lay_out(texts, values)


def _encode_after(
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


def score(
    model: LanguageModel,
    quiz: Quiz,
    bias: Tensor | None = None,
    batch_size: int = 256,
    layer: int | None = None,
) -> Scores:
    """Return the scores of a model on all questions, as `log_likelihoods` reads the model."""
    likelihoods = log_likelihoods(model, quiz.texts, bias, batch_size, layer)
    asked, control = torch.split(likelihoods, len(quiz))

    def chosen(values: Tensor) -> float:
        choices = values.gather(1, quiz.choices)
        if quiz.present is not None:
            choices = choices.where(quiz.present, -torch.inf)
        return _mean_credit(choices, quiz.answers)

    cloze = None if quiz.cloze_answers is None else _mean_credit(asked, quiz.cloze_answers)
    return Scores(choice=chosen(asked), control=chosen(control), cloze=cloze)


def credit(scores: Tensor, answers: Tensor) -> Tensor:
    """Return the credit of each question, [n], from the scores [n, c] of its choices.

    It is 1 / m if the right choice is among the m best ones, else 0. No choice is best if a score
    is NaN.

    >>> credit(torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]), torch.tensor([2, 0])).tolist()
    [0.5, 0.0]
    """
    best = scores == scores.amax(1, keepdim=True)
    right = best.gather(1, answers[:, None])[:, 0]
    return right.double() / best.sum(1).clamp(min=1)


def guessing_share(counts: Sequence[int]) -> float:
    """Return the expected share of right answers by guessing, from the numbers of choices.

    >>> guessing_share([2, 4])
    0.375
    """
    return sum(1 / count for count in counts) / len(counts)


def _mean_credit(scores: Tensor, answers: Tensor) -> float:
    return float(credit(scores, answers).mean())


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationConfig:
    """How to train the output bias.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 200
    """Number of steps of Adam."""
    learning_rate: float = 0.05
    """Initial learning rate, which decays linearly to 0."""
    retain_weight: float = 100.0
    """Weight of the losses on retain and on adjacent stories; forget stories have weight 1."""
    batch_tokens: int = 256
    """Tokens that are drawn from each set of stories per step, or all if there are fewer."""
    seed: int = 0
    """Seed of the draw of tokens."""

    def __post_init__(self) -> None:
        require_numbers(self, "steps", "retain_weight", least=0)
        require_numbers(self, "batch_tokens", least=1)
        require_numbers(self, "learning_rate")


def calibrate(
    model: LanguageModel,
    forget: StoryRows,
    retain: StoryRows,
    adjacent: StoryRows | None = None,
    config: CalibrationConfig | None = None,
) -> Tensor:
    """Train an output bias with all other weights fixed; return it, [v], on the model's device.

    Measure the calibrated loss on other stories than these.

    Raises:
        ValueError: if one of the sets holds no story.
    """
    config = config or CalibrationConfig()
    weighted = [(1.0, forget), (config.retain_weight, retain)]
    weighted += [] if adjacent is None else [(config.retain_weight, adjacent)]
    texts = [(weight, *_features(model, rows)) for weight, rows in weighted]
    generator = torch.Generator().manual_seed(config.seed)
    device = model.device
    bias = torch.zeros(model.vocab_size, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([bias], lr=config.learning_rate)
    for step in range(config.steps):
        loss = torch.zeros((), device=device)
        for weight, features, targets in texts:
            drawn = _draw(len(targets), config.batch_tokens, generator).to(device)
            with torch.no_grad():
                logits = model.logits(features[drawn]).float()
            loss = loss + weight * F.cross_entropy(logits + bias, targets[drawn])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
        optimizer.step()
    return bias.detach()


def _features(
    model: LanguageModel, rows: StoryRows, batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Return the features that predict the targets of stories, [m, d], and the targets, [m]."""
    if not len(rows):
        raise ValueError("a set without stories was given to calibrate on: give one or more")
    batches = [rows.take(numbers) for numbers in torch.split(torch.arange(len(rows)), batch_size)]
    parts = [real_features(model, batch, batch.kinds >= 0) for batch in batches]
    features, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    return features, targets


def _draw(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Return `size` random indices below `count`, or all of them if there are no more."""
    if count <= size:
        return torch.arange(count)
    return torch.randint(count, (size,), generator=generator)
