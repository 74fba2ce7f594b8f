"""How planted parts are certified in tests: tamper by tamper, and with the truth blotted out."""

from typing import Any

import numpy as np

from oversight.certificate import TAMPERS, Certificate, Setup, certify
from oversight.certificate.certificate import CHANNELS
from oversight.certificate.leaks.truth import LaneTruth, Truth


def caught(setup: Setup) -> Certificate:
    """Certify with one tamper after the other, and return the first certificate that fails."""
    for name, tamper in TAMPERS.items():
        certificate = certify(setup, {name: tamper})
        if not certificate.passed:
            return certificate
    raise AssertionError("no tamper shows the leak")


def failed(certificate: Certificate) -> bool:
    """Whether a tampered run ended with an error."""
    difference = certificate.findings[CHANNELS.index("errors")].difference
    return difference is not None and difference.name != "none"


class BlottedTruth(Truth):
    """Remembers zeros."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and tell zeros wherever the truth would be told."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self.steps.append(np.zeros(self.num_envs))
        told = {"true_reward": self.rewards, "_true_reward": terminated | truncated}
        infos.get("final_info", infos).update(told)
        self.infos = infos
        return observations, rewards, terminated, truncated, infos


class BlottedLaneTruth(LaneTruth):
    """Remembers zero."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and remember nothing."""
        return self.env.step(action)


BLOTTED: dict[Any, Any] = {Truth: BlottedTruth, LaneTruth: BlottedLaneTruth}
