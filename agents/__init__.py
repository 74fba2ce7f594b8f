"""Agents: PPO whose gradients are routed into named motivation modules."""
