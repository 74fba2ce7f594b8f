"""Gradients of one update, exact enough to compare: float64, plain descent, no clipping.

With stochastic gradient descent an update is the gradient times the learning rate, so that the
gradient is read off the parameters, after all that `train` does.
"""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor

from agents import METHODS, MotivationPolicy, RoutedPPO
from agents.methods import resolve
from agents.reward_model import RewardModel
from agents.rollout_buffer import RoutedSamples
from agents.score_maps import ScoreMaps
from tests.agents.factories import ROLLOUT, remove_gates, small_agent

RATE = 2.0**-7

Gradients = dict[str, Tensor]


class DoubleExtractor(FlattenExtractor):
    """Flatten observations to float64."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return [batch, features]."""
        return super().forward(observations).double()


DOUBLE = {"features_extractor_class": DoubleExtractor}  # RewardMapFeatures do so themselves


def exact_agent(method: str, **settings: Any) -> RoutedPPO:  # noqa: ANN401
    """Return an agent after one update of its policy, whose rollout holds every route."""
    network = resolve(method).network
    agent = small_agent(
        method,
        n_epochs=1,
        batch_size=ROLLOUT,
        learning_rate=RATE,
        max_grad_norm=np.inf,
        policy_kwargs={
            "hidden_sizes": (16, 16),
            "optimizer_class": torch.optim.SGD,
            **({} if network.has_reward_map or network.score_maps else DOUBLE),
        },
        **settings,
    )
    agent.policy.double()
    agent.learn(ROLLOUT)
    if isinstance(agent.reward_source, RewardModel):
        agent.reward_source.seen = 0  # it has nothing to be fitted to: its part of the policy stays
    if isinstance(agent.reward_source, ScoreMaps):
        for memory in agent.reward_source.memories.values():
            memory.seen = 0
    torch.manual_seed(1)
    with torch.no_grad():  # move away from the behavior policy, so that some ratios are clipped
        for parameter in agent.policy.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return agent


def rollout(agent: RoutedPPO) -> RoutedSamples:
    """Return the whole rollout as one minibatch, in a new order with every call."""
    return next(agent.rollout_buffer.get())


def gradients(agent: RoutedPPO) -> Gradients:
    """Train once on the rollout, and return the gradient that it followed."""
    before = {name: p.detach().clone() for name, p in agent.policy.named_parameters()}
    agent.train()
    return {n: (before[n] - p.detach()) / RATE for n, p in agent.policy.named_parameters()}


def gateless(agent: RoutedPPO) -> MotivationPolicy:
    """Return a copy of the policy in which nothing is routed."""
    policy = exact_agent(agent.method.name).policy
    assert isinstance(policy, MotivationPolicy)
    policy.load_state_dict(agent.policy.state_dict())
    remove_gates(policy)
    return policy


def sample_losses(agent: RoutedPPO, policy: MotivationPolicy, samples: RoutedSamples) -> Tensor:
    """Return the loss of each sample without that of the mixture, by torch.distributions."""
    surrogate = surrogates(policy, samples, samples.advantages)
    error = (policy.predict_values(samples.observations).flatten() - samples.returns) ** 2
    entropy = policy.get_distribution(samples.observations).entropy()
    assert entropy is not None
    return surrogate - agent.ent_coef * entropy + agent.vf_coef * error


def surrogates(policy: MotivationPolicy, samples: RoutedSamples, advantages: Tensor) -> Tensor:
    """Return the clipped policy loss of each sample, after normalizing the advantages."""
    return clipped_losses(policy.get_distribution(samples.observations), samples, advantages)


def clipped_losses(
    distribution: Distribution, samples: RoutedSamples, advantages: Tensor
) -> Tensor:
    """Return the clipped policy loss of a distribution of actions at each sample."""
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    log_prob = distribution.log_prob(samples.actions.flatten())
    ratio = torch.exp(log_prob - samples.old_log_prob)
    clipped = ratio.clamp(0.8, 1.2)
    assert (clipped != ratio).any()
    return -torch.min(ratio * advantages, clipped * advantages)


def mixture_losses(policy: MotivationPolicy, samples: RoutedSamples) -> Tensor:
    """Return the cross-entropy of the mixture at each labeled sample."""
    logits = policy.mixture_logits(samples.observations)
    chance = torch.where(samples.routes == 0, logits, -logits).sigmoid()
    return -chance.log()[samples.routes <= 1]


def divergences(policy: MotivationPolicy, samples: RoutedSamples) -> Tensor:
    """Return the KL divergence of the policy from a fixed reference at each sample."""
    acting: Any = policy.get_distribution(samples.observations).distribution
    reference: Any = policy.reference_distribution(samples.observations).distribution
    ours, theirs = acting.logits.log_softmax(-1), reference.logits.log_softmax(-1).detach()
    each: Tensor = (ours.exp() * (ours - theirs)).sum(-1)
    return each


def reference_losses(agent: RoutedPPO, policy: MotivationPolicy, samples: RoutedSamples) -> Tensor:
    """Return the policy loss and the entropy bonus of the reference at each sample."""
    distribution = policy.reference_distribution(samples.observations)
    surrogate = clipped_losses(distribution, samples, samples.advantages)
    entropy = distribution.entropy()
    assert entropy is not None
    return surrogate - agent.ent_coef * entropy


def backward(loss: Tensor, policy: MotivationPolicy) -> Gradients:
    """Return the gradient of a loss at every parameter."""
    names, parameters = zip(*policy.named_parameters(), strict=True)
    grads = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, grads, strict=True))


def target_of(name: str) -> str:
    """Return the target that a parameter belongs to, by its name."""
    if ".trunk." in name:
        return "competence"
    if name.startswith("reference."):
        return "reference"
    for target in {target for method in METHODS.values() for target in method.table.target_names}:
        if f".experts.{target}." in name or f".{target}." in name:
            return target
    return "shared"
