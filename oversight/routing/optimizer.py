"""A zero gradient must be a zero update: parameter groups by target, and the steps they skip."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oversight.routing.target import Part, parameters_of


def parameter_groups(
    model: nn.Module, targets: Mapping[str, Part], weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return an optimizer's parameter groups: one per target, then one for the rest of the model.

    A blocked parameter has a gradient of zero, but weight decay moves it all the same. So targets
    have no decay unless asked for; the rest of the model has that of the optimizer. Momentum, too,
    moves what is blocked: call `skip_unreached` before each step.

    Args:
        model: all that the optimizer is to train.
        targets: the parts of the model that each target holds, by name.
        weight_decay: the decay of the targets.

    Raises:
        ValueError: if a target is empty, or a parameter is in two targets or not in the model.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> groups = parameter_groups(net, {"motivation": net[1]})
    >>> optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1)
    >>> [(group.get("target"), group["weight_decay"]) for group in optimizer.param_groups]
    [('motivation', 0.0), (None, 0.1)]
    """
    free = dict.fromkeys(model.parameters())
    groups: list[dict[str, Any]] = []
    for target, part in targets.items():
        params = parameters_of(part)
        strangers = [tuple(parameter.shape) for parameter in params if parameter not in free]
        if strangers:
            raise ValueError(
                f"target {target!r} holds parameters of shapes {strangers} that belong to another "
                "target or not to the model: give each parameter of the model to one target at most"
            )
        groups.append({"params": params, "target": target, "weight_decay": weight_decay})
        for parameter in params:
            del free[parameter]
    return [*groups, {"params": list(free)}] if free else groups


def skip_unreached(optimizer: Optimizer) -> tuple[str, ...]:
    """Leave out of the next step each target whose gradient is exactly zero, and name it.

    Its gradients become None, so that neither its parameters nor its optimizer state change: no
    momentum, no decay, no step count. Call it between `backward` and `step`, after any
    accumulation. The gradient itself decides, not the routes: a loss that bypasses the gates still
    counts. Data-parallel processes hold the same gradients and decide alike; sharded ones
    (`fully_shard`) add theirs up to decide, so all of them must call.

    Args:
        optimizer: one over `parameter_groups`.

    Raises:
        ValueError: if no group of the optimizer names a target.

    >>> weight = nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.AdamW([{"params": [weight], "target": "motivation"}])
    >>> weight.grad = torch.zeros(2)
    >>> skip_unreached(optimizer)
    ('motivation',)
    >>> weight.grad is None
    True
    """
    groups = [group for group in optimizer.param_groups if "target" in group]
    if not groups:
        raise ValueError(
            f"{type(optimizer).__name__} has {len(optimizer.param_groups)} parameter groups, none "
            "with a target: build it over parameter_groups(model, targets)"
        )
    unreached = [group for group in groups if not _reached(group["params"])]
    for parameter in (parameter for group in unreached for parameter in group["params"]):
        parameter.grad = None
    return tuple(group["target"] for group in unreached)


def _reached(parameters: list[nn.Parameter]) -> bool:
    """Return whether any entry of any gradient is not zero; the smallest usually settles it."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return any(_any(grad) for grad in sorted(grads, key=Tensor.numel))


def _any(grad: Tensor) -> bool:
    # the norm, since sharded gradients have no `any`; not norm 2, which squares small entries to
    # zero, nor norm inf, which has no value for an empty shard
    sharded = hasattr(grad, "full_tensor")
    return bool(torch.linalg.vector_norm(grad, 1).full_tensor() if sharded else grad.any())
