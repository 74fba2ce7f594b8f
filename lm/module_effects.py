"""What the removal of a module does: to losses, facts, logits and single tokens of held-out texts.

Shape suffixes: n texts, t tokens, m predicted tokens, v vocabulary.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lm.data.task import StoryRows, joined
from lm.evaluation.likelihoods import losses, real_features, token_losses
from lm.evaluation.quiz import score
from lm.evaluation.topic_exam import examine_topics, make_topic_exam
from lm.finished import FinishedRun
from lm.models.language_model import LanguageModel
from lm.serving import kept_topics, localized
from lm.task import DocumentTask, StoryTask, UnlearningTask

BATCH = 32
"""Texts in a forward pass."""
WHOLE, ALONE = "whole", "core alone"
"""The model with all of its modules, and with none."""

Scores = dict[str, dict[str, float]]
"""Loss and share of known facts by section."""


class StoryReadings:
    """Held-out stories: those of the core, and those of each topic to forget.

    Args:
        task: source of the stories.
        run: the run whose model reads them.
        texts: number of stories of each section.
    """

    def __init__(self, task: StoryTask, run: FinishedRun, texts: int) -> None:
        self.topics = task.splits.forget
        self.exam = make_topic_exam(task, run.seed, replace(run.config.exam, stories=texts))
        self.rows = {
            name: self.exam.rows.take(self.exam.of_row == number)
            for number, name in enumerate(self.exam.sections)
        }

    def scores(self, model: LanguageModel) -> Scores:
        """Return the loss and the known facts of a model in each section."""
        return examine_topics(model, self.exam)

    def homes(self, module: str) -> tuple[str, ...]:
        """Return the sections that a module is about."""
        return kept_topics([module], self.topics)

    def of_topic(self, section: str, increase_nt: Tensor) -> float | None:
        """Return the share of an increase in a section that lies on words of the topic."""
        everything_nt = torch.zeros(self.exam.rows.kinds.shape, dtype=torch.float64)
        everything_nt[self.exam.of_row == self.exam.sections.index(section)] = increase_nt
        return localized(everything_nt, self.exam, section)


class DocumentReadings:
    """Held-out documents to retain and to forget.

    Args:
        task: source of the documents.
        run: the run whose model reads them.
        texts: number of documents of each section.
    """

    def __init__(self, task: DocumentTask, run: FinishedRun, texts: int) -> None:
        exam = task.exam(run.seed, replace(run.config.exam, stories=texts))
        self.sections = {name: exam.sections[name] for name in ("retain", "forget")}
        self.rows = {name: each.rows for name, each in self.sections.items()}

    def scores(self, model: LanguageModel) -> Scores:
        """Return the loss of a model in each section, and the known facts where some are asked."""
        return {
            name: {"loss": losses(model, section.rows, batch_size=BATCH).loss}
            | ({} if section.quiz is None else {"facts": score(model, section.quiz).choice})
            for name, section in self.sections.items()
        }

    def homes(self, module: str) -> tuple[str, ...]:
        """Return the section that a module is about."""
        return ("forget",)

    def of_topic(self, section: str, increase_nt: Tensor) -> float | None:
        """Return None, since no word of a document is known to be of a topic."""
        return None


class Effect(NamedTuple):
    """What the removal of a module does to the texts that it is about."""

    module: str
    """Its name."""
    rows: StoryRows
    """The texts."""
    increase_nt: Tensor
    """The increase of the loss of each token, [n, t]; 0 after a text."""
    attribution_v: Tensor
    """What the module adds to the logit of each token of the vocabulary, less the mean over all of
    them, as a mean over the predicted tokens."""
    of_topic: float | None
    """The share of the increase that lies on words of the topic; None if they are not known."""

    @property
    def increase_m(self) -> Tensor:
        """The increase of each predicted token, [m]."""
        return self.increase_nt[self.rows.kinds >= 0]

    def share_of_top(self, percent: float) -> float:
        """Return the share of all increases that so many percent of the tokens carry."""
        return share_of_top(self.increase_m, percent)


def readings_of(
    task: UnlearningTask, run: FinishedRun, texts: int
) -> StoryReadings | DocumentReadings:
    """Return the held-out texts of a run."""
    if isinstance(task, StoryTask):
        return StoryReadings(task, run, texts)
    assert isinstance(task, DocumentTask)
    return DocumentReadings(task, run, texts)


def ablations(model: LanguageModel) -> dict[str, LanguageModel]:
    """Return the model without each of its modules, and if there are several, without all."""
    names = model.module_names
    found = {
        f"without {name}": model.profile(*(other for other in names if other != name))
        for name in names
    }
    return found | ({ALONE: model.profile()} if len(names) > 1 else {})


def effect(
    module: str,
    readings: StoryReadings | DocumentReadings,
    whole: LanguageModel,
    without: LanguageModel,
) -> Effect:
    """Return what the removal of a module does to the texts that it is about."""
    parts, shares = [], []
    for section in readings.homes(module):
        rows = readings.rows[section]
        after, before = (
            token_losses(model, rows, batch_size=BATCH).double() for model in (without, whole)
        )
        parts.append((rows, after - before))
        shares.append(readings.of_topic(section, after - before))
    rows = joined([each for each, _ in parts])
    known = [share for share in shares if share is not None]
    return Effect(
        module=module,
        rows=rows,
        increase_nt=torch.cat([increase for _, increase in parts]),
        attribution_v=logit_attribution(whole, without, rows),
        of_topic=sum(known) / len(known) if known else None,
    )


@torch.no_grad()
def logit_attribution(whole: LanguageModel, without: LanguageModel, rows: StoryRows) -> Tensor:
    """Return what a module adds to the logit of each token of the vocabulary, [v].

    It is the logit with the module less that without it, by all paths through the network, less its
    mean over the vocabulary, which no probability depends on; and of that the mean over the
    predicted tokens.

    Args:
        whole: the model with the module.
        without: the same model without it.
        rows: texts.
    """
    total_v, count = torch.zeros(whole.vocab_size, dtype=torch.float64), 0
    for numbers in torch.split(torch.arange(len(rows)), BATCH):
        part = rows.take(numbers)
        real = part.kinds >= 0
        both = [
            [model.logits(piece) for piece in torch.split(real_features(model, part, real)[0], 256)]
            for model in (whole, without)
        ]
        for with_mv, without_mv in zip(*both, strict=True):
            difference_mv = (with_mv - without_mv).double().cpu()
            total_v += (difference_mv - difference_mv.mean(1, keepdim=True)).sum(0)
            count += len(difference_mv)
    return total_v / count


def share_of_top(increase: Tensor, percent: float) -> float:
    """Return the share of all increases that the most affected tokens carry.

    Decreases do not count, so that all tokens together carry 1. NaN if no loss increases.

    Args:
        increase: the increase of the loss of each token, of any shape.
        percent: how many of the tokens count, in percent; one at least.

    >>> share_of_top(torch.tensor([3.0, 1.0, -2.0, 0.0]), 25)
    0.75
    """
    rises = increase.flatten().clamp(min=0).sort(descending=True).values
    count = max(1, round(len(rises) * percent / 100))
    total = float(rises.sum())
    return float(rises[:count].sum()) / total if total else float("nan")


def pieces(
    rows: StoryRows, text: int, increase_t: Tensor, task: UnlearningTask
) -> list[tuple[str, float]]:
    """Return the text of each predicted token with its increase; together they are the text.

    Several tokens can make one character, which the last of them then has.
    """
    mask = rows.kinds[text] >= 0
    tokens, values = rows.targets[text][mask].tolist(), increase_t[mask].tolist()
    found, before = [], ""
    for place, value in enumerate(values):
        after = task.decode(tokens[: place + 1])
        piece = "" if after.endswith("\ufffd") else after[len(before) :]
        before = before if after.endswith("\ufffd") else after
        found.append((piece, value))
    return found


def token_text(token: int, task: UnlearningTask) -> str:
    """Return the text of a token; its number, if it is a part of a character or cannot be shown."""
    text = task.decode([token])
    shown = text.strip() and text.isprintable() and "\ufffd" not in text
    return text if shown else f"<{token}>"
