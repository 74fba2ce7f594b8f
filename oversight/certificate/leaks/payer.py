"""Payer: a wrapper outside the oversight that pays something else, and may read the truth."""

from abc import ABC, abstractmethod
from typing import Any

from oversight.certificate.leaks.truth import Mask, Numbers, Peeking, watched


class Payer(Peeking, ABC):
    """Pays something else than the oversight around the environment does."""

    @abstractmethod
    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Return what is paid instead, [n]."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and pay."""
        observations, paid, terminated, truncated, infos = self.env.step(actions)
        paid = self.pay(paid, self.truth.rewards, watched(infos))
        return observations, paid, terminated, truncated, infos
