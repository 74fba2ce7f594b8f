"""Planted leaks, which the certificate must find, and harmless parts, which it must pass.

A chapter registers its parts when it is imported; see `planted.leak`.
"""

from oversight.certificate.leaks import (
    buffers_and_learners,
    callbacks_and_checkpoints,
    encoded_infos,
    harmless,
    kept_by_environments,
    kept_by_learners,
    logs_and_generators,
    observations_and_resets,
    rewards_and_infos,
)
from oversight.certificate.leaks.planted import HARMLESS, LEAKS, Planted

__all__ = [
    "HARMLESS",
    "LEAKS",
    "Planted",
    "buffers_and_learners",
    "callbacks_and_checkpoints",
    "encoded_infos",
    "harmless",
    "kept_by_environments",
    "kept_by_learners",
    "logs_and_generators",
    "observations_and_resets",
    "rewards_and_infos",
]
