"""The probe's logistic regression: the solution of its objective, and known answers."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.attacks.probing import class_log_probabilities


def solution(features: Tensor, labels: Tensor, classes: int, ridge: float) -> Tensor:
    """Return the log-probabilities of the training data by many steps of gradient descent."""
    standard = (features - features.mean(0)) / features.std(0, correction=0)
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(standard, weight, bias), labels)
        loss = loss + ridge * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return F.linear(standard, weight, bias).log_softmax(-1).detach()


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_predictions_are_those_of_the_solution_of_the_objective(ridge: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 5, generator=generator, dtype=torch.float64) * 3 + 1
    labels = torch.randint(3, (40,), generator=generator)
    found = class_log_probabilities(features, labels, features, 3, ridge)
    torch.testing.assert_close(found, solution(features, labels, 3, ridge), rtol=0, atol=1e-4)


def test_without_a_difference_the_shares_of_the_classes_are_predicted() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    found = class_log_probabilities(torch.ones(4, 2), labels, torch.ones(1, 2), 2, ridge=0.1)
    assert found.exp()[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-4)


def test_separable_classes_far_from_zero_are_separated_and_a_class_without_label_is_not() -> None:
    features = torch.tensor([[1000.0, 0.0], [1001.0, 0.0], [1004.0, 0.0], [1005.0, 0.0]])
    labels = torch.tensor([0, 0, 2, 2])
    found, again = (
        class_log_probabilities(features, labels, features, 3, ridge=1e-3) for _ in range(2)
    )
    assert found.argmax(1).tolist() == labels.tolist()
    assert (found[:, 1] == -torch.inf).all()
    assert torch.equal(found, again)
    assert found.dtype == torch.float64
