"""Short stories of random tokens, and measures of models."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lm.data.task import StoryRows
from lm.models.language_model import IGNORED, LanguageModel
from tests.lm.models.gpt_factories import SMALL

LENGTHS = (4, 2, 3)
"""The number of tokens of each story, each below the context."""


def stories(seed: int = 0, columns: int = SMALL.context) -> StoryRows:
    """Return short stories, in rows with the given number of columns."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((len(LENGTHS), columns + 1), IGNORED, dtype=torch.int16)
    kinds = torch.full((len(LENGTHS), columns), -1, dtype=torch.int16)
    for row, length in enumerate(LENGTHS):
        tokens[row, : length + 1] = torch.randint(13, (length + 1,), generator=generator)
        kinds[row, :length] = 0
    facts = torch.full(kinds.shape, -1, dtype=torch.int32)
    return StoryRows(tokens, kinds, facts, torch.zeros(len(LENGTHS), dtype=torch.int64))


def loss_of(rows: StoryRows) -> Callable[[LanguageModel], dict[str, float]]:
    """Return a measure that computes the loss on rows."""

    @torch.no_grad()
    def measure(model: LanguageModel) -> dict[str, float]:
        return {"loss": float(model.loss(rows.inputs, rows.targets))}

    return measure


class Weights:
    """A measure that records the weights of each model."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, model: LanguageModel) -> dict[str, float]:
        """Record a copy of all weights, and return the number of calls."""
        self.seen.append(weights(model))
        return {"calls": float(len(self.seen))}


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two sets of weights have equal bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
