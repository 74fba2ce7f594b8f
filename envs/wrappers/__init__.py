"""Wrappers of single environments; those of the same name for vector environments are in `vector_*`."""

from envs.wrappers.fixed_horizon import FixedHorizon
from envs.wrappers.record_truth import RecordTruth

__all__ = ["FixedHorizon", "RecordTruth"]
