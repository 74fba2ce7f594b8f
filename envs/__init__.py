"""Environments under partial oversight; importing this package registers their ids."""

from envs.gridworld_env import GridEnv, GridVectorEnv, partial_grid, partial_grid_vec
from envs.observers import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    Noisy,
    NoisyFlag,
    Query,
    Region,
    Schedule,
    StepCoin,
    StepDecay,
)
from envs.registration import IDS, register
from envs.rendering import draw
from envs.wrappers import (
    DelayedOversight,
    FixedHorizon,
    NormalizeObservedReward,
    PartialOversight,
    RecordTruth,
)
from envs.wrappers.ledger import read_ledger, summarize_episodes

__all__ = [
    "IDS",
    "Adversarial",
    "Budget",
    "DelayedOversight",
    "EpisodeCoin",
    "FixedHorizon",
    "GaussianNoise",
    "GridEnv",
    "GridVectorEnv",
    "Noisy",
    "NoisyFlag",
    "NormalizeObservedReward",
    "PartialOversight",
    "Query",
    "RecordTruth",
    "Region",
    "Schedule",
    "StepCoin",
    "StepDecay",
    "draw",
    "partial_grid",
    "partial_grid_vec",
    "read_ledger",
    "summarize_episodes",
]

register()
