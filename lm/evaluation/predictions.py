"""What a model predicts next, with an output bias if one is given."""

import torch
from torch import Tensor

from lm.model.language_model import LanguageModel
from lm.task import StoryRows

CHUNK_LOGITS = 2**25
"""Logits that are held at a time."""


def log_probabilities(model: LanguageModel, features: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the log-probability of each next token, [..., v], in float32 or finer.

    Args:
        model: whose output head reads the features.
        features: [..., d], from `model.features`.
        bias: [v], added to the logits; none by default.
    """
    logits = model.logits(features)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(logits if bias is None else logits + bias.to(logits), -1)


@torch.no_grad()
def token_losses(
    model: LanguageModel, rows: StoryRows, bias: Tensor | None = None, batch_size: int = 256
) -> Tensor:
    """Return the cross-entropy of each predicted token, [n, t] on the CPU, 0 after the story.

    Args:
        model: read where it is, without routes.
        rows: stories.
        bias: [v], added to the logits; none by default.
        batch_size: rows that are read at a time.
    """
    table = torch.zeros(rows.kinds.shape)
    for numbers in torch.split(torch.arange(len(rows)), batch_size):
        part = rows.take(numbers)
        real = part.kinds >= 0
        features, following = real_features(model, part, real)
        pieces = zip(
            *(torch.split(whole, _piece(model)) for whole in (features, following)), strict=True
        )
        losses = [
            -log_probabilities(model, piece, bias).gather(1, right[:, None])[:, 0].cpu()
            for piece, right in pieces
        ]
        table[numbers] = torch.zeros(real.shape).masked_scatter(real, torch.cat(losses).float())
    return table


@torch.no_grad()
def real_features(model: LanguageModel, rows: StoryRows, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features that predict some tokens, [m, d], and these tokens, [m].

    Args:
        model: read where it is, without routes.
        rows: stories, read in one batch.
        real: which of their tokens, [n, t].
    """
    device = model.device
    end = int(real.any(0).nonzero().max()) + 1  # what fills up all rows is not read
    chosen = real[:, :end].to(device)
    features = model.features(rows.now[:, :end].to(device))
    return features[chosen], rows.following[:, :end].to(device)[chosen]


def _piece(model: LanguageModel) -> int:
    """Return how many tokens' logits are held at a time."""
    return max(1, CHUNK_LOGITS // model.vocab_size)
