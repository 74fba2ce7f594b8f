"""Wrappers for any Gymnasium environment; `envs.wrappers.vector` mirrors the names."""

from envs.wrappers.delayed_oversight import DelayedOversight
from envs.wrappers.fixed_horizon import FixedHorizon
from envs.wrappers.normalize_observed_reward import NormalizeObservedReward
from envs.wrappers.partial_oversight import PartialOversight
from envs.wrappers.record_truth import RecordTruth

__all__ = [
    "DelayedOversight",
    "FixedHorizon",
    "NormalizeObservedReward",
    "PartialOversight",
    "RecordTruth",
]
