"""Wrappers of single environments; `vector_*` has those of the same name for vector ones."""

from envs.wrappers.fixed_horizon import FixedHorizon
from envs.wrappers.record_truth import RecordTruth

__all__ = ["FixedHorizon", "RecordTruth"]
