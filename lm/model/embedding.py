"""The embedding that an expansion adds to the model's own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.model.presence import Presence
from lm.model.targets import EXPANSION_PARAMETERS
from oversight.routing import Gate


class ExpansionEmbedding(nn.Module):
    """What an expansion knows of single tokens; zeros until it is trained.

    Words that only forget text has are learned here, where the model's own embedding may not learn
    them. The output head does not read it.

    Args:
        vocab_size: tokens of the vocabulary.
        width: features of the residual stream.
    """

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocab_size, width))
        self.taught = Gate(EXPANSION_PARAMETERS)
        self.presence = Presence()

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """Map tokens [B, T] to what is added to their embedding, [B, T, D]."""
        # weighing what the lookup gives weighs what it teaches the embedding
        looked_up: Tensor = self.taught(F.embedding(tokens_bt, self.weight))
        added: Tensor = self.presence(looked_up)
        return added
