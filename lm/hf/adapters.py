"""A pair of low-rank adapters at each linear map of a block: one to keep, one to ablate.

The plain weights are frozen (Hu et al. 2021, arXiv 2106.09685). The adapter to keep is the target
`original_parameters`, the other `expansion_parameters`, and a token sees that one by its weight at
`presence`; so the tables of `lm.training.routes` mean the same with adapters as with an expansion.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lm.hf.wrappers import Wrapper
from lm.model.linear import RoutedLinear
from lm.model.presence import Presence
from lm.model.targets import EXPANSION_PARAMETERS, ORIGINAL_PARAMETERS


class Adapter(nn.Module):
    """A linear map of low rank that writes nothing at first.

    Args:
        plain: the map that it is beside; its inputs, outputs, device and type.
        rank: of its product.
        target: the name of its parameters in a route table.
        generator: of the weights that it reads by, with deviation 1 over the root of the inputs.
    """

    def __init__(
        self, plain: nn.Linear, rank: int, target: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.reading = RoutedLinear(plain.in_features, rank, target).to(plain.weight)
        self.writing = RoutedLinear(rank, plain.out_features, target).to(plain.weight)
        # drawn on the CPU, so that a seed means the same on every device
        drawn = torch.randn(rank, plain.in_features, generator=generator)
        with torch.no_grad():
            self.reading.weight.copy_(drawn * plain.in_features**-0.5)
            self.writing.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        written: Tensor = self.writing(self.reading(x))
        return written

    @property
    def product(self) -> Tensor:
        """The matrix that it adds to the plain one, [outputs, inputs]."""
        return self.writing.weight @ self.reading.weight


class Adapted(Wrapper):
    """A frozen linear map with both adapters beside it.

    Args:
        plain: the map.
        rank: of each adapter.
        generator: of their first weights.
    """

    def __init__(self, plain: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__(plain)
        self.kept = Adapter(plain, rank, ORIGINAL_PARAMETERS, generator)
        self.ablatable = Adapter(plain, rank, EXPANSION_PARAMETERS, generator)
        self.presence = Presence()

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, inputs] to [B, T, outputs]."""
        y_btd: Tensor = self.plain(x_btd) + self.kept(x_btd) + self.presence(self.ablatable(x_btd))
        return y_btd

    @torch.no_grad()
    def merge(self, *, ablated: bool) -> None:
        """Add to the plain weights what the adapters do, without the one to ablate if asked."""
        assert isinstance(self.plain, nn.Linear)
        self.plain.weight.add_(self.kept.product)
        if not ablated:
            self.plain.weight.add_(self.ablatable.product)


def adapt(plain: nn.Module, blocks: Iterable[nn.Module], rank: int, seed: int) -> None:
    """Freeze a plain model, and put a pair of adapters at each linear map of its blocks.

    Raises:
        ValueError: if the rank is below 1.
    """
    if rank < 1:
        raise ValueError(f"adapters of rank {rank} were asked for: give a rank of 1 or more")
    generator = torch.Generator().manual_seed(seed)
    plain.requires_grad_(False)
    for block in blocks:
        for name, module in list(block.named_modules()):
            if type(module) is nn.Linear:
                block.set_submodule(name, Adapted(module, rank, generator))
