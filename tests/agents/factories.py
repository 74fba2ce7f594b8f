"""Small environments and agents, and comparisons of two agents."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

import envs
from agents import Method, RoutedPPO
from agents.method_definition import Reward
from agents.methods import resolve
from agents.rollout_buffer import Observations
from envs import partial_grid_vec
from oversight.routing import Gate

CORRIDOR = 12


class Corridor(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Episodes of 12 steps with a time limit; lanes pay 1, -1 and an unobserved 0 in turn."""

    def __init__(self, num_envs: int) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0, 1, (1,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.position = np.zeros(1, dtype=np.int64)

    def reset(
        self,
        *,
        seed: object = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Put every lane at the start."""
        self.position[:] = 0
        return self._observe(), {}

    def step(self, actions: object) -> Any:  # noqa: ANN401
        """Move by one step, whatever the actions."""
        pays = np.resize([1.0, -1.0, 0.0], self.num_envs) * (self.position == 0)
        info = {"observed": pays != 0, "observed_reward": pays}
        self.position += 1
        ended = np.full(self.num_envs, self.position[0] == CORRIDOR)
        infos: dict[str, Any] = dict(info)
        if ended.any():
            infos = {"final_obs": self._observe(), "final_info": info}
            self.position[:] = 0
        return self._observe(), pays, np.zeros_like(ended), ended, infos

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the position."""
        return {"position": self.position.copy()}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Set the position."""
        self.position[:] = state["position"]

    def _observe(self) -> NDArray[np.float32]:
        return np.full((self.num_envs, 1), self.position[0] / CORRIDOR, dtype=np.float32)


class OneStep(gym.Env[NDArray[np.float32], np.int64]):
    """Pays 1 for action 0 and -1 for action 1; the overseer sees all outcomes or none."""

    def __init__(self, observed: bool) -> None:
        self.observed = observed
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw an observation."""
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """End the episode."""
        reward = 1.0 - 2.0 * float(action)
        info = {"observed": self.observed, "observed_reward": reward if self.observed else 0.0}
        return np.zeros(3, np.float32), reward, True, False, info


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
    """Replace each gate by an identity."""
    for module in list(policy.modules()):
        for name, child in module.named_children():
            if isinstance(child, Gate):
                setattr(module, name, nn.Identity())


def weights(policy: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a policy's parameters and buffers."""
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


@torch.no_grad()
def probabilities(policy: ActorCriticPolicy, observations: Observations) -> Tensor:
    """Return the chance of each action, [batch, actions]."""
    categorical: Any = policy.get_distribution(observations).distribution
    chances: Tensor = categorical.probs
    return chances


def assert_same_training(one: PPO, other: PPO) -> None:
    """Assert that parameters and optimizer states of two agents are bit-equal."""
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


PENDULUMS, PENDULUM_STEPS = 4, 64


def pendulums(probability: float, reward: Reward = "observed") -> VectorEnv[Any, Any, Any]:
    """Return lanes of Pendulum-v1, of episodes of 20 steps, that are observed by chance."""

    def single() -> gym.Env[Any, Any]:
        env = gym.make("Pendulum-v1", max_episode_steps=20)
        return envs.PartialOversight(env, observed_probability=probability, reward=reward)

    return SyncVectorEnv([single] * PENDULUMS, autoreset_mode=AutoresetMode.SAME_STEP)


def pendulum_agent(env: Any, method: str = "routed", **settings: Any) -> RoutedPPO:  # noqa: ANN401
    """Return an agent with rollouts of 64 steps, on any environment."""
    return small_agent(method, env, **{"n_steps": PENDULUM_STEPS, "batch_size": 64, **settings})


class Fused(VectorEnv[Any, Any, Any]):
    """Steps the lanes of another vector environment, none of which can be reset or asked alone."""

    def __init__(self, inside: VectorEnv[Any, Any, Any]) -> None:
        self.inside, self.metadata, self.num_envs = inside, inside.metadata, inside.num_envs
        self.observation_space, self.action_space = inside.observation_space, inside.action_space
        self.single_observation_space = inside.single_observation_space
        self.single_action_space = inside.single_action_space

    def reset(
        self,
        *,
        seed: Any = None,  # noqa: ANN401
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Reset every lane."""
        assert not options, "lanes cannot be reset alone"
        return self.inside.reset(seed=seed)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step every lane."""
        return self.inside.step(actions)
