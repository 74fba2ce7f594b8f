"""What routed PPO minimizes on a minibatch: the sum of its losses, and the numbers to log."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from agents import losses
from agents.buffer import RoutedSamples
from agents.normalization import normalized
from agents.options import AdvantageNormalization
from agents.policy import MotivationPolicy
from agents.routes import DIAMOND, GHOST

if TYPE_CHECKING:
    from agents.routed_ppo import RoutedPPO

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
            "policy_gradient_loss": losses.policy_loss(ratio, advantages, self.clip_range),
            "entropy_loss": losses.entropy_loss(entropy, log_prob),
            "value_loss": losses.value_loss(self._clipped(values, samples), samples.returns),
        }
        weights = (1.0, self.ent_coef, self.vf_coef)
        loss = sum(weight * term for weight, term in zip(weights, terms.values(), strict=True))
        assert isinstance(loss, Tensor)
        if isinstance(policy, MotivationPolicy) and policy.net.mixture is not None:
            terms["mixture_loss"] = _mixture_loss(policy, samples)
            loss = loss + self.mixture_coef * terms["mixture_loss"]
        with torch.no_grad():
            terms["approx_kl"] = losses.approximate_kl(log_ratio)
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
        loss = losses.policy_loss(ratio, advantages.index_select(0, rows), self.clip_range)
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
    rows = torch.nonzero((samples.routes == DIAMOND) | (samples.routes == GHOST)).squeeze(-1)
    logits = policy.mixture_logits(samples.observations.index_select(0, rows))
    return losses.mixture_loss(logits, samples.routes.index_select(0, rows) == DIAMOND)
