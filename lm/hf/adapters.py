"""A pair of low-rank adapters at each linear map of a block: one to keep, one to ablate.

The plain weights of blocks are frozen (Hu et al. 2021, arXiv 2106.09685). What is outside of them,
embeddings, last norm and output head, trains with the adapter to keep (`modules_to_save` of peft):
a style or a vocabulary that is new to the model is hard to learn without. These are the target
`original_parameters`, the other adapter is `expansion_parameters`, and a token sees that one by its
weight at `presence`; so the tables of `lm.training.routes` mean the same as with an expansion.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lm.hf.wrappers import Wrapper, teach
from lm.model.linear import RoutedLinear
from lm.model.presence import Presence
from lm.model.targets import EXPANSION_PARAMETERS, ORIGINAL_PARAMETERS


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterConfig:
    """The size of adapters.

    With Adam, what they write is scaled to the same end as a learning rate is raised (Hu et al.
    2021, section 4.1), and theirs is best 10 to 15 times that of whole matrices (Schulman et al.
    2025, LoRA Without Regret). So is alpha 10 times the rank by default.

    Raises:
        ValueError: if a number is out of its range.
    """

    rank: int = 16
    """rank of each"""
    alpha: float = 160.0
    """what each writes is scaled by this over its rank"""

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise ValueError(
                f"adapters of rank {self.rank} and alpha {self.alpha} were asked for: give a rank "
                "of 1 or more, and an alpha above 0"
            )


class Adapter(nn.Module):
    """A linear map of low rank that writes nothing at first.

    Args:
        plain: the map that it is beside; its inputs, outputs, device and type.
        config: rank and scale.
        target: the name of its parameters in a route table.
        generator: of the weights that it reads by, with deviation 1 over the root of the inputs.
    """

    def __init__(
        self, plain: nn.Linear, config: AdapterConfig, target: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        rank, self.scale = config.rank, config.alpha / config.rank
        self.reading = RoutedLinear(plain.in_features, rank, target).to(plain.weight)
        self.writing = RoutedLinear(rank, plain.out_features, target).to(plain.weight)
        # drawn on the CPU, so that a seed means the same on every device
        drawn = torch.randn(rank, plain.in_features, generator=generator)
        with torch.no_grad():
            self.reading.weight.copy_(drawn * plain.in_features**-0.5)
            self.writing.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        written: Tensor = self.writing(self.scale * self.reading(x))
        return written

    @property
    def product(self) -> Tensor:
        """The matrix that it adds to the plain one, [outputs, inputs]."""
        return self.scale * self.writing.weight @ self.reading.weight


class Adapted(Wrapper):
    """A frozen linear map with both adapters beside it.

    Args:
        plain: the map.
        config: of each adapter.
        generator: of their first weights.
    """

    def __init__(self, plain: nn.Linear, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__(plain)
        self.kept = Adapter(plain, config, ORIGINAL_PARAMETERS, generator)
        self.ablatable = Adapter(plain, config, EXPANSION_PARAMETERS, generator)
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


def adapt(plain: nn.Module, blocks: nn.ModuleList, config: AdapterConfig, seed: int) -> None:
    """Freeze the blocks of a plain model, and put a pair of adapters at each linear map of them."""
    generator = torch.Generator().manual_seed(seed)
    teach(plain, ORIGINAL_PARAMETERS, leaving=blocks)
    for block in blocks:
        block.requires_grad_(False)
        for name, module in list(block.named_modules()):
            if type(module) is nn.Linear:
                block.set_submodule(name, Adapted(module, config, generator))
