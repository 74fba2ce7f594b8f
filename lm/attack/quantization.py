"""Weight quantization: rounding may bring back what an update of the weights had suppressed.

Zhang et al. 2024 (arXiv 2410.16454) found so of models unlearned after training: their updates are
smaller than a step of the rounding. Each matrix is rounded to nearest, symmetrically, with one
scale for each output, and computed with in floating point.
"""

import torch
from torch import Tensor, nn

from lm.attack.maps import linear_maps
from lm.model.language_model import LanguageModel


def quantize(weight: Tensor, bits: int) -> Tensor:
    """Return a matrix [outputs, inputs] as its rounding to so many bits stands for it.

    The levels of an output are the integers up to 2^(bits - 1) - 1, times its scale, by which its
    largest weight is the highest level. No weight moves by more than half the scale.

    Raises:
        ValueError: if there are fewer than two bits, or more than 16.

    >>> quantize(torch.tensor([[7.0, 2.6, -7.0], [0.0, 0.0, 0.0]]), bits=4)
    tensor([[ 7.,  3., -7.],
            [ 0.,  0.,  0.]])
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"{bits} bits were asked for: give 2 to 16")
    highest = 2 ** (bits - 1) - 1
    largest = weight.abs().amax(1, keepdim=True)
    scale = torch.where(largest == 0, 1, largest / highest)
    return (weight / scale).round().clamp(-highest, highest) * scale


@torch.no_grad()
def quantized(model: LanguageModel, bits: int) -> LanguageModel:
    """Return a copy of a model whose linear maps in the blocks are rounded to so many bits."""
    rounded = model.copied()
    for module in linear_maps(rounded):
        assert isinstance(module.weight, nn.Parameter)
        module.weight.copy_(quantize(module.weight, bits))
    return rounded
