"""The losses of routed PPO, as pure functions of tensors.

What the advantages of a minibatch are compared with.

What routed PPO minimizes on a minibatch: the sum of its losses, and the numbers to log.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from agents.method import NEGATIVE, POSITIVE, AdvantageNormalization
from agents.policy import MotivationPolicy
from agents.rollout_buffer import RoutedSamples

if TYPE_CHECKING:
    from agents.ppo import RoutedPPO


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
    """Return the cross-entropy of the mixture on labelled steps, pooled over them; 0 if none.

    The paper prints a mean per trajectory, its code pools the steps; this follows the code.

    Args:
        logits: of the first module's weight, one per labelled step.
        is_first: whether the step's episode had the first module's outcome.

    >>> mixture_loss(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    tensor(0.)
    """
    losses = F.binary_cross_entropy_with_logits(logits, is_first.to(logits.dtype), reduction="sum")
    return losses / max(1, len(logits))


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Return the low-variance estimate of KL(old, new) from samples of the old policy."""
    return torch.mean((torch.exp(log_ratio) - 1) - log_ratio)


def normalized(advantages: Tensor, routes: Tensor, over: AdvantageNormalization) -> Tensor:
    """Return the advantages of a minibatch, less a mean and divided by a deviation.

    - `all`: those of the whole minibatch, as in SB3. A hidden sample of advantage 0 is then pushed
      away from 0 by the mean of the observed ones, and the spread of the hidden ones sets how much
      the observed ones weigh.
    - `observed`: those of the samples on the routes `positive` and `negative`, applied to every
      sample. What is hidden no longer touches what is observed, but not the other way round. Where
      fewer than two samples are observed, or all of them are equal, there is no scale, and the
      advantages stay as they are.
    - `route`: each route's samples by their own. No route touches another; a single sample of its
      route stays as it is.
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
    return advantages


Terms = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """The losses of PPO and their weights, at one moment of training.

    Attributes:
        clip_range: bound of the probability ratio.
        clip_range_vf: bound of the change of a value, if any.
        ent_coef, vf_coef, mixture_coef: weights of the losses.
        normalization: whose mean and deviation normalize advantages.
    """

    clip_range: float
    clip_range_vf: float | None
    ent_coef: float
    vf_coef: float
    mixture_coef: float
    normalization: AdvantageNormalization

    def terms(self, policy: ActorCriticPolicy, samples: RoutedSamples) -> Terms:
        """Return each loss of a minibatch, their weighted sum as `loss`, and the policy's move."""
        values, log_prob, entropy = _evaluated(policy, samples)
        advantages = normalized(samples.advantages, samples.routes, self.normalization)
        log_ratio = log_prob - samples.old_log_prob
        ratio = torch.exp(log_ratio)
        terms = {
            "policy_gradient_loss": policy_loss(ratio, advantages, self.clip_range),
            "entropy_loss": entropy_loss(entropy, log_prob),
            "value_loss": value_loss(self._clipped(values, samples), samples.returns),
        }
        weights = (1.0, self.ent_coef, self.vf_coef)
        loss = sum(weight * term for weight, term in zip(weights, terms.values(), strict=True))
        assert isinstance(loss, Tensor)
        if isinstance(policy, MotivationPolicy) and policy.net.mixture is not None:
            terms["mixture_loss"] = _mixture_loss(policy, samples)
            loss = loss + self.mixture_coef * terms["mixture_loss"]
        with torch.no_grad():
            terms["approx_kl"] = approximate_kl(log_ratio)
            moved = torch.abs(ratio - 1) > self.clip_range
            terms["clip_fraction"] = torch.mean(moved.float())
        return {**terms, "loss": loss}

    def proxy_term(self, policy: ActorCriticPolicy, samples: RoutedSamples, rows: Tensor) -> Tensor:
        """Return the policy loss of some samples, by the reward paid instead of the labels.

        Advantages are normalized over the whole minibatch, of which the loss is a mean.

        Args:
            policy: what learns.
            samples: the minibatch.
            rows: the numbers of the samples that learn, [rows].
        """
        advantages = normalized(samples.proxies, samples.routes, self.normalization)
        few = RoutedSamples(*(tensor.index_select(0, rows) for tensor in samples))
        _, log_prob, _ = _evaluated(policy, few)
        ratio = torch.exp(log_prob - few.old_log_prob)
        loss = policy_loss(ratio, advantages.index_select(0, rows), self.clip_range)
        return loss * (len(rows) / len(samples.routes))

    def _clipped(self, values: Tensor, samples: RoutedSamples) -> Tensor:
        values, bound = values.flatten(), self.clip_range_vf
        if bound is None:
            return values
        return samples.old_values + torch.clamp(values - samples.old_values, -bound, bound)


def objective_of(agent: "RoutedPPO") -> Objective:
    """Return what an agent minimizes now; the bounds follow their schedules."""
    left = agent._current_progress_remaining
    bound = agent.clip_range_vf
    return Objective(
        clip_range=agent.clip_range(left),  # type: ignore[operator]
        clip_range_vf=None if bound is None else bound(left),  # type: ignore[operator]
        ent_coef=agent.ent_coef,
        vf_coef=agent.vf_coef,
        mixture_coef=agent.mixture_coef,
        normalization=agent.advantage_normalization if agent.normalize_advantage else "none",
    )


def _evaluated(
    policy: ActorCriticPolicy, samples: RoutedSamples
) -> tuple[Tensor, Tensor, Tensor | None]:
    discrete = isinstance(policy.action_space, spaces.Discrete)
    actions = samples.actions.long().flatten() if discrete else samples.actions
    return policy.evaluate_actions(samples.observations, actions)


def _mixture_loss(policy: MotivationPolicy, samples: RoutedSamples) -> Tensor:
    rows = torch.nonzero((samples.routes == POSITIVE) | (samples.routes == NEGATIVE)).squeeze(-1)
    logits = policy.mixture_logits(samples.observations.index_select(0, rows))
    return mixture_loss(logits, samples.routes.index_select(0, rows) == POSITIVE)
