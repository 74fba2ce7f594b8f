"""The losses of routed PPO.

- The terms of PPO's loss, as pure functions of tensors.
- `normalized` says which samples' mean and deviation normalize advantages.
- `Objective` is the loss of a minibatch: PPO's terms and the auxiliary losses of a method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.distributions import kl_divergence

from agents.policy import MotivationPolicy
from agents.rollout_buffer import (
    NEGATIVE,
    POSITIVE,
    RoutedSamples,
    in_route_order,
    require_choice,
)
from oversight.routing import RouteTable

AdvantageNormalization = Literal["all", "observed", "route", "none"]

LOGGED = (
    "policy_gradient_loss",
    "entropy_loss",
    "value_loss",
    "approx_kl",
    "clip_fraction",
    "loss",
)
LOGGED_ELSEWHERE = ("explained_variance", "n_updates", "learning_rate")
"""Names under which an update logs PPO's own terms, and those that are no terms of it."""


def normalize(advantages: Tensor) -> Tensor:
    """Return advantages of mean 0 and deviation 1, or the single one as it is."""
    if len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def policy_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Return PPO's clipped surrogate loss (Schulman et al. 2017, equation 7), negated."""
    clipped = torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
    return -torch.min(advantages * ratio, advantages * clipped).mean()


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """Return the squared error of the critic."""
    return F.mse_loss(returns, values)


def entropy_loss(entropy: Tensor | None, log_prob: Tensor) -> Tensor:
    """Return the negated entropy, estimated from the samples where it has no closed form."""
    return -torch.mean(-log_prob) if entropy is None else -torch.mean(entropy)


def mixture_loss(logits: Tensor, is_first: Tensor) -> Tensor:
    """Return the cross-entropy of the mixture on labeled steps, pooled over them; 0 if none.

    The paper (Cloud et al. 2024, appendix F) prints a mean per trajectory, its code pools the
    steps; this follows the code.

    Args:
        logits: logit of the first module's weight at each labeled step.
        is_first: whether the step's episode had the first module's outcome.

    >>> mixture_loss(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    tensor(0.)
    """
    losses = F.binary_cross_entropy_with_logits(logits, is_first.to(logits.dtype), reduction="sum")
    return losses / max(1, len(logits))


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Return an estimate of KL(old, new) from samples of the old policy.

    It is unbiased, never negative, and of lower variance than the mean of `-log_ratio`; see
    http://joschu.net/blog/kl-approx.html.
    """
    return torch.mean((torch.exp(log_ratio) - 1) - log_ratio)


def kl_from(acting: Distribution, reference: Distribution) -> Tensor:
    """Return KL(acting, reference) of each sample, [batch]; several actions are independent.

    Distributions of SB3 hold one of PyTorch, or a list of them. Squashing does not change the
    divergence.
    """
    pairs = [
        each.distribution if isinstance(each.distribution, list) else [each.distribution]
        for each in (acting, reference)
    ]
    divergences = [kl_divergence(one, other) for one, other in zip(*pairs, strict=True)]
    return torch.stack([each.reshape(len(each), -1).sum(-1) for each in divergences]).sum(0)


def normalized(advantages: Tensor, routes: Tensor, over: AdvantageNormalization) -> Tensor:
    """Return the advantages of a minibatch, less a mean and divided by a deviation.

    - `all`: those of the whole minibatch, as in SB3. The mean of the observed samples then moves a
      hidden sample of advantage 0 away from 0, and the spread of the hidden samples scales the
      observed ones.
    - `observed`: those of the samples on the routes `positive` and `negative`, applied to every
      sample. Hidden samples then do not change observed ones, but observed samples still change
      hidden ones. Where fewer than two samples are observed, or all of them are equal, there is no
      scale, and the advantages stay as they are.
    - `route`: each route's samples by their own. No route changes another; a sample that is alone
      on its route stays as it is.
    - `none`: the advantages as they are.

    Args:
        advantages: [batch].
        routes: [batch], numbers of `ROUTES`.
        over: one of the above.

    >>> import torch
    >>> advantages, routes = torch.tensor([1.0, 3.0, 0.0]), torch.tensor([0, 1, 2])
    >>> normalized(advantages, routes, "observed")
    tensor([-0.7071,  0.7071, -1.4142])
    >>> normalized(advantages, routes, "route")
    tensor([1., 3., 0.])
    """
    if over == "all":
        return normalize(advantages)
    if over == "observed":
        observed = advantages[(routes == POSITIVE) | (routes == NEGATIVE)]
        if len(observed) < 2 or (observed == observed[0]).all():
            return advantages
        return (advantages - observed.mean()) / (observed.std() + 1e-8)
    if over == "route":
        result = advantages.clone()
        for route in set(routes.tolist()):
            rows = routes == route
            result[rows] = normalize(advantages[rows])
        return result
    require_choice("advantage_normalization", over, AdvantageNormalization)
    return advantages


@dataclass(frozen=True, kw_only=True)
class AuxiliaryLoss:
    """A loss that a method adds to PPO's.

    Attributes:
        name: under which it is logged.
        table: the weight of each route's gradient at each target. None: those of the method's own
            table. With a table of its own the loss takes a backward pass of its own.

    Raises:
        ValueError: if the table names other routes than `ROUTES`, or the name is none of its own.
    """

    name: str
    table: RouteTable | None

    def __post_init__(self) -> None:
        """Put the rows of the table in the order by which a buffer stores routes."""
        taken = (*LOGGED, *LOGGED_ELSEWHERE)
        if not isinstance(self.name, str) or not self.name or self.name in taken:
            raise ValueError(
                f"the name of an auxiliary loss must be a word under which PPO logs nothing, got "
                f"{self.name!r}: choose another one than {', '.join(taken)}"
            )
        if self.table is not None:
            object.__setattr__(self, "table", in_route_order(self.table))

    def rows(self, policy: ActorCriticPolicy, samples: RoutedSamples) -> Tensor | None:
        """Return the numbers of the samples that it reads, [rows]; None if it does not apply."""
        raise NotImplementedError

    def weighted(
        self, objective: "Objective", samples: RoutedSamples, rows: Tensor
    ) -> tuple[Tensor, float]:
        """Return the loss on some samples of a minibatch, and its weight."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class MixtureLoss(AuxiliaryLoss):
    """Teaches the mixture the outcome of observed episodes: the first module's is `positive`."""

    name: str = "mixture_loss"
    table: RouteTable | None = None

    def rows(self, policy: ActorCriticPolicy, samples: RoutedSamples) -> Tensor | None:
        """Return the observed samples, if the policy has a learned mixture."""
        if not isinstance(policy, MotivationPolicy) or policy.net.mixture is None:
            return None
        observed = (samples.routes == POSITIVE) | (samples.routes == NEGATIVE)
        return torch.nonzero(observed).squeeze(-1)

    def weighted(
        self, objective: "Objective", samples: RoutedSamples, rows: Tensor
    ) -> tuple[Tensor, float]:
        """Return the cross-entropy on the observed samples, and `mixture_coef`."""
        assert isinstance(objective.policy, MotivationPolicy)
        logits = objective.policy.mixture_logits(samples.select_observations(rows))
        is_first = samples.routes.index_select(0, rows) == POSITIVE
        return mixture_loss(logits, is_first), objective.mixture_coef


@dataclass(frozen=True, kw_only=True)
class ProxyLoss(AuxiliaryLoss):
    """A second policy loss, of the reward that was paid instead of the one learned from."""

    name: str = "proxy_loss"
    table: RouteTable

    def rows(self, policy: ActorCriticPolicy, samples: RoutedSamples) -> Tensor | None:
        """Return the samples whose gradients reach a target."""
        return self.table.rows(samples.routes).any(-1).nonzero().squeeze(-1)

    def weighted(
        self, objective: "Objective", samples: RoutedSamples, rows: Tensor
    ) -> tuple[Tensor, float]:
        """Return the policy loss of the rows, as their share of the minibatch's mean.

        Advantages are normalized over the whole minibatch, not over the rows.
        """
        paid, over = samples.proxy_advantages, objective.normalization
        advantages = normalized(paid, samples.routes, over)
        few = samples.select(rows)
        _, log_prob, _ = _evaluated(objective.policy, few)
        ratio = torch.exp(log_prob - few.old_log_prob)
        loss = policy_loss(ratio, advantages.index_select(0, rows), objective.clip_range)
        return loss * (len(rows) / len(samples.routes)), 1.0


@dataclass(frozen=True, kw_only=True)
class ReferenceLoss(AuxiliaryLoss):
    """The policy loss and the entropy bonus of the reference, which does not act itself.

    Its probability ratio is to the policy that acted, as the loss of samples of another policy.
    """

    name: str = "reference_loss"
    table: RouteTable

    def rows(self, policy: ActorCriticPolicy, samples: RoutedSamples) -> Tensor | None:
        """Return the samples whose gradients reach the reference, if the policy has one."""
        if not isinstance(policy, MotivationPolicy) or policy.reference is None:
            return None
        return self.table.rows(samples.routes).any(-1).nonzero().squeeze(-1)

    def weighted(
        self, objective: "Objective", samples: RoutedSamples, rows: Tensor
    ) -> tuple[Tensor, float]:
        """Return the loss of the rows, as their share of the minibatch's mean.

        Advantages are normalized over the whole minibatch, not over the rows.
        """
        policy, few = objective.policy, samples.select(rows)
        assert isinstance(policy, MotivationPolicy)
        advantages = normalized(samples.advantages, samples.routes, objective.normalization)
        distribution = policy.reference_distribution(few.observations)
        log_prob = distribution.log_prob(_actions(policy, few))
        ratio = torch.exp(log_prob - few.old_log_prob)
        loss = policy_loss(ratio, advantages.index_select(0, rows), objective.clip_range)
        loss = loss + objective.ent_coef * entropy_loss(distribution.entropy(), log_prob)
        return loss * (len(rows) / len(samples.routes)), 1.0


@dataclass(frozen=True, kw_only=True)
class KLLoss(AuxiliaryLoss):
    """Keeps the acting policy close to the reference, to which no gradient goes back."""

    name: str = "kl_loss"
    table: RouteTable | None = None

    def rows(self, policy: ActorCriticPolicy, samples: RoutedSamples) -> Tensor | None:
        """Return all samples, if the policy has a reference."""
        if not isinstance(policy, MotivationPolicy) or policy.reference is None:
            return None
        return torch.arange(len(samples.routes), device=samples.routes.device)

    def weighted(
        self, objective: "Objective", samples: RoutedSamples, rows: Tensor
    ) -> tuple[Tensor, float]:
        """Return the mean KL divergence of the policy from the reference, and `kl_coef`."""
        policy = objective.policy
        assert isinstance(policy, MotivationPolicy)
        with torch.no_grad():
            reference = policy.reference_distribution(samples.observations)
        acting = policy.get_distribution(samples.observations)
        return kl_from(acting, reference).mean(), objective.kl_coef


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What one update minimizes: PPO's losses, with their weights, and a method's auxiliary ones.

    Attributes:
        policy: the policy that is updated.
        clip_range: bound of the probability ratio.
        clip_range_vf: bound of the change of a value, if any.
        ent_coef, vf_coef, mixture_coef, kl_coef: weights of the losses.
        normalization: whose mean and deviation normalize advantages.
        auxiliary: the losses that the method adds.
    """

    policy: ActorCriticPolicy
    clip_range: float
    clip_range_vf: float | None
    ent_coef: float
    vf_coef: float
    mixture_coef: float
    kl_coef: float
    normalization: AdvantageNormalization
    auxiliary: Sequence[AuxiliaryLoss] = ()

    def terms(self, samples: RoutedSamples) -> dict[str, Tensor]:
        """Return each loss of a minibatch, their weighted sum as `loss`, and the policy's change.

        Auxiliary losses that have a table of their own are not among them; see `separate`.
        """
        values, log_prob, entropy = _evaluated(self.policy, samples)
        advantages = normalized(samples.advantages, samples.routes, self.normalization)
        log_ratio = log_prob - samples.old_log_prob
        ratio = torch.exp(log_ratio)
        terms = {
            "policy_gradient_loss": policy_loss(ratio, advantages, self.clip_range),
            "entropy_loss": entropy_loss(entropy, log_prob),
            "value_loss": value_loss(self._clipped(values, samples), samples.returns),
        }
        coefficients = (1.0, self.ent_coef, self.vf_coef)
        loss = sum(each * term for each, term in zip(coefficients, terms.values(), strict=True))
        assert isinstance(loss, Tensor)
        for auxiliary in self.auxiliary:
            if auxiliary.table is not None:
                continue
            if (rows := auxiliary.rows(self.policy, samples)) is not None:
                term, weight = auxiliary.weighted(self, samples, rows)
                terms[auxiliary.name] = term
                loss = loss + weight * term
        with torch.no_grad():
            terms["approx_kl"] = approximate_kl(log_ratio)
            clipped = torch.abs(ratio - 1) > self.clip_range
            terms["clip_fraction"] = torch.mean(clipped.float())
        return {**terms, "loss": loss}

    @property
    def separate(self) -> list[AuxiliaryLoss]:
        """The auxiliary losses that take a backward pass of their own."""
        return [each for each in self.auxiliary if each.table is not None]

    def _clipped(self, values: Tensor, samples: RoutedSamples) -> Tensor:
        values, bound = values.flatten(), self.clip_range_vf
        if bound is None:
            return values
        return samples.old_values + torch.clamp(values - samples.old_values, -bound, bound)


def _evaluated(
    policy: ActorCriticPolicy, samples: RoutedSamples
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the value, log-probability and entropy of a minibatch's actions."""
    return policy.evaluate_actions(samples.observations, _actions(policy, samples))


def _actions(policy: ActorCriticPolicy, samples: RoutedSamples) -> Tensor:
    """Return the actions of a minibatch as distributions take them."""
    discrete = isinstance(policy.action_space, spaces.Discrete)
    return samples.actions.long().flatten() if discrete else samples.actions
