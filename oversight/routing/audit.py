"""How much gradient of each route reached each target."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from oversight.routing.parameters import Part, parameters_of
from oversight.routing.table import RouteTable


def audit(
    losses: Tensor, targets: Mapping[str, Part], table: RouteTable, route: Tensor
) -> dict[str, dict[str, float]]:
    """Return, for each route and target, the norm of the gradient that one sends to the other.

    Gradients add up over samples; so one backward pass per route, from the losses of its samples
    alone, splits the gradient of `losses.sum()` exactly. What arrives beside the gates is counted,
    which is how a leak shows. The result has the form of the table: `result[route][target]`. The
    graph is kept, so `losses.sum().backward()` may follow; no `.grad` is touched. It speaks for
    this process and its samples only, and needs a model that is not compiled.

    Args:
        losses: the loss of each sample (or token), computed inside `routing`.
        targets: the parameters to watch, by a name of any kind; not only targets of the table.
        table: the table that names the routes.
        route: the route of each loss, of the same shape.

    Raises:
        ValueError: if the losses and the route differ in shape, or a target holds no parameter.

    >>> net = nn.Sequential(nn.Linear(1, 1), Gate("below"), nn.Linear(1, 1))
    >>> table = RouteTable({"observed": {"below": 1}, "hidden": {"below": 0}})
    >>> route = table.routes(["hidden", "hidden"])
    >>> with routing(net, table, route):
    ...     losses = net(torch.ones(2, 1)).squeeze(-1)
    ...     norms = audit(losses, {"below": net[0], "beside": net[2].bias}, table, route)
    >>> norms
    {'observed': {'below': 0.0, 'beside': 0.0}, 'hidden': {'below': 0.0, 'beside': 2.0}}
    """
    if losses.shape != route.shape:
        raise ValueError(
            f"losses of shape {tuple(losses.shape)} and a route of shape {tuple(route.shape)} were "
            "given: give one loss per route, not their mean"
        )
    parts = {target: parameters_of(part) for target, part in targets.items()}
    masks = {name: route == number for number, name in enumerate(table.route_names)}
    return {name: _norms(losses, mask, parts) for name, mask in masks.items()}


def _norms(
    losses: Tensor, mask: Tensor, parts: Mapping[str, list[nn.Parameter]]
) -> dict[str, float]:
    """Return the norm, over each part, of the gradient of the chosen losses' sum."""
    if not mask.any():
        return dict.fromkeys(parts, 0.0)
    parameters = list(dict.fromkeys(parameter for part in parts.values() for parameter in part))
    chosen = mask.to(losses.device, losses.dtype)
    grads = torch.autograd.grad(losses, parameters, chosen, retain_graph=True, allow_unused=True)
    reached = {p: grad for p, grad in zip(parameters, grads, strict=True) if grad is not None}
    return {
        target: float(get_total_norm([reached[p] for p in part if p in reached]))
        for target, part in parts.items()
    }
