"""Planted leaks that the certificate must catch, and innocent parts that it must let pass."""

from oversight.certificate.leaks import (
    autoreset,
    buffers,
    callbacks,
    checkpoints,
    infos,
    innocents,
    learners,
    normalizers,
    observations,
    overseers,
    wrappers,
)
from oversight.certificate.leaks.planted import Planted

KINDS = (
    wrappers,
    observations,
    autoreset,
    infos,
    normalizers,
    buffers,
    learners,
    callbacks,
    checkpoints,
)

LEAKS: dict[str, Planted] = {leak.name: leak for kind in KINDS for leak in kind.LEAKS}
"""What the certificate must catch, by name."""

INNOCENTS: dict[str, Planted] = {
    each.name: each for kind in (overseers, innocents) for each in kind.INNOCENTS
}
"""What it must let pass, by name."""

__all__ = ["INNOCENTS", "LEAKS", "Planted"]
