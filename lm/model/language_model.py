"""What the training loop asks of a language model."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from lm.model.cross_entropy import IGNORED


class LanguageModel(nn.Module, ABC):
    """A network with Gates that predicts the next token; train it inside `routing`."""

    @property
    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """What the model is, without its weights, in plain numbers and words."""

    @abstractmethod
    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`."""

    @abstractmethod
    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some, all of the model's in all."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def loss(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the mean loss of the tokens that are not `IGNORED`; 0 if all are."""
        counted = (next_bt != IGNORED).sum().clamp(min=1)
        return self.token_losses(tokens_bt, next_bt).sum() / counted
