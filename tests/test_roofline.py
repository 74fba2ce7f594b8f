"""The roofline: operations are those of closed forms, and products are made again as they were."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.roofline import Products, seconds_alone

BATCH, INPUTS, WIDTH = 7, 3, 5
PERCEPTRON = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def test_operations_of_a_perceptron_are_two_for_each_weight_and_sample() -> None:
    with Products() as forward, torch.no_grad():
        PERCEPTRON(torch.rand(BATCH, INPUTS))
    assert forward.total == 2 * BATCH * (INPUTS * WIDTH + WIDTH * WIDTH)
    with Products() as both:
        PERCEPTRON(torch.rand(BATCH, INPUTS)).sum().backward()
    # the gradient of each matrix, and that of the second one's input
    assert both.total == 2 * forward.total + 2 * BATCH * WIDTH * WIDTH


def test_operations_are_those_of_the_flop_counter_of_pytorch() -> None:
    with FlopCounterMode(display=False) as theirs:
        PERCEPTRON(torch.rand(BATCH, INPUTS)).sum().backward()
    with Products() as ours:
        PERCEPTRON(torch.rand(BATCH, INPUTS)).sum().backward()
    assert ours.total == theirs.get_total_flops()


def test_operations_of_attention_are_those_of_its_two_products() -> None:
    heads, length, size = 2, 6, 4
    query, key, value = torch.rand(3, BATCH, heads, length, size, requires_grad=True)
    with Products() as forward:
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert forward.total == 2 * 2 * BATCH * heads * length * length * size
    with Products() as backward:
        attended.sum().backward()  # type: ignore[no-untyped-call]
    assert backward.total == 5 * forward.total // 2  # scores are computed again


def test_products_alone_are_timed() -> None:
    with Products() as products:
        PERCEPTRON(torch.rand(BATCH, INPUTS)).sum().backward()
    assert seconds_alone(products) > 0
