"""What is put around the modules of a plain model; each holds the module it replaces as `plain`.

Shape suffixes: b batch, t tokens, d features.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from lm.model.presence import Presence
from oversight.routing import Gate, gate_linear, gate_parameters


class Wrapper(nn.Module):
    """Stands in the place of a module of a plain model."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain


class Taught(Wrapper):
    """A module that each token teaches by its weight at a target; what it computes is the same.

    Args:
        plain: a linear map or an embedding, which cost nothing more, or any other module that maps
            one tensor to another token by token, which is computed twice.
        target: the name of its parameters in a route table.
    """

    def __init__(self, plain: nn.Module, target: str) -> None:
        super().__init__(plain)
        self.taught = Gate(target)

    def forward(self, x: Tensor) -> Tensor:
        """Map x as the plain module does."""
        if isinstance(self.plain, nn.Embedding):
            return self._look_up(x)
        weight = self.taught.weight_for(x)
        if weight is None:
            mapped: Tensor = self.plain(x)
            return mapped
        if type(self.plain) is nn.Linear:  # a subclass may compute something else
            return gate_linear(x, self.plain.weight, weight, self.plain.bias)
        return gate_parameters(self.plain, x, weight)

    def _look_up(self, numbers_bt: Tensor) -> Tensor:
        looked_up: Tensor = self.plain(numbers_bt)
        route = self.taught.weights
        if route is not None and len(looked_up) == 1:
            # positions are looked up once for all rows, of which each has a route
            looked_up = looked_up.expand(len(route), -1, -1)
        # weighing what the lookup gives weighs what it teaches the embedding
        taught: Tensor = self.taught(looked_up)
        return taught


class Gated(Wrapper):
    """A module with a Gate at what it reads, or at what it writes.

    Args:
        plain: maps one tensor to another.
        before: the target at what it reads, if any.
        after: the target at what it writes, if any.
    """

    def __init__(
        self, plain: nn.Module, *, before: str | None = None, after: str | None = None
    ) -> None:
        super().__init__(plain)
        self.before = nn.Identity() if before is None else Gate(before)
        self.after = nn.Identity() if after is None else Gate(after)

    def forward(self, x: Tensor) -> Tensor:
        """Map x as the plain module does."""
        y: Tensor = self.after(self.plain(self.before(x)))
        return y


class Expanded(Wrapper):
    """An MLP with added hidden units, whose weights are parameters of their own.

    Args:
        plain: the MLP.
        expansion: an MLP of the added units.
    """

    def __init__(self, plain: nn.Module, expansion: nn.Module) -> None:
        super().__init__(plain)
        self.expansion = expansion
        self.presence = Presence()

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.plain(x_btd) + self.presence(self.expansion(x_btd))
        return y_btd


def teach(module: nn.Module, target: str, leaving: Iterable[nn.Module] = ()) -> None:
    """Wrap each module within a module that has parameters itself, so that a target holds them.

    Args:
        module: what is changed.
        target: the name of its parameters in a route table.
        leaving: parts of it that stay as they are.
    """
    left = {child for part in leaving for child in part.modules()}
    for name, child in list(module.named_modules()):
        if child not in left and next(child.parameters(recurse=False), None) is not None:
            module.set_submodule(name, Taught(child, target))


def innermost(module: nn.Module) -> nn.Module:
    """Return the plain module that all the wrappers around it hold."""
    while isinstance(module, Wrapper):
        module = module.plain
    return module


def unwrap(module: nn.Module) -> nn.Module:
    """Return a module with every wrapper in it replaced by what it holds."""
    for name, child in module.named_children():
        module.set_submodule(name, unwrap(child))
    return module.plain if isinstance(module, Wrapper) else module
