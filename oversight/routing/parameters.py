"""Routing at parameters: what may teach them, which target holds them, and when they stay still.

- `gate_parameters` and `gate_linear` weigh each sample, `pin` weighs each entry of a parameter.
- `parameters_of` and `parameter_groups` say which parameters a target holds.
- `skip_unreached` makes a zero gradient a zero update.
"""

from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from oversight.routing.gate import gate, weigh

Module = TypeVar("Module", bound=nn.Module)


def gate_parameters(module: nn.Module, x: Tensor, weight: Tensor | float) -> Tensor:
    """Return `module(x)`, and let each sample teach the module's parameters by its weight.

    The gradient that passes through to `x` stays whole. A `Gate` does the opposite: it weighs what
    lies below it, and leaves the reader of the gated tensor alone. This is routing at the edges
    that leave parameters, in the words of Cloud et al. 2024 (arXiv 2410.04332), section 3. The
    value is that of `module(x)` to the last bit; the price is a second forward pass whenever
    gradient must reach `x`.

    Args:
        module: returns one tensor, and the same one if called twice: it may hold no dropout or
            running statistics in training mode.
        x: its input.
        weight: as in `gate`, for the module's output.

    Raises:
        ValueError: if a second forward pass of the module would differ from the first.

    >>> linear = nn.Linear(2, 1)
    >>> x = torch.ones(3, 2, requires_grad=True)
    >>> gate_parameters(linear, x, torch.tensor([[1.0], [0.0], [0.5]])).sum().backward()
    >>> linear.weight.grad
    tensor([[1.5000, 1.5000]])
    >>> torch.equal(x.grad, linear.weight.detach().expand(3, 2))
    True
    """
    _refuse_state(module)
    if not torch.is_grad_enabled():
        return _tensor(module(x))
    learning = gate(_tensor(module(x.detach())), weight)
    if not x.requires_grad:
        return learning
    frozen = {name: parameter.detach() for name, parameter in module.named_parameters()}
    passing = functional_call(module, frozen, (x,))
    joined: Tensor = _Join.apply(learning, passing)  # type: ignore[no-untyped-call]
    return joined


def gate_linear(
    x: Tensor,
    parameter: Tensor,
    weight: Tensor | float | None,
    bias: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Return `F.linear(x, parameter, bias)`, and let each sample teach both by its weight.

    It does for a linear map what `gate_parameters` does for any module, without the second forward
    pass. The gradient that passes through to `x` stays whole.

    Args:
        x: the input, [..., inputs].
        parameter: the matrix, [outputs, inputs].
        weight: as in `gate`, for the output, or for its `rows`; None for 1.
        bias: [outputs], or none.
        rows: the places along the first axis of the samples that teach. The others have weight 0,
            and are left out of the gradient of both, which is cheaper. None for all.

    Raises:
        ValueError: if the weight does not fit the output.

    >>> parameter = torch.ones(1, 2, requires_grad=True)
    >>> x = torch.ones(3, 2, requires_grad=True)
    >>> gate_linear(x, parameter, torch.tensor([[1.0], [0.0], [0.5]])).sum().backward()
    >>> parameter.grad, x.grad.sum()
    (tensor([[1.5000, 1.5000]]), tensor(6.))
    """
    if weight is None and rows is None:
        return F.linear(x, parameter, bias)
    if weight is not None:
        if not isinstance(weight, Tensor):
            weight = x.new_full((), weight)
        samples = x.shape[:-1] if rows is None else (len(rows), *x.shape[1:-1])
        _require_fit(weight, (*samples, parameter.shape[0]))
        weight = weight.to(x.device)
    output: Tensor = _Linear.apply(x, parameter, weight, bias, rows)  # type: ignore[no-untyped-call]
    return output


def _require_fit(weight: Tensor, room: tuple[int, ...]) -> None:
    fits = len(weight.shape) == len(room) and all(
        w in (1, n) for w, n in zip(weight.shape, room, strict=True)
    )
    if weight.shape and not fits:
        raise ValueError(
            f"a weight of shape {tuple(weight.shape)} does not fit an output of shape {room}: give "
            "a number, or a tensor with as many axes as the output, each 1 or that of the output"
        )


def pin(module: Module, name: str, weight: Tensor | float) -> Module:
    """Weigh the gradient of a parameter, entry by entry and for all samples, and return the module.

    A pinned entry still moves if the optimizer decays it, or carries momentum from before; see
    `parameter_groups`. The parameter is stored as `parametrizations.<name>.original`, and the
    module can be saved only through its `state_dict`.

    Args:
        module: the module that owns the parameter.
        name: the name of the parameter in that module.
        weight: as in `gate`, for the parameter: 0 holds an entry, 1 lets it learn.

    Raises:
        ValueError: if the module itself has no parameter of that name, or the weight does not fit.

    >>> linear = pin(nn.Linear(2, 2), "weight", torch.tensor([[1.0], [0.0]]))
    >>> linear(torch.ones(1, 2)).sum().backward()
    >>> linear.parametrizations.weight.original.grad
    tensor([[1., 1.],
            [0., 0.]])
    """
    own = dict(module.named_parameters(recurse=False))
    if name not in own:
        raise ValueError(
            f"{type(module).__name__} has no parameter {name!r} of its own: it has "
            f"{', '.join(own) or 'none'}; give the module that owns the parameter"
        )
    mask = torch.as_tensor(weight, dtype=own[name].dtype, device=own[name].device)
    parametrize.register_parametrization(module, name, _Pin(mask))
    return module


class _Join(Function):
    """The first of two equal tensors; its gradient flows whole into both."""

    generate_vmap_rule = True

    @staticmethod
    def forward(first: Tensor, second: Tensor) -> Tensor:
        return first.view_as(first)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep nothing: the gradient passes as it is."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        return grad, grad


class _Linear(Function):
    """A linear map whose parameters' gradients are weighted; its backward is differentiable."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        parameter: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        rows: Tensor | None,
    ) -> Tensor:
        return F.linear(x, parameter, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        x, parameter, weight, bias, rows = inputs
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.save_for_backward(x, parameter, weight, rows)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad: Tensor,
    ) -> tuple[Tensor | None, Tensor | None, None, Tensor | None, None]:
        x, parameter, weight, rows = ctx.saved_tensors
        needs_x, needs_parameter, _, needs_bias, _ = ctx.needs_input_grad
        to_x = to_parameter = to_bias = None
        if needs_x:
            # under autocast the gradient comes in half precision
            to_x = (grad @ parameter.to(grad.dtype)).to(x.dtype)
        if needs_parameter or needs_bias:
            if rows is not None:
                grad, x = grad.index_select(0, rows), x.index_select(0, rows)
            if weight is not None:
                grad = weigh(grad, weight.to(grad.dtype))
            weighed = grad.flatten(0, -2)
            if needs_parameter:
                to_parameter = (weighed.mT @ x.to(grad.dtype).flatten(0, -2)).to(parameter.dtype)
            if needs_bias:
                to_bias = weighed.sum(0).to(ctx.bias_dtype)
        return to_x, to_parameter, None, to_bias, None


# `apply` asks for it at every call, and would take longer to derive it than to multiply
_Linear.forward.__signature__ = signature(_Linear.forward)  # type: ignore[attr-defined]


class _Pin(nn.Module):
    """The parametrization behind `pin`: it stores nothing but the weight."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # not persistent: what is pinned is said by code, not by a checkpoint
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, parameter: Tensor) -> Tensor:
        return gate(parameter, self.weight)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def _tensor(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"the module returned {type(value).__name__}: gate_parameters weighs modules that "
            "return one tensor"
        )
    return value


def _refuse_state(module: nn.Module) -> None:
    for name, part in module.named_modules():
        # attention and recurrent layers keep their dropout as a plain number
        chance = part.p if isinstance(part, _DropoutNd) else getattr(part, "dropout", 0)
        drops = isinstance(chance, int | float) and chance > 0
        counts = isinstance(part, _NormBase) and part.track_running_stats
        if part.training and (drops or counts):
            raise ValueError(
                f"{type(part).__name__} ({name or 'the module itself'}) is in training mode, and "
                "would not do the same in both forward passes: call eval() on it, or keep it "
                "outside the module given to gate_parameters"
            )


Part = nn.Module | nn.Parameter | Iterable["Part"]


def parameters_of(part: Part) -> list[nn.Parameter]:
    """Return the parameters of a module, a parameter or several of them, each once, in order.

    Raises:
        ValueError: if there is none.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> [tuple(parameter.shape) for parameter in parameters_of([net[0].weight, net[1]])]
    [(3, 2), (1, 3), (1,)]
    """
    parameters = list(dict.fromkeys(_walk(part)))
    if not parameters:
        raise ValueError(
            f"{part!r} holds no parameter: give a module, a parameter, or a list of them (an "
            "iterator can be read only once)"
        )
    return parameters


def _walk(part: Part) -> Iterator[nn.Parameter]:
    if isinstance(part, nn.Parameter):
        yield part
    elif isinstance(part, nn.Module):
        yield from part.parameters()
    else:
        for one in part:
            yield from _walk(one)


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
        foreign = [tuple(parameter.shape) for parameter in params if parameter not in free]
        if foreign:
            raise ValueError(
                f"target {target!r} holds parameters of shapes {foreign} that belong to another "
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
