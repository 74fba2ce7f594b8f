"""Planted leaks that the certificate must catch, and innocent parts that it must let pass."""

from oversight.certificate.leaks import infos, wrappers
from oversight.certificate.leaks.planted import Planted

LEAKS = {leak.name: leak for kind in (wrappers, infos) for leak in kind.LEAKS}

__all__ = ["LEAKS", "Planted"]
