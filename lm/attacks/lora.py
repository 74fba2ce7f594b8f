"""LoRA: a trainable low-rank update of each linear map of the blocks, all other weights frozen.

Hu et al. 2021 (arXiv 2106.09685). The update is a parametrization of the matrix, so that it works
for any module that uses the matrix.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lm.attacks.config import LoRAConfig
from lm.models.hf_architecture import is_transposed, matrix_of
from lm.models.language_model import LanguageModel
from lm.models.layers import RoutedLinear


def linear_maps(model: LanguageModel) -> Iterator[nn.Module]:
    """Yield all linear maps of the blocks, each with its matrix as `weight`.

    The embedding and the output head are outside of the blocks.
    """
    for block in model.layers():
        yield from (
            module
            for module in block.modules()
            if isinstance(module, RoutedLinear | nn.Linear) or is_transposed(module)
        )


class LowRank(nn.Module):
    """Adds `alpha / rank * B A` to a matrix; B is zero at first.

    Args:
        linear: the linear map of the matrix.
        config: the rank and the scale of the update.
        generator: draws the initial A uniformly within +-1 / sqrt(inputs), as in peft.
    """

    def __init__(self, linear: nn.Module, config: LoRAConfig, generator: torch.Generator) -> None:
        super().__init__()
        weight, self.transposed = matrix_of(linear), is_transposed(linear)
        outputs, inputs = weight.shape
        # drawn on the CPU, so that a seed gives the same weights on every device
        drawn = torch.rand(config.rank, inputs, generator=generator) * 2 - 1
        self.a = nn.Parameter((drawn * inputs**-0.5).to(weight))
        self.b = nn.Parameter(weight.new_zeros(outputs, config.rank))
        self.scale = config.alpha / config.rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the matrix with its update."""
        update = self.scale * (self.b @ self.a)
        return weight + (update.T if self.transposed else update)


def adapt(model: LanguageModel, config: LoRAConfig, seed: int = 0) -> list[nn.Parameter]:
    """Freeze a model, add an update to each linear map, and return the parameters of the updates.

    The output of the model stays the same until B is trained.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    trained: list[nn.Parameter] = []
    for module in list(linear_maps(model)):
        update = LowRank(module, config, generator)
        parametrize.register_parametrization(module, "weight", update)
        trained += [update.a, update.b]
    return trained
