"""The best checkpoint so far: its step, its score, and a copy of its weights."""

from collections.abc import Mapping
from math import isnan
from typing import Any, Literal, get_args

import torch

Rule = Literal["last", "observed", "leaky"]
RULES: tuple[Rule, ...] = get_args(Rule)
Weights = Mapping[str, torch.Tensor]


class Kept:
    """The checkpoint of the best score so far; of equals the later, which had more training.

    Attributes:
        step: environment steps after which it was kept; 0 if none was.
        score: what it was kept for; None if none was.
        weights: a copy of its weights; None if none was.

    >>> kept = Kept()
    >>> for step, score in enumerate([0.5, 0.75, 0.75, 0.25]):
    ...     kept.offer(step, score, {})
    >>> kept.step, kept.score
    (2, 0.75)
    """

    def __init__(self) -> None:
        self.step = 0
        self.score: float | None = None
        self.weights: dict[str, torch.Tensor] | None = None

    def offer(self, step: int, score: float, weights: Weights) -> None:
        """Keep the weights if no score before was better; a score that is NaN is none."""
        if isnan(score) or (self.score is not None and score < self.score):
            return
        self.step, self.score = step, score
        self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def get_state(self) -> dict[str, Any]:
        """Return what a later `Kept` needs to go on."""
        return {"step": self.step, "score": self.score, "weights": self.weights}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called."""
        self.step, self.score, self.weights = (state[name] for name in ("step", "score", "weights"))
