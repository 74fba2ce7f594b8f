"""Reinforcement learning: runs under partial oversight, their evaluation, studies and reports."""
