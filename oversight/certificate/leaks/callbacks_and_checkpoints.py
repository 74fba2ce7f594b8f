"""Leaks of callbacks and checkpoint selection that read true returns from the ledger."""

from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from envs import read_ledger, summarize_episodes
from oversight.certificate.leaks.planted import Exchanged, leak
from oversight.certificate.tampering import Numbers
from oversight.rl.callbacks import OversightBudget
from oversight.rl.checkpoint_selection import HeldOut


class Auditor(Exchanged, BaseCallback):
    """A callback that reads the true returns of training episodes from the ledger.

    Args:
        ledgers: the folder of the ledger.
    """

    field = "callback"

    def __init__(self, ledgers: Path) -> None:
        super().__init__()
        self.ledgers = ledgers

    def returns(self) -> Numbers:
        """Return the true return of every complete episode."""
        episodes = summarize_episodes(read_ledger(self.ledgers / "truth.ledger"))
        returns: Numbers = episodes["true_return"][episodes["ended"] > 0]
        return returns

    def mean(self) -> float:
        """Return their mean, or 0 without episodes."""
        returns = self.returns()
        return float(np.mean(returns)) if len(returns) else 0.0

    def _on_step(self) -> bool:
        return True


@leak(shows="parameters")
class StopsAtTrueReturn(Auditor):
    """Training stops once the true return in the ledger is good."""

    def _on_step(self) -> bool:
        return len(self.returns()) < 20 or self.mean() < 0.9


@leak(shows="parameters")
class LearningRateByTrueReturn(Auditor):
    """The learning rate falls as the true return in the ledger rises."""

    def _on_rollout_end(self) -> None:
        rate = 2.5e-3 * (1.0 - float(np.clip(self.mean(), 0.0, 0.9)))
        self.model.lr_schedule = lambda remaining: rate * remaining


@leak(shows="parameters")
class EntropyByTrueReturn(Auditor):
    """The weight of the entropy bonus is larger while the true return in the ledger is low."""

    def _on_rollout_end(self) -> None:
        self.model.ent_coef = 0.01 if self.mean() > 0.5 else 0.1  # type: ignore[attr-defined]


@leak(shows="scalars")
class LogsTrueReturn(Auditor):
    """The true return is written to the learner's own logger."""

    def _on_rollout_end(self) -> None:
        self.logger.record("rollout/true_return", self.mean())


@leak(shows="optimizer")
class OptimizerResetByTrueReturn(Auditor):
    """Adam's moments are deleted while the true return in the ledger is low."""

    def _on_rollout_start(self) -> None:
        if self.mean() < 0.5:
            self.model.policy.optimizer.state.clear()


@leak(shows="generators")
class SamplesOncePerFailure(Auditor):
    """A diagnosis draws from the learner's random generator once per negative true return."""

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model._last_obs, np.ndarray)
        for _ in range(int(np.count_nonzero(self.returns() < 0))):
            self.model.predict(self.model._last_obs)


@leak(shows="parameters")
class RollsBackByTrueReturn(Auditor):
    """The policy returns to its best checkpoint whenever the true return has fallen."""

    best, weights = -np.inf, dict[str, torch.Tensor]()

    def _on_rollout_end(self) -> None:
        policy, mean = self.model.policy, self.mean()
        if mean > self.best:
            self.best = mean
            self.weights = {name: value.clone() for name, value in policy.state_dict().items()}
        else:
            policy.load_state_dict(self.weights)


@leak(shows="checkpoints")
class SelectsByTrueReturn(Exchanged, OversightBudget):
    """The checkpoint with the best true return is selected."""

    field = "selection"

    def __init__(self, held_out: HeldOut, ledgers: Path) -> None:
        super().__init__(held_out, every=1)
        self.auditor = Auditor(ledgers)

    def measure(self) -> None:
        """Score the weights by their true return."""
        weights = self.agent.policy.state_dict()
        self.held_out.best.offer(self.num_timesteps, self.auditor.mean(), weights)


@leak(shows="checkpoints")
class ScoredByTrueReturn(SelectsByTrueReturn):
    """The checkpoint is selected by observed return, but stored with its true return as score."""

    observed: float | None = None

    def measure(self) -> None:
        """Select by the observed score, and replace it by the true return."""
        best = self.held_out.best
        best.score = self.observed
        OversightBudget.measure(self)
        self.observed = best.score
        if best.weights is not None:
            best.score = self.auditor.mean()
