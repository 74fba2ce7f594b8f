"""Checkpoints that are chosen, named or gone back to by the truth."""

from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from oversight.callbacks.selection import KeepBest
from oversight.certificate.leaks.callbacks import Auditor
from oversight.certificate.leaks.planted import Planted, swap


class KeepsBestInTruth(KeepBest):
    """Keeps the weights of the best true return.

    Args:
        ledgers: the folder of the ledger.
    """

    def __init__(self, ledgers: Path) -> None:
        super().__init__()
        self.auditor = Auditor(ledgers)

    @classmethod
    def only(cls, ledgers: Path) -> list[BaseCallback]:
        """Return it as the callbacks of a run."""
        return [cls(ledgers)]

    def _on_rollout_end(self) -> None:
        self.returns.clear()
        self.returns.append(self.auditor.mean())
        super()._on_rollout_end()


class NamesByTruth(KeepsBestInTruth):
    """Chooses by observed return, and puts the true one in the file's name."""

    observed = -np.inf

    def _on_rollout_end(self) -> None:
        self.score = self.observed
        KeepBest._on_rollout_end(self)
        self.observed, self.score = self.score, self.auditor.mean()


class RollsBack(Auditor):
    """Goes back to the weights of the best true return whenever it has fallen."""

    best, weights = -np.inf, dict[str, torch.Tensor]()

    def _on_rollout_end(self) -> None:
        policy, mean = self.model.policy, self.mean()
        if mean > self.best:
            self.best = mean
            self.weights = {name: value.clone() for name, value in policy.state_dict().items()}
        else:
            policy.load_state_dict(self.weights)


LEAKS = (
    Planted(
        name="keeps-best-in-truth",
        part="checkpoint",
        says="The checkpoint with the best true return is kept.",
        plant=swap(callbacks=KeepsBestInTruth.only),
        shows="checkpoints",
    ),
    Planted(
        name="checkpoint-named-by-truth",
        part="checkpoint",
        says="The checkpoint is chosen by observed return, and its name says the true one.",
        plant=swap(callbacks=NamesByTruth.only),
        shows="checkpoints",
    ),
    Planted(
        name="rolls-back-in-truth",
        part="checkpoint",
        says="The policy goes back to its best checkpoint whenever the true return has fallen.",
        plant=swap(callbacks=RollsBack.only),
        shows="parameters",
    ),
)
