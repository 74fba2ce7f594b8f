"""The loss of a split network: errors of groups, an L1 norm of the code, and correlation of parts.

Where the paper (Cloud et al. 2024, arXiv 2410.04332, appendix B) and its shipped code differ, the
code is followed: errors are a sum over groups of the mean within each, about as many times a batch
mean as there are groups, and the correlation is the absolute value of a mean over the batch, where
the printed formula takes a mean of absolute values.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from oversight.representations.config import Task


def errors(outputs: Tensor, images: Tensor, classes: Tensor, task: Task) -> Tensor:
    """Return the training error of each image, [batch].

    It is the mean absolute error over pixels, or the cross-entropy of the class.

    Args:
        outputs: pixels or logits, [batch, outputs].
        images: [batch, pixels].
        classes: [batch] int64.
        task: what is learned.
    """
    if task == "classify":
        return F.cross_entropy(outputs, classes, reduction="none")
    return (outputs - images).abs().mean(-1)


def group_weights(group: Tensor, num_groups: int) -> Tensor:
    """Return a weight for each image, such that their weighted sum adds up the groups' means.

    An unlabeled image has a weight as in a batch mean times the number of groups. The labeled ones
    share the rest of the weight, by equal amounts for each group.

    Args:
        group: the group of each image, [batch] int64; `num_groups` for an unlabeled one.
        num_groups: number of groups.

    >>> group_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.3333, 0.3333, 0.3333, 1.0000])
    >>> group_weights(torch.tensor([0, 1, 2, 2]), 2)
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    counts = torch.bincount(group, minlength=num_groups + 1)
    labeled = counts[:num_groups].sum() / len(group)
    weights = labeled / counts
    weights[num_groups] = num_groups / len(group)
    return weights[group]


def l1_norm(code: Tensor, part_sizes: Sequence[int], weights: Sequence[float]) -> Tensor:
    """Return the mean over images and positions of the L1 norm of the code, weighted by part.

    Args:
        code: [batch, *positions, code_size].
        part_sizes: the dimensions of each part.
        weights: the weight of each part.
    """
    norms = torch.split(code.abs().flatten(0, -2).mean(0), list(part_sizes))
    weighted = [weight * norm.sum() for weight, norm in zip(weights, norms, strict=True)]
    return torch.stack(weighted).sum()


def correlation(code: Tensor, part_sizes: Sequence[int]) -> Tensor:
    """Return the mean absolute correlation between dimensions of different parts.

    Each dimension is standardized over images and positions. With more than two parts this is the
    mean over all pairs of parts. A dimension that does not vary has no correlation, and counts 0.

    Args:
        code: [batch, *positions, code_size].
        part_sizes: the dimensions of each part.
    """
    rows = code.flatten(0, -2)
    centered = rows - rows.mean(0)
    squares = centered.square().sum(0)
    # where a sum is 0, the gradient of its root is infinite
    scaled = torch.where(squares > 0, centered / torch.where(squares > 0, squares, 1).sqrt(), 0)
    parts = torch.split(scaled, list(part_sizes), -1)
    pairs = [(one.T @ other).abs().mean() for one, other in combinations(parts, 2)]
    return torch.stack(pairs).mean()
