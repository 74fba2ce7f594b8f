"""Partial oversight for any Gymnasium environment; `envs.wrappers.vector` mirrors the names."""

from envs.wrappers.partial_oversight import PartialOversight

__all__ = ["PartialOversight"]
