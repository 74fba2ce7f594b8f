"""Planted leaks, which the certificate must find, and harmless parts, which it must pass."""

from oversight.certificate.leaks import (
    buffers_and_learners,
    callbacks_and_checkpoints,
    infos_and_normalizers,
    observations_and_resets,
    wrappers,
)
from oversight.certificate.leaks.harmless import HARMLESS as _HARMLESS
from oversight.certificate.leaks.planted import Planted

CHAPTERS = (
    wrappers,
    observations_and_resets,
    infos_and_normalizers,
    buffers_and_learners,
    callbacks_and_checkpoints,
)

LEAKS: dict[str, Planted] = {leak.name: leak for chapter in CHAPTERS for leak in chapter.LEAKS}
"""By name."""

HARMLESS: dict[str, Planted] = {part.name: part for part in _HARMLESS}
"""By name."""

__all__ = ["HARMLESS", "LEAKS", "Planted"]
