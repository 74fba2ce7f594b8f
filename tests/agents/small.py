"""Small agents, and what to compare of two of them."""

from typing import Any

import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import Tensor, nn

from agents import Method, RoutedPPO
from agents.methods import resolve
from envs import partial_grid_vec
from oversight.routing import Gate

SETTINGS: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 256,
    "n_epochs": 2,
    "learning_rate": 3e-3,
    "ent_coef": 0.01,
    "policy_kwargs": {"hidden_sizes": (16, 16)},
    "device": "cpu",
    "seed": 0,
}
ROLLOUT = 32 * 32


def small_env(method: Method | str = "routed", lanes: int = 32) -> VectorEnv[Any, Any, Any]:
    """Return a grid whose rollouts hold episodes of every route."""
    reward = resolve(method).reward
    return partial_grid_vec(lanes, oversight_probability=0.5, horizon=12, reward=reward)


def small_agent(
    method: Method | str = "routed",
    env: Any = None,  # noqa: ANN401 (all that RoutedPPO takes)
    **settings: Any,  # noqa: ANN401
) -> RoutedPPO:
    """Return an agent with a network of two hidden layers of 16, on a small grid."""
    env = small_env(method) if env is None else env
    return RoutedPPO("MotivationPolicy", env, method, **{**SETTINGS, "propensity": 0.5, **settings})


def remove_gates(policy: nn.Module) -> None:
    """Put an identity where each gate was."""
    for module in list(policy.modules()):
        for name, child in module.named_children():
            if isinstance(child, Gate):
                setattr(module, name, nn.Identity())


def weights(policy: BasePolicy) -> dict[str, Tensor]:
    """Return a copy of all that a policy has learned."""
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


@torch.no_grad()
def probabilities(policy: ActorCriticPolicy, observations: Tensor) -> Tensor:
    """Return the chance of each action, [batch, actions]."""
    categorical: Any = policy.get_distribution(observations).distribution
    chances: Tensor = categorical.probs
    return chances


def assert_same_training(one: PPO, other: PPO) -> None:
    """Compare the parameters and the optimizer's state of two agents, bit for bit."""
    ours, theirs = weights(one.policy), weights(other.policy)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    state, expected = (a.policy.optimizer.state_dict()["state"] for a in (one, other))
    assert state
    assert state.keys() == expected.keys()
    for number, entry in state.items():
        assert entry.keys() == expected[number].keys()
        for key, tensor in entry.items():
            assert torch.equal(tensor, expected[number][key]), (number, key)
