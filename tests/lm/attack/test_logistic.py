"""Logistic regression: at its one solution no step leads down, and known answers come out."""

from math import log

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.attacks.probing import Classifier, fit


def objective(classifier: Classifier, features: Tensor, labels: Tensor, ridge: float) -> Tensor:
    loss = F.cross_entropy(classifier.logits(features), labels)
    return loss + ridge * classifier.weight.square().sum()


def data(rows: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, 5, generator=generator, dtype=torch.float64) * 3 + 1
    return features, torch.randint(3, (rows,), generator=generator)


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_no_step_leads_down_from_the_solution(ridge: float) -> None:
    features, labels = data()
    found = fit(features, labels, 3, ridge)
    weight, bias = (part.clone().requires_grad_() for part in (found.weight, found.bias))
    at = objective(found._replace(weight=weight, bias=bias), features, labels, ridge)
    grads = torch.autograd.grad(at, [weight, bias])
    assert max(float(grad.abs().max()) for grad in grads) < 2e-5
    assert float(at.detach()) < log(3)  # that of weights of zero


def test_without_a_difference_the_shares_of_the_classes_are_told() -> None:
    found = fit(torch.ones(4, 2), torch.tensor([0, 0, 0, 1]), 2, ridge=0.1)
    shares = found.logits(torch.ones(1, 2)).softmax(-1)
    assert shares[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-4)


def test_classes_apart_are_told_apart_also_far_from_zero_and_it_is_the_same_again() -> None:
    features = torch.tensor([[1000.0, 0.0], [1001.0, 0.0], [1004.0, 0.0], [1005.0, 0.0]])
    labels = torch.tensor([0, 0, 2, 2])
    found, again = (fit(features, labels, 3, ridge=1e-3) for _ in range(2))
    assert found.logits(features).argmax(1).tolist() == labels.tolist()
    assert torch.equal(found.weight, again.weight)
    assert found.weight.dtype == torch.float64
