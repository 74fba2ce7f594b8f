"""Logistic regression, multinomial, with a ridge: a convex problem, solved to its one solution."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Classifier(NamedTuple):
    """A linear classifier of standardized features."""

    mean: Tensor
    """[d], of the features that it was fitted to"""
    deviation: Tensor
    """[d], 1 where a feature does not vary"""
    weight: Tensor
    """[c, d]"""
    bias: Tensor
    """[c]"""

    def logits(self, features: Tensor) -> Tensor:
        """Return the logit of each class, [n, c], of features [n, d]."""
        standard = (features.to(self.mean) - self.mean) / self.deviation
        return F.linear(standard, self.weight, self.bias)


def fit(features: Tensor, labels: Tensor, classes: int, ridge: float) -> Classifier:
    """Return the classifier of least mean cross-entropy and ridge, in float64.

    The objective is the mean cross-entropy plus the ridge times the sum of squared weights, the
    bias left out. Solved by L-BFGS from zero, so that nothing is drawn.

    Args:
        features: [n, d], one row or more.
        labels: classes from 0 on, [n].
        classes: how many there are; some may have no row.
        ridge: above 0, so that there is one solution also where classes can be separated.
    """
    features = features.double()
    mean, deviation = features.mean(0), features.std(0, correction=0)
    deviation = torch.where(deviation == 0, 1, deviation)
    standard = (features - mean) / deviation
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=500,
        tolerance_grad=1e-5,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def objective() -> float:
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = F.cross_entropy(F.linear(standard, weight, bias), labels)
            loss = loss + ridge * weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return Classifier(mean, deviation, weight.detach(), bias.detach())
