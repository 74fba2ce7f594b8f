"""Inputs and models for tests of several packages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from lm.models.gpt import GPT
from lm.training.batches import checksum
from lm.training.route_tables import ERA, FILTERED, MODULES, PARAMETERS, UNROUTED

TABLES = {
    "era": ERA,
    "filtered": FILTERED,
    "modules": MODULES,
    "parameters": PARAMETERS,
    "unrouted": UNROUTED,
}
"""Route tables by the name of their method."""


@dataclass(frozen=True, eq=False)
class TensorRows:
    """Rows of tokens and their routes, in memory (a `lm.training.batches.Source`)."""

    tokens: Tensor
    """[rows, context + 1]"""
    routes: Tensor
    """[rows, context]"""

    @property
    def digest(self) -> str:
        """Content hash of the rows."""
        return checksum(self.tokens, self.routes)

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and routes of some rows."""
        return self.tokens[rows].long(), self.routes[rows].long()


def expanded_copy(model: GPT, units: int, layers: Sequence[int], *, embedding: bool = False) -> GPT:
    """Return a copy of a GPT with added hidden units, whose output is zero."""
    config = replace(
        model.config, expansion=units, expanded_layers=tuple(layers), added_embedding=embedding
    )
    expanded = GPT(config).to(model.embedding)
    expanded.load_state_dict(expanded.state_dict() | model.state_dict())
    return expanded
