"""The motivation network: experts of one shape, a learned mixture of them, and a critic."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from agents.definition import Mixture
from oversight.routing import Gate, gate_parameters


class MotivationNet(nn.Module):
    """One or two motivation modules, blended by a learned weight, beside a critic of its own.

    With two modules the actor's features are `m * first + (1 - m) * second`, where the mixture
    `m` is a number in [0, 1] for each observation (Cloud et al. 2024, arXiv 2410.04332, appendix
    F). Each module and the mixture end in a `Gate` of their own name. The critic has non-linear
    layers, which the published code lacks. It has the form that SB3 asks of an `mlp_extractor`.

    Args:
        features: number of input features.
        modules: names of the motivation modules, one or two.
        hidden_sizes: widths of the hidden layers of every part; ReLU follows each.
        mixture: how two modules are blended, by a `learned` weight or by a `fixed` one of 1/2.
        trunk: whether the first of these layers, or all but the last, are a trunk below the
            modules, which ends in a `Gate("competence")`. Then the weights of a module's target
            hold for its own parameters, and gradient passes through them to the trunk.
        unseen: the features that the modules, and the trunk, read as 0; the mixture and the critic
            see them.

    Raises:
        ValueError: if there are neither one nor two modules.
    """

    def __init__(
        self,
        features: int,
        modules: Sequence[str],
        hidden_sizes: Sequence[int],
        mixture: Mixture = "learned",
        trunk: bool = False,
        unseen: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if len(modules) not in (1, 2) or len(set(modules)) != len(modules):
            raise ValueError(f"one or two motivation modules have names, got {tuple(modules)}")
        sizes, below = tuple(hidden_sizes), features
        self.trunk: nn.Sequential | None = None
        if trunk:
            lower, sizes = sizes[:-1] or sizes, sizes[-1:]
            self.trunk = perceptron(features, lower).append(Gate("competence"))
            below = lower[-1]
        mask = torch.zeros(features, dtype=torch.bool)
        mask[list(unseen)] = True
        self.register_buffer("unseen", mask if len(unseen) else None, persistent=False)
        self.experts = nn.ModuleDict({name: perceptron(below, sizes) for name in modules})
        self.gates = nn.ModuleDict({name: Gate(name) for name in modules})
        self.mixture: nn.Sequential | None = None
        if len(modules) == 2 and mixture == "learned":
            self.mixture = perceptron(features, hidden_sizes, 1)
            self.mixture_gate = Gate("mixture")
        self.critic = perceptron(features, hidden_sizes)
        self.latent_dim_pi = self.latent_dim_vf = hidden_sizes[-1]

    unseen: Tensor | None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the actor and of the critic, each [batch, width]."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Return the blend of the motivation modules, [batch, width]."""
        shown = features if self.unseen is None else features.masked_fill(self.unseen, 0.0)
        below = shown if self.trunk is None else self.trunk(shown)
        outputs = [self._module(name, below) for name in self.experts]
        first: Tensor = outputs[0]
        if len(outputs) == 1:
            return first
        second: Tensor = outputs[1]
        if self.mixture is None:
            return (first + second) / 2
        weight: Tensor = self.mixture_gate(torch.sigmoid(self.mixture(features)))  # [batch, 1]
        return second + weight * (first - second)

    def _module(self, name: str, below: Tensor) -> Tensor:
        """Return what a module makes of the features below it, and let its gate weigh gradients."""
        expert, gate = self.experts[name], self.gates[name]
        weights = getattr(gate, "weights", None)
        if self.trunk is None or weights is None or not torch.is_grad_enabled():
            return gate(expert(below))  # type: ignore[no-any-return]
        return gate_parameters(expert, below, weights.unsqueeze(-1))

    def forward_critic(self, features: Tensor) -> Tensor:
        """Return the features of the value function, [batch, width]."""
        return self.critic(features)  # type: ignore[no-any-return]

    def mixture_logits(self, features: Tensor) -> Tensor:
        """Return the logit of the first module's weight, [batch]; no gate lies on this path.

        The loss that teaches the mixture its labels comes from episodes whose other gradients the
        table keeps away from it.
        """
        assert self.mixture is not None, "a network of one module has no mixture"
        return self.mixture(features).squeeze(-1)  # type: ignore[no-any-return]


def perceptron(
    inputs: int, hidden_sizes: Sequence[int], outputs: int | None = None
) -> nn.Sequential:
    """Return linear layers with ReLU after each hidden one, PyTorch's weights and zero biases."""
    sizes = (inputs, *hidden_sizes)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    if outputs is not None:
        layers.append(nn.Linear(sizes[-1], outputs))
    return nn.Sequential(*layers).apply(zero_bias)


def zero_bias(module: nn.Module) -> None:
    """Set a linear layer's bias to zero, as the paper does."""
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
