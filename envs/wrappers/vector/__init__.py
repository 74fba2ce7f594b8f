"""The wrappers of `envs.wrappers` for vector environments, under the same names."""

from envs.wrappers.vector.partial_oversight import PartialOversight

__all__ = ["PartialOversight"]
