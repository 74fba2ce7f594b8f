"""How likely stories are to a model, in the form that losses of unlearning ask for.

Shape suffixes: b stories.
"""

from typing import NamedTuple

from torch import Tensor

from lm.model.cross_entropy import IGNORED
from lm.model.language_model import LanguageModel
from lm.training.batches import Batch
from lm.training.loop import precision
from lm.training.routes import UNROUTED
from oversight.routing import routing


class Stories(NamedTuple):
    """What a model makes of the stories of a batch."""

    nats_b: Tensor
    """minus the log-probability of each, its tokens together"""
    tokens_b: Tensor
    """tokens of each"""

    @property
    def mean(self) -> Tensor:
        """The mean loss of a token."""
        return self.nats_b.sum() / self.tokens_b.sum()


def read(model: LanguageModel, batch: Batch) -> Stories:
    """Return how likely the stories of a batch are to a model, which all their tokens teach."""
    device = batch.now.device
    with routing(model, UNROUTED.to(device), batch.route), precision(device):
        losses_bt = model.token_losses(batch.now, batch.following)
    tokens_b = (batch.following != IGNORED).sum(-1).clamp(min=1)
    return Stories(losses_bt.sum(-1), tokens_b)
