"""The linear maps of a model's blocks: what attackers adapt or round."""

from collections.abc import Iterator

from torch import nn

from lm.model.language_model import LanguageModel
from lm.model.linear import RoutedLinear


def linear_maps(model: LanguageModel) -> Iterator[nn.Module]:
    """Yield every linear map of every block, each with its matrix [outputs, inputs] as `weight`.

    Neither the embedding nor the output head is in a block.
    """
    for block in model.layers():
        yield from (
            module for module in block.modules() if isinstance(module, RoutedLinear | nn.Linear)
        )
