"""The losses of routed PPO, as pure functions of tensors."""

import torch
import torch.nn.functional as F
from torch import Tensor


def normalize(advantages: Tensor) -> Tensor:
    """Return advantages of mean 0 and deviation 1, or the single one as it is."""
    if len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def policy_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Return PPO's clipped surrogate loss (Schulman et al. 2017, equation 7), negated."""
    clipped = torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
    return -torch.min(advantages * ratio, advantages * clipped).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """Return the squared error of the critic."""
    return F.mse_loss(returns, values)


def entropy_loss(entropy: Tensor | None, log_prob: Tensor) -> Tensor:
    """Return the negated entropy, estimated from the samples where it has no closed form."""
    return -torch.mean(-log_prob) if entropy is None else -torch.mean(entropy)


def mixture_loss(logits: Tensor, is_first: Tensor) -> Tensor:
    """Return the cross-entropy of the mixture on labelled steps, pooled over them; 0 if none.

    The paper prints a mean per trajectory, its code pools the steps; this follows the code.

    Args:
        logits: of the first module's weight, one per labelled step.
        is_first: whether the step's episode had the first module's outcome.

    >>> mixture_loss(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    tensor(0.)
    """
    losses = F.binary_cross_entropy_with_logits(logits, is_first.to(logits.dtype), reduction="sum")
    return losses / max(1, len(logits))


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Return the low-variance estimate of KL(old, new) from samples of the old policy."""
    return torch.mean((torch.exp(log_ratio) - 1) - log_ratio)
