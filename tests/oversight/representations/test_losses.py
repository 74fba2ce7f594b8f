"""The terms of the loss equal slow loops over their definitions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from oversight.representations.losses import correlation, errors, group_weights, l1_norm


def random_code(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loop_correlation(rows: Tensor, sizes: tuple[int, ...]) -> float:
    """Return the mean over pairs of parts of the mean absolute correlation of their dimensions."""
    ends = np.cumsum(sizes).tolist()
    spans = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    of_pairs = []
    for place, one in enumerate(spans):
        for other in spans[place + 1 :]:
            found = [
                abs(float(np.corrcoef(rows[:, i], rows[:, j])[0, 1])) for i in one for j in other
            ]
            of_pairs.append(sum(found) / len(found))
    return sum(of_pairs) / len(of_pairs)


@pytest.mark.parametrize("sizes", [(3, 3), (2, 4), (1, 2, 3)])
def test_correlation_equals_a_loop_over_pairs_of_dimensions(sizes: tuple[int, ...]) -> None:
    code = random_code(50, 6)
    code[:, 4] += code[:, 0]
    assert float(correlation(code, sizes)) == pytest.approx(loop_correlation(code, sizes))


def test_correlation_of_positions_treats_them_as_samples() -> None:
    code = random_code(7, 2, 3, 4)
    expected = correlation(code.reshape(42, 4), (2, 2))
    assert torch.equal(correlation(code, (2, 2)), expected)


def test_correlation_does_not_depend_on_scale_and_place() -> None:
    code = random_code(30, 4)
    assert torch.allclose(correlation(code, (2, 2)), correlation(code * 5 - 3, (2, 2)))


def test_correlation_of_equal_parts_of_one_dimension_is_one() -> None:
    column = random_code(30, 1)
    assert float(correlation(torch.cat([column, -column], -1), (1, 1))) == pytest.approx(1)


def test_dimension_that_does_not_vary_counts_zero_and_has_a_finite_gradient() -> None:
    code = random_code(30, 4)
    code[:, 1] = 2.0
    code.requires_grad_()
    value = correlation(code, (2, 2))
    (grad,) = torch.autograd.grad(value, code)
    assert grad.isfinite().all()
    varying = code.detach()[:, [0, 2, 3]]
    assert float(value.detach()) == pytest.approx(float(correlation(varying, (1, 2))) / 2)


def test_l1_norm_equals_a_loop_over_images_and_dimensions() -> None:
    code = random_code(5, 4)
    weights = (0.5, 0.5, 0.5, 2.0)
    expected = sum(
        weight * abs(value)
        for row in code.tolist()
        for weight, value in zip(weights, row, strict=True)
    )
    found = l1_norm(code, (3, 1), (0.5, 2.0))
    assert float(found) == pytest.approx(expected / 5)


def test_l1_norm_is_a_mean_over_positions() -> None:
    code = random_code(5, 2, 3, 4)
    found = l1_norm(code, (2, 2), (1.0, 1.0))
    assert float(found) == pytest.approx(float(code.abs().sum(-1).mean()))


def test_weighted_sum_adds_up_the_means_of_groups() -> None:
    group = torch.tensor([0, 1, 1, 0, 0, 2])
    losses = random_code(6).float()
    expected = sum(losses[group == each].mean() for each in range(3))
    assert torch.allclose((group_weights(group, 3) * losses).sum(), torch.as_tensor(expected))


def test_empty_group_adds_nothing() -> None:
    group = torch.tensor([1, 1, 1])
    losses = torch.tensor([1.0, 2.0, 3.0])
    assert float((group_weights(group, 2) * losses).sum()) == pytest.approx(2.0)


@pytest.mark.parametrize("labels", [[0, 1, 2, 2], [2, 2, 2, 2], [0, 0, 1, 2]])
def test_weights_add_up_to_the_number_of_groups(labels: list[int]) -> None:
    """Two groups are labeled 0 and 1; 2 is unlabeled."""
    assert float(group_weights(torch.tensor(labels), 2).sum()) == pytest.approx(2.0)


def test_errors_are_those_of_the_task() -> None:
    outputs, images = random_code(4, 10), random_code(4, 10) * 2
    classes = torch.tensor([3, 1, 4, 1])
    absolute = [(outputs[row] - images[row]).abs().mean() for row in range(4)]
    assert torch.allclose(errors(outputs, images, classes, "reconstruct"), torch.stack(absolute))
    logs = outputs.log_softmax(-1)
    entropies = torch.stack([-logs[row, each] for row, each in enumerate(classes)])
    assert torch.allclose(errors(outputs, images, classes, "classify"), entropies)
