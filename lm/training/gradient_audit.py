"""How much gradient the tokens of each label send to each target of parameters.

Gradients are those of the loss of the next token, in the type of the weights.
"""

import torch

from lm.models.language_model import LanguageModel
from lm.training.batches import Batch
from lm.training.route_tables import ERA, FORGET, UNROUTED
from oversight.routing import RouteTable, audit, routing

Shares = dict[str, dict[str, float]]
"""Shares of the gradient norms at each target, by route and target."""


def gradient_shares(model: LanguageModel, table: RouteTable, batch: Batch) -> Shares:
    """Return, for each route and target of parameters, its share of the gradient norms there.

    The arguments are those of `gradient_norms`.
    """
    norms = gradient_norms(model, table, batch)
    targets = next(iter(norms.values()))
    total = {target: sum(row[target] for row in norms.values()) for target in targets}
    return {
        label: {target: norm / total[target] if total[target] else 0.0 for target, norm in row}
        for label, row in ((label, norm_of.items()) for label, norm_of in norms.items())
    }


def gradient_norms(
    model: LanguageModel, table: RouteTable, batch: Batch
) -> dict[str, dict[str, float]]:
    """Return the norm of the gradient that each route sends to each target of parameters.

    Routes are labels. Those of weighted tokens (expand, route, ablate) count as `forget`. The
    gradients of the model stay unchanged.

    Args:
        model: a model whole in this process and not compiled, before the ablation.
        table: route table of the method.
        batch: a batch on the device of the model, with routes for the table.
    """
    weighted = table == ERA
    shown, route = (UNROUTED, batch.route.clamp(max=FORGET)) if weighted else (table, batch.route)
    with torch.enable_grad(), routing(model, table, batch.route):
        losses = model.token_losses(batch.inputs, batch.targets)
        return audit(losses, model.parameter_targets(), shown, route)
