"""Networks: the motivation modules below one action head, and a reference that does not act.

- `Network` says which parts the network of a method has.
- `MotivationNet` has one or two modules of one shape, a learned mixture of them, and a critic.
- `Reference` is the actor of a second policy, which learns beside the first and shares nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    SquashedDiagGaussianDistribution,
    make_proba_distribution,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.policy_arguments import module_names, require_truths
from agents.reward_map import perceptron
from agents.rollout_buffer import require_choice
from oversight.routing import Gate, gate_parameters

Mixture = Literal["learned", "fixed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """The parts of a method's network, keyword arguments of `MotivationPolicy`.

    Attributes:
        modules: names of the motivation modules, one or two; the first one is deployed.
        mixture: how two modules are blended: by a `learned` weight, or a `fixed` one of 1/2.
        trunk: whether a trunk lies below the modules, the target `competence`.
        has_reward_map: whether the policy acts on a `RewardMap`, the target `motivation`.
        has_reference: whether a second policy learns beside the one that acts, the target
            `reference`; see `Reference`.
        score_maps: names of the score maps that the policy follows, the first one after training;
            each is a target of its own name. See `agents.score_maps`.

    Raises:
        ValueError: if an attribute is none of its choices, or a module has the name of another
            part.
    """

    modules: tuple[str, ...] = ("goal", "proxy")
    mixture: Mixture = "learned"
    trunk: bool = False
    has_reward_map: bool = False
    has_reference: bool = False
    score_maps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parts of which no network can be built."""
        require_truths(
            {
                "trunk": self.trunk,
                "has_reward_map": self.has_reward_map,
                "has_reference": self.has_reference,
            }
        )
        require_choice("mixture", self.mixture, Mixture)
        object.__setattr__(self, "modules", module_names(self.modules))
        taken = {"mixture", "shared"}
        taken |= {"competence"} if self.trunk else set()
        taken |= {"motivation"} if self.has_reward_map else set()
        taken |= {"reference"} if self.has_reference else set()
        names = self.modules
        maps = module_names(self.score_maps) if self.score_maps else ()
        object.__setattr__(self, "score_maps", maps)
        names += maps
        if clash := taken.intersection(names) or {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"modules {names} use the name {min(clash)!r} of another part of the "
                "network: choose another one"
            )
        if self.score_maps and (self.has_reward_map or self.has_reference):
            raise ValueError(
                "score_maps were given with has_reward_map or has_reference, but score maps are "
                "all that such a policy follows: choose one of them"
            )
        if self.has_reward_map and self.has_reference:
            raise ValueError(
                "has_reward_map and has_reference were given, but a reference has no reward map: "
                "choose one of them"
            )


class MotivationNet(nn.Module):
    """One or two motivation modules, blended by a learned weight, and a separate critic.

    With two modules the actor's features are `m * first + (1 - m) * second`, where the mixture
    `m` is a number in [0, 1] for each observation (Cloud et al. 2024, arXiv 2410.04332, appendix
    F). Each module and the mixture end in a `Gate` of their own name. The critic has non-linear
    layers, which the published code lacks. It has the form that SB3 asks of an `mlp_extractor`.

    Args:
        features: number of input features.
        modules: as for `Network`.
        hidden_sizes: widths of the hidden layers of every part; an activation follows each.
        mixture: as for `Network`.
        trunk: whether the first of these layers, or all but the last, are a trunk below the
            modules, which ends in a `Gate("competence")`. Then the weights of a module's target
            hold for its own parameters, and gradient passes through them to the trunk.
        masked: the features that the modules, and the trunk, read as 0; the mixture and the critic
            see them.
        critic_sizes: widths of the critic's hidden layers, by default those of the other parts.
        activation: class of the activations.

    Raises:
        ValueError: if there are neither one nor two modules, or `mixture` is no choice.
    """

    def __init__(  # noqa: PLR0913 (all but three have a default)
        self,
        features: int,
        modules: Sequence[str],
        hidden_sizes: Sequence[int],
        mixture: Mixture = "learned",
        trunk: bool = False,
        masked: Sequence[int] = (),
        *,
        critic_sizes: Sequence[int] | None = None,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        modules = module_names(modules)
        require_choice("mixture", mixture, Mixture)
        sizes, below = tuple(hidden_sizes), features
        self.trunk: nn.Sequential | None = None
        if trunk:
            lower, sizes = sizes[:-1] or sizes, sizes[-1:]
            trunk_layers = perceptron(features, lower, activation=activation)
            self.trunk = trunk_layers.append(Gate("competence"))
            below = lower[-1]
        mask = torch.zeros(features, dtype=torch.bool)
        mask[list(masked)] = True
        self.register_buffer("masked", mask if len(masked) else None, persistent=False)
        self.experts = nn.ModuleDict(
            {name: perceptron(below, sizes, activation=activation) for name in modules}
        )
        self.gates = nn.ModuleDict()
        for name in modules:
            self.gates[name] = gate = Gate(name)
            gate.selects = None if trunk else name  # the samples that teach; see `_module`
        self.mixture: nn.Sequential | None = None
        if len(modules) == 2 and mixture == "learned":
            self.mixture = perceptron(features, hidden_sizes, 1, activation)
            self.mixture_gate = Gate("mixture")
        critic_sizes = critic_sizes or hidden_sizes
        self.critic = perceptron(features, critic_sizes, activation=activation)
        self.apply(zero_bias)
        self.latent_dim_pi, self.latent_dim_vf = hidden_sizes[-1], critic_sizes[-1]

    masked: Tensor | None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the actor and of the critic, each [batch, width]."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Return the blend of the motivation modules, [batch, width]."""
        shown = self.shown(features)
        below = shown if self.trunk is None else self.trunk(shown)
        outputs = [self._module(name, below) for name in self.experts]
        first: Tensor = outputs[0]
        if len(outputs) == 1:
            return first
        second: Tensor = outputs[1]
        if self.mixture is None:
            return (first + second) / 2
        weight: Tensor = self.mixture_gate(torch.sigmoid(self.mixture(features)))  # [batch, 1]
        return torch.lerp(second, first, weight)

    def shown(self, features: Tensor) -> Tensor:
        """Return the features that the modules see, with the masked ones as 0."""
        return features if self.masked is None else features.masked_fill(self.masked, 0.0)

    def _module(self, name: str, below: Tensor) -> Tensor:
        """Return the output of a module, with its gate.

        Above a trunk the weights hold for the module's own parameters only (`gate_parameters`), so
        that the trunk below, a target of its own, learns by its own weights. Without a trunk the
        samples that do not teach the module are computed without gradients, if more than half do
        not.
        """
        expert, gate = self.experts[name], self.gates[name]
        weights, rows = getattr(gate, "weights", None), getattr(gate, "rows", None)
        # of centered boards (`CenteredFeatures`) no rows can be selected
        if rows is not None and isinstance(below, Tensor) and len(rows.places) < len(below) / 2:
            with torch.no_grad():
                output = expert(below)
            taught = gate(expert(below.index_select(0, rows.places)))
            return output.index_copy_(0, rows.places, taught)  # type: ignore[no-any-return]
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


class Reference(nn.Module):
    """The actor of a second policy, which learns but does not act, behind a `Gate("reference")`.

    Features, hidden layers, action head and deviation are its own, so that it learns from its own
    loss alone, and its loss teaches nothing else. It has the form of a policy of one module.
    Continuous actions are Gaussian with one deviation for all observations, also where the acting
    policy explores by state.

    Args:
        features_extractor: its features.
        action_space: space of its actions.
        hidden_sizes: widths of its hidden layers.
        activation: class of the activations.
        squashed: whether continuous actions are squashed to their bounds.
        log_std_init: logarithm of the deviation at the start.
    """

    def __init__(
        self,
        features_extractor: BaseFeaturesExtractor,
        action_space: spaces.Space[Any],
        hidden_sizes: Sequence[int],
        activation: type[nn.Module] = nn.ReLU,
        *,
        squashed: bool = False,
        log_std_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.features_extractor = features_extractor
        below = features_extractor.features_dim
        self.layers = perceptron(below, hidden_sizes, activation=activation)
        self.actions, width = make_proba_distribution(action_space), hidden_sizes[-1]
        self.head: nn.Module
        self.log_std: nn.Parameter | None = None
        if isinstance(self.actions, DiagGaussianDistribution):
            if squashed:
                self.actions = SquashedDiagGaussianDistribution(self.actions.action_dim)
            self.head, self.log_std = self.actions.proba_distribution_net(width, log_std_init)
        else:
            self.head = self.actions.proba_distribution_net(latent_dim=width)  # type: ignore[assignment]
        self.gate = Gate("reference")
        self.layers.apply(zero_bias)
        self.head.apply(zero_bias)

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution of actions, given what its extractor makes of observations."""
        parameters = self.gate(self.head(self.layers(features)))
        if self.log_std is None:
            return self.actions.proba_distribution(parameters)
        return self.actions.proba_distribution(
            parameters, self.gate(self.log_std.expand_as(parameters))
        )


def zero_bias(module: nn.Module) -> None:
    """Set a linear layer's bias to zero, as the paper does."""
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
