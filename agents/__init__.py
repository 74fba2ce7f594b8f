"""Agents: PPO whose gradients are routed into named motivation modules."""

from agents.method_definition import Method
from agents.methods import METHODS, method
from agents.policy import MotivationPolicy
from agents.ppo import RoutedPPO
from agents.rollout_buffer import ROUTES
from agents.vec_env import VectorEnvAdapter, evaluate_policy

__all__ = [
    "METHODS",
    "ROUTES",
    "Method",
    "MotivationPolicy",
    "RoutedPPO",
    "VectorEnvAdapter",
    "evaluate_policy",
    "method",
]
