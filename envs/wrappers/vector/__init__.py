"""The wrappers of `envs.wrappers` for vector environments, under the same names."""

from envs.wrappers.vector.delayed_oversight import DelayedOversight
from envs.wrappers.vector.fixed_horizon import FixedHorizon
from envs.wrappers.vector.normalize_observed_reward import NormalizeObservedReward
from envs.wrappers.vector.partial_oversight import PartialOversight
from envs.wrappers.vector.record_truth import RecordTruth

__all__ = [
    "DelayedOversight",
    "FixedHorizon",
    "NormalizeObservedReward",
    "PartialOversight",
    "RecordTruth",
]
