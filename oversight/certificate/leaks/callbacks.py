"""Callbacks that read the ledger, and act on it."""

from pathlib import Path

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from envs import read_ledger, summarize_episodes
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.truth import Numbers


class Auditor(BaseCallback):
    """Reads the true returns of the training episodes.

    Args:
        ledgers: the folder of the ledger.
    """

    def __init__(self, ledgers: Path) -> None:
        super().__init__()
        self.ledgers = ledgers

    @classmethod
    def only(cls, ledgers: Path) -> list[BaseCallback]:
        """Return it as the callbacks of a run."""
        return [cls(ledgers)]

    def returns(self) -> Numbers:
        """Return the true return of every ended episode."""
        episodes = summarize_episodes(read_ledger(self.ledgers / "truth.ledger"))
        returns: Numbers = episodes["true_return"][episodes["ended"] > 0]
        return returns

    def mean(self) -> float:
        """Return the mean of them, 0 if there are none."""
        returns = self.returns()
        return float(np.mean(returns)) if len(returns) else 0.0

    def _on_step(self) -> bool:
        return True


class StopsEarly(Auditor):
    """Stops training once the true return is good."""

    def _on_step(self) -> bool:
        return len(self.returns()) < 20 or self.mean() < 0.9


class LowersRate(Auditor):
    """Lowers the learning rate as the true return rises."""

    def _on_rollout_end(self) -> None:
        rate = 2.5e-3 * (1.0 - float(np.clip(self.mean(), 0.0, 0.9)))
        self.model.lr_schedule = lambda remaining: rate * remaining


class TunesEntropy(Auditor):
    """Asks for more exploration while the true return is poor."""

    def _on_rollout_end(self) -> None:
        self.model.ent_coef = 0.01 if self.mean() > 0.5 else 0.1  # type: ignore[attr-defined]


class LogsTruth(Auditor):
    """Logs the true return beside the other curves."""

    def _on_rollout_end(self) -> None:
        self.logger.record("rollout/true_return", self.mean())


class ResetsOptimizer(Auditor):
    """Forgets Adam's moments while the true return is poor."""

    def _on_rollout_start(self) -> None:
        if self.mean() < 0.5:
            self.model.policy.optimizer.state.clear()


class StudiesFailures(Auditor):
    """Asks the policy what it does now, once for each failure, with the learner's generator."""

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model._last_obs, np.ndarray)
        for _ in range(int(np.count_nonzero(self.returns() < 0))):
            self.model.predict(self.model._last_obs)


LEAKS = (
    Planted(
        name="stops-at-true-return",
        part="callback",
        says="Training stops once the true return in the ledger is good.",
        plant=swap(callbacks=StopsEarly.only),
        shows="parameters",
    ),
    Planted(
        name="learning-rate-by-true-return",
        part="callback",
        says="The learning rate falls as the true return in the ledger rises.",
        plant=swap(callbacks=LowersRate.only),
        shows="parameters",
    ),
    Planted(
        name="entropy-by-true-return",
        part="callback",
        says="The entropy bonus is larger while the true return in the ledger is poor.",
        plant=swap(callbacks=TunesEntropy.only),
        shows="parameters",
    ),
    Planted(
        name="logs-true-return",
        part="callback",
        says="The true return is written to the learner's own logger.",
        plant=swap(callbacks=LogsTruth.only),
        shows="scalars",
    ),
    Planted(
        name="optimizer-reset-by-true-return",
        part="callback",
        says="Adam's moments are forgotten while the true return in the ledger is poor.",
        plant=swap(callbacks=ResetsOptimizer.only),
        shows="optimizer",
    ),
    Planted(
        name="samples-once-per-failure",
        part="callback",
        says="A diagnosis samples from the policy once for each true failure, and so moves the "
        "learner's generator on by their number.",
        plant=swap(callbacks=StudiesFailures.only),
        shows="generators",
    ),
)
