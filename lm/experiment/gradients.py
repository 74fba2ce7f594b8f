"""Which labels teach which parameters: the share of the gradient that each sends to each target."""

import torch
from torch import Tensor

from lm.model.language_model import LanguageModel
from lm.training.batches import Batch
from lm.training.routes import FORGET, UNROUTED
from oversight.routing import RouteTable, audit, routing


def gradient_shares(
    model: LanguageModel, table: RouteTable, batch: Batch
) -> dict[str, dict[str, float]]:
    """Return, for each label and target of parameters, its share of the gradient norms there.

    The routes that expand, route, ablate has for weights of tokens count as `forget`. No gradient
    is left behind.

    Args:
        model: as it was trained, before anything is cut out.
        table: of its method.
        batch: on the model's device, its routes made for the table.
    """
    with torch.enable_grad(), routing(model, table, batch.route):
        losses = model.token_losses(batch.now, batch.following)
        norms = audit(losses, model.parameter_targets(), UNROUTED, _labels(batch.route))
    total = {
        target: sum(sent[target] for sent in norms.values()) for target in model.parameter_targets()
    }
    return {
        label: {target: norm / total[target] if total[target] else 0.0 for target, norm in row}
        for label, row in ((label, sent.items()) for label, sent in norms.items())
    }


def _labels(route: Tensor) -> Tensor:
    """Return the label that each route stands for: they come first, and the rest are of forget."""
    return route.clamp(max=FORGET)
