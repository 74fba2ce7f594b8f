"""Agents: PPO whose gradients are routed into named motivation modules."""

from agents.methods import METHODS, ROUTES, Method, method
from agents.policy import MotivationPolicy
from agents.ppo import RoutedPPO
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
