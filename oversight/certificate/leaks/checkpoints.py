"""Checkpoints that are chosen, named or gone back to by the truth."""

from pathlib import Path

import numpy as np
import torch

from oversight.certificate.leaks.callbacks import Auditor
from oversight.certificate.leaks.planted import Planted, swap
from oversight.rl.callbacks import OversightBudget
from oversight.rl.checkpoint_selection import HeldOut


class KeepsBestInTruth(OversightBudget):
    """Keeps the weights of the best true return.

    Args:
        held_out: keeps them.
        ledgers: the folder of the ledger.
    """

    def __init__(self, held_out: HeldOut, ledgers: Path) -> None:
        super().__init__(held_out, every=1)
        self.auditor = Auditor(ledgers)

    def measure(self) -> None:
        """Offer the weights by their true return."""
        weights = self.agent.policy.state_dict()
        self.held_out.best.offer(self.num_timesteps, self.auditor.mean(), weights)


class NamesByTruth(KeepsBestInTruth):
    """Chooses by held-out observed episodes, and names what is kept after the true return."""

    observed: float | None = None

    def measure(self) -> None:
        """Choose by the score that the name hides, and write the name over it again."""
        kept = self.held_out.best
        kept.score = self.observed
        OversightBudget.measure(self)
        self.observed = kept.score
        if kept.weights is not None:
            kept.score = self.auditor.mean()


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
        plant=swap(choice=KeepsBestInTruth),
        shows="checkpoints",
    ),
    Planted(
        name="checkpoint-named-by-truth",
        part="checkpoint",
        says="The checkpoint is chosen by observed return, and its name says the true one.",
        plant=swap(choice=NamesByTruth),
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
