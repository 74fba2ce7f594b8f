"""A judge of stories: which are to be forgotten, and of which nobody can be sure, by labels alone.

A logistic regression on which tokens a story has, fitted to the labels of other stories. Where
labels are missing at random, what it gives is the chance that a story is labelled, which is the
chance that it is to be forgotten times a constant: that of a labelled story (Elkan and Noto 2008,
"Learning classifiers from only positive and unlabeled data").
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lm.task import StoryRows
from lm.training.routes import FORGET, RETAIN, UNLABELLED

FOLDS = 5
"""Parts of the stories; those of a part are judged by labels of the other parts."""
DECAY = 1e-3
"""Weight of the squared norm of the regression's weights, so that rare tokens say little."""
UNSURE = 0.25
"""Chance from which on a story is not sure to be one to retain."""


def judge(rows: StoryRows, labelled: Tensor, vocab_size: int, seed: int) -> Tensor:
    """Return the labels of stories by how likely they are to be forgotten, [n] int64.

    `FORGET` from an even chance on, `UNLABELLED` from `UNSURE` on, `RETAIN` below.

    A story's own label is never read to judge it, so that a wrong one is outvoted.

    Args:
        rows: the stories.
        labelled: which are labelled to be forgotten, [n] bool.
        vocab_size: tokens of the vocabulary.
        seed: of the parts.

    Raises:
        ValueError: if there is not one label for each story, or fewer stories than parts.
    """
    if labelled.shape != rows.topics.shape or len(rows) < FOLDS:
        raise ValueError(
            f"labels of shape {tuple(labelled.shape)} were given for {len(rows)} stories: give "
            f"each story one label, and {FOLDS} stories or more"
        )
    if not labelled.any():
        return torch.full(labelled.shape, RETAIN)
    present = _present(rows, vocab_size)
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(len(rows), generator=generator) % FOLDS
    chance = torch.zeros(len(rows))
    for number in range(FOLDS):
        mine = fold == number
        weights = _fit(present[~mine], labelled[~mine].float())
        chance[mine] = torch.sigmoid(present[mine] @ weights)
    likely = chance / chance[labelled].mean()
    unsure = torch.where(likely > UNSURE, UNLABELLED, RETAIN)
    return torch.where(likely > 0.5, FORGET, unsure)


def _present(rows: StoryRows, vocab_size: int) -> Tensor:
    """Return whether each story has each token, [n, v], and a column of ones after them."""
    present = torch.zeros(len(rows), vocab_size + 1)
    present.scatter_(1, rows.now, 1.0)
    present[:, -1] = 1.0
    return present


def _fit(present: Tensor, labelled: Tensor) -> Tensor:
    """Return the weights of a logistic regression, [v + 1]."""
    weights = torch.zeros(present.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        fit = F.binary_cross_entropy_with_logits(present @ weights, labelled)
        loss = fit + DECAY * weights[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach()
