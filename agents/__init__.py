"""Agents: PPO whose gradients are routed into named motivation modules."""

from agents.methods import METHODS, Method, method
from agents.policy import MotivationPolicy
from agents.ppo import RoutedPPO
from agents.rollout_buffer import ROUTES
from agents.vec_env import VectorEnvAdapter

__all__ = [
    "METHODS",
    "ROUTES",
    "Method",
    "MotivationPolicy",
    "RoutedPPO",
    "VectorEnvAdapter",
    "method",
]
