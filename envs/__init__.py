"""Environments under partial oversight; importing this package registers their ids."""

from envs.gridworld_env import GridEnv, GridVectorEnv
from envs.ledger import read_ledger, summarize_episodes
from envs.observers import (
    Adversarial,
    Budget,
    EpisodeCoin,
    Noisy,
    Query,
    Region,
    Schedule,
    StepCoin,
)
from envs.registration import IDS, register
from envs.rendering import draw
from envs.wrappers import (
    DelayedOversight,
    FixedHorizon,
    NoisyFlag,
    NormalizeObservedReward,
    PartialOversight,
    RecordTruth,
)

__all__ = [
    "IDS",
    "Adversarial",
    "Budget",
    "DelayedOversight",
    "EpisodeCoin",
    "FixedHorizon",
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
    "draw",
    "read_ledger",
    "summarize_episodes",
]

register()
