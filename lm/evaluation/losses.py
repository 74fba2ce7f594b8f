"""Losses on stories: of all tokens, and of the values of facts."""

from typing import NamedTuple

from torch import Tensor

from lm.corpus import Kind
from lm.evaluation.predictions import token_losses
from lm.model.language_model import LanguageModel
from lm.task import StoryRows


class Losses(NamedTuple):
    """Mean losses of stories, in nats."""

    loss: float
    """of a token"""
    facts: float | None
    """of a stated value, the tokens of its word together; None where no story states any"""


def losses(
    model: LanguageModel, rows: StoryRows, bias: Tensor | None = None, batch_size: int = 256
) -> Losses:
    """Return a model's mean losses on stories.

    Args:
        model: read where it is, without routes.
        rows: stories.
        bias: [v], added to the logits, as `calibrate` returns it; none by default.
        batch_size: rows that are read at a time.

    Raises:
        ValueError: if there is no story.
    """
    if not len(rows):
        raise ValueError("no stories were given to read losses on: give one or more")
    value = rows.kinds == Kind.VALUE
    nats = token_losses(model, rows, bias, batch_size).double()
    begins = value.clone()
    begins[:, 1:] &= ~value[:, :-1]  # a word may be several tokens
    return Losses(
        loss=float(nats.sum() / (rows.kinds >= 0).sum()),
        facts=float(nats[value].sum() / begins.sum()) if value.any() else None,
    )
