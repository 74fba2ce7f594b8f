"""Routing at parameters, which parameters a target holds, and steps that skip them."""

import copy
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oversight.routing import (
    Gate,
    RouteTable,
    gate_linear,
    gate_parameters,
    parameter_groups,
    parameters_of,
    pin,
    routing,
    skip_unreached,
)
from tests.oversight.routing.networks import DYNAMO, gradients, max_relative_error


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_gate_parameters_equals_separate_backward_passes_per_sample(
    weights: list[float], seed: int
) -> None:
    net = network(seed)
    x = torch.randn(len(weights), 3, dtype=torch.float64, requires_grad=True)
    expected = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    for sample, share in zip(x.detach(), weights, strict=True):
        net(sample).square().sum().backward()
        for name, grad in gradients(net).items():
            expected[name] += share * grad
    (whole,) = torch.autograd.grad(net(x).square().sum(), x)
    weight = torch.tensor(weights, dtype=torch.float64)[:, None]
    torch.autograd.backward(gate_parameters(net, x, weight).square().sum())
    assert x.grad is not None
    assert torch.equal(x.grad, whole)
    assert max_relative_error(gradients(net), expected) <= 1e-6


def test_gate_parameters_keeps_the_output_even_when_not_finite() -> None:
    x = torch.tensor([[torch.inf], [torch.nan], [0.1]], requires_grad=True)
    net = nn.Linear(1, 3)
    values = [gate_parameters(net, one, 0.3) for one in (x, x.detach())]
    with torch.no_grad():
        values.append(gate_parameters(net, x, 0.3))
    for value in values:
        assert torch.equal(value.view(torch.int32), net(x).view(torch.int32))


def test_blocked_sample_gives_parameters_no_gradient() -> None:
    net, x = nn.Linear(1, 2), torch.ones(2, 1)
    arriving = torch.tensor([[torch.nan, torch.inf], [3.0, 4.0]])
    y = gate_parameters(net, x, torch.tensor([[0.0], [1.0]]))
    torch.autograd.backward(y, arriving)
    assert gradients(net)["bias"].tolist() == [3.0, 4.0]


def test_second_forward_pass_runs_only_when_the_input_needs_gradients() -> None:
    calls = []
    net = nn.Linear(2, 2)
    net.register_forward_hook(lambda *_: calls.append(1))
    x = torch.ones(1, 2)
    gate_parameters(net, x, 0.5)
    assert len(calls) == 1
    gate_parameters(net, x.requires_grad_(), 0.5)
    assert len(calls) == 3


def test_backward_pass_of_gate_parameters_is_differentiable() -> None:
    net, weight = network(), torch.ones(2, 1, dtype=torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def value(x: Tensor) -> Tensor:
        return gate_parameters(net, x, weight)

    assert torch.autograd.gradcheck(value, x)
    assert torch.autograd.gradgradcheck(value, x)


STATEFUL = [
    nn.Sequential(nn.Dropout(0.1)),
    nn.BatchNorm1d(3),
    nn.TransformerEncoderLayer(3, 1, dropout=0.1),
]


@pytest.mark.parametrize("module", STATEFUL, ids=lambda module: type(module).__name__)
def test_gate_parameters_refuses_stochastic_modules_in_training_mode(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"is in training mode, and would not do the same"):
        gate_parameters(module, torch.ones(2, 3), 0.5)
    gate_parameters(module.eval(), torch.ones(2, 3), 0.5)
    gate_parameters(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0)), torch.ones(2, 3), 0.5)


def test_gate_parameters_refuses_a_module_with_several_outputs() -> None:
    with pytest.raises(ValueError, match="returned tuple: gate_parameters weighs modules that ret"):
        gate_parameters(nn.GRU(3, 3), torch.ones(2, 3), 0.5)


MASK = torch.tensor([[1.0, 0.0], [-0.5, 1.0]])
X = torch.tensor([[1.0, 2.0]])


WEIGHTS = (1.0, 0.0, 0.5, -0.75)


def output_and_gradients(way: str, dtype: torch.dtype, bias: bool) -> tuple[Tensor, ...]:
    """Return the output and the gradients of the input and of the parameters."""
    torch.manual_seed(0)
    linear = nn.Linear(3, 5, bias=bias, dtype=dtype)
    x = torch.randn(2, 4, 3, dtype=dtype, requires_grad=True)
    weight = torch.tensor([WEIGHTS, WEIGHTS[::-1]]).unsqueeze(-1)
    if way == "two passes":
        y = gate_parameters(linear, x, weight)
    else:
        y = gate_linear(x, linear.weight, weight, linear.bias)
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    grads = [parameter.grad for parameter in linear.parameters()]
    return y.detach(), x.grad, *(grad for grad in grads if grad is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [False, True])
def test_gated_linear_equals_gate_parameters(dtype: torch.dtype, bias: bool) -> None:
    one, two = (
        output_and_gradients("one pass", dtype, bias),
        output_and_gradients("two passes", dtype, bias),
    )
    assert len(one) == len(two) == 3 + bias
    assert torch.equal(one[0], two[0])
    torch.testing.assert_close(one[1:], two[1:])


@pytest.mark.parametrize("bad", [0.0, float("nan")])
@pytest.mark.parametrize("weight", [None, 0.5, torch.tensor([[1.0], [-0.75]])])
def test_gated_linear_learns_from_its_rows_as_if_the_others_had_weight_zero(
    weight: Tensor | float | None, bad: float
) -> None:
    x = torch.arange(12.0).view(4, 3).requires_grad_()
    linear, rows = nn.Linear(3, 5), torch.tensor([1, 3])
    arriving = torch.arange(20.0).view(4, 5)
    arriving[0] += bad  # of a row that does not teach
    every = torch.zeros(4, 1)
    every[rows] = 1.0 if weight is None else torch.as_tensor(weight)
    inputs = (x, linear.weight, linear.bias)
    some = gate_linear(x, linear.weight, weight, linear.bias, rows)
    all_ = gate_linear(x, linear.weight, every, linear.bias)
    assert torch.equal(some, all_)
    found, expected = (torch.autograd.grad(y, inputs, arriving) for y in (some, all_))
    assert all(
        torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(found, expected, strict=True)
    )
    assert found[1].isfinite().all()


def test_gated_linear_without_weight_and_rows_is_a_linear_map() -> None:
    x, linear = torch.randn(4, 3), nn.Linear(3, 5)
    assert torch.equal(gate_linear(x, linear.weight, None, linear.bias), linear(x))


def test_gated_linear_gradients_equal_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    parameter = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    for inputs, gated in product(((x, parameter), (x, parameter, bias)), (_ungated, _all_rows)):
        assert torch.autograd.gradcheck(gated, inputs)
        assert torch.autograd.gradgradcheck(gated, inputs)


def _ungated(x: Tensor, parameter: Tensor, bias: Tensor | None = None) -> Tensor:
    return gate_linear(x, parameter, torch.ones(2, 1), bias)


def _all_rows(x: Tensor, parameter: Tensor, bias: Tensor | None = None) -> Tensor:
    return gate_linear(x, parameter, None, bias, torch.arange(2))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_gated_linear_ignores_a_blocked_sample_when_its_gradient_is_not_finite(
    bad: float,
) -> None:
    parameter = torch.ones(2, 3, requires_grad=True)
    bias = torch.ones(2, requires_grad=True)
    y = gate_linear(torch.ones(2, 3), parameter, torch.tensor([[0.0], [1.0]]), bias)
    y.backward(torch.tensor([[bad, bad], [1.0, 2.0]]))  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    assert torch.equal(parameter.grad, torch.tensor([[1.0] * 3, [2.0] * 3]))
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.tensor([1.0, 2.0]))


def test_gated_linear_gradients_keep_the_dtype_of_parameters_under_autocast() -> None:
    x, parameter = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    bias = torch.ones(4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = gate_linear(x, parameter, torch.tensor([[1.0], [0.0]]), bias)
        assert y.dtype == torch.bfloat16
        y.sum().backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    assert x.grad is not None
    assert bias.grad is not None
    assert parameter.grad.dtype == x.grad.dtype == bias.grad.dtype == torch.float32
    assert torch.equal(bias.grad, torch.ones(4))
    assert torch.equal(parameter.grad, torch.ones(4, 3))
    assert torch.equal(x.grad, torch.full((2, 3), 4.0))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 1)])
def test_gated_linear_refuses_a_weight_that_does_not_match_the_output(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(ValueError, match="does not fit an output of shape"):
        gate_linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(shape))
    with pytest.raises(ValueError, match=r"does not fit an output of shape \(1, 4\)"):
        gate_linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(2, 1), rows=torch.tensor([1]))


def test_masked_gradient_is_multiplied_entry_by_entry() -> None:
    linear = nn.Linear(2, 2)
    pinned = copy.deepcopy(linear)
    assert pin(pinned, "weight", MASK) is pinned
    assert torch.equal(pinned.weight, linear.weight)
    assert torch.equal(pinned(X), linear(X))
    for net in (linear, pinned):
        net(X).square().sum().backward()
    assert linear.weight.grad is not None
    assert torch.equal(gradient(pinned), linear.weight.grad * MASK)


def gradient(linear: nn.Linear) -> torch.Tensor:
    grad = linear.get_parameter("parametrizations.weight.original").grad
    assert grad is not None
    return grad


def test_optimizer_step_leaves_masked_entries_unchanged() -> None:
    linear = pin(nn.Linear(2, 2), "weight", MASK.clamp(min=0))
    before = linear.weight.detach().clone()
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        linear(X).square().sum().backward()
        optimizer.step()
    assert torch.equal(linear.weight == before, MASK <= 0)


def test_mask_is_not_in_the_state_dict() -> None:
    linear = pin(nn.Linear(2, 2), "weight", 0.0)
    assert set(linear.state_dict()) == {"bias", "parametrizations.weight.original"}
    with torch.no_grad():
        linear.weight = MASK
    assert torch.equal(linear.weight, MASK)


@DYNAMO
def test_masked_parameter_compiles_without_graph_breaks() -> None:
    linear = pin(nn.Linear(2, 2), "weight", MASK)
    torch.compile(linear, fullgraph=True, backend="aot_eager")(X).sum().backward()
    assert torch.equal(gradient(linear), X.expand(2, 2) * MASK)
    torch.compiler.reset()


def test_mask_of_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Linear has no parameter 'wieght' .* has weight, bias;"):
        pin(nn.Linear(2, 2), "wieght", 0.0)
    with pytest.raises(ValueError, match=r"Sequential has no parameter '0.weight' .* has none;"):
        pin(nn.Sequential(nn.Linear(2, 2)), "0.weight", 0.0)


def test_module_is_unchanged_when_a_mask_has_the_wrong_shape() -> None:
    linear = nn.Linear(2, 3)
    with pytest.raises(ValueError, match=r"shape \(2,\) does not fit x of shape \(3, 2\)"):
        pin(linear, "weight", torch.ones(2))
    assert type(linear) is nn.Linear


def test_parameters_are_listed_once_and_in_order() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    expected = [first.bias, second.weight, second.bias, first.weight]
    given = parameters_of([first.bias, [second, second.bias], first])
    assert [id(parameter) for parameter in given] == [id(parameter) for parameter in expected]


def test_parameters_refuses_a_generator_when_already_read() -> None:
    parameters = nn.Linear(1, 1).parameters()
    assert len(parameters_of(parameters)) == 2
    with pytest.raises(ValueError, match=r"holds no parameter: .*can be read only once"):
        parameters_of(parameters)


TABLE = RouteTable(
    {"observed": {"motivation": 1, "trunk": 1}, "hidden": {"motivation": 0, "trunk": 1}}
)


class Net(nn.Module):
    """A trunk and a motivation side by side, read by a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), Gate("trunk"))
        self.motivation = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), Gate("motivation"))
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, 3] to [batch, 1]."""
        y: Tensor = self.head(self.trunk(x) + self.motivation(x))
        return y


def groups_of(net: Net, **options: float) -> list[dict[str, object]]:
    targets: dict[str, nn.Module] = {"motivation": net.motivation, "trunk": net.trunk}
    return parameter_groups(net, targets, **options)


def step(net: Net, optimizer: torch.optim.Optimizer, routes: list[str]) -> tuple[str, ...]:
    optimizer.zero_grad()
    with routing(net, TABLE, TABLE.routes(routes)):
        torch.autograd.backward(net(torch.randn(len(routes), 3)).square().sum())
    skipped = skip_unreached(optimizer)
    optimizer.step()
    return skipped


@pytest.mark.parametrize("foreach", [True, False])
def test_motivation_is_bit_equal_after_fifty_hidden_steps(foreach: bool) -> None:
    net = Net()
    groups = groups_of(net, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, foreach=foreach)
    for _ in range(5):  # momentum to begin with
        assert step(net, optimizer, ["observed", "hidden"]) == ()
    before = copy.deepcopy(net)
    states = [copy.deepcopy(optimizer.state[p]) for p in net.motivation.parameters()]
    for _ in range(50):
        assert step(net, optimizer, ["hidden"] * 4) == ("motivation",)
    for now, then in zip(net.motivation.parameters(), before.motivation.parameters(), strict=True):
        assert torch.equal(now, then)
    for parameter, state in zip(net.motivation.parameters(), states, strict=True):
        assert all(torch.equal(optimizer.state[parameter][key], state[key]) for key in state)
    pairs = list(zip(net.parameters(), before.parameters(), strict=True))
    assert [torch.equal(now, then) for now, then in pairs] == [False, False, True, True] + [
        False
    ] * 2


def test_momentum_moves_the_motivation_without_skipped_updates() -> None:
    net = Net()
    optimizer = torch.optim.AdamW(groups_of(net), lr=0.01)
    step(net, optimizer, ["observed"])
    before = copy.deepcopy(net.motivation)
    net.motivation.zero_grad(set_to_none=False)
    optimizer.step()
    for now, then in zip(net.motivation.parameters(), before.parameters(), strict=True):
        assert not torch.equal(now, then)


def test_every_parameter_is_in_exactly_one_group() -> None:
    net = Net()
    groups = groups_of(net, weight_decay=0.3)
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    assert [group.get("target") for group in groups] == ["motivation", "trunk", None]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.3, 0.1]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6
    assert [len(parameter_groups(net, {"all": net})), len(parameter_groups(net, {}))] == [1, 1]


def test_parameter_outside_the_gates_is_still_updated() -> None:
    net = Net()
    optimizer = torch.optim.SGD(groups_of(net), lr=0.01)
    net.motivation[:2](torch.ones(1, 3)).sum().backward()
    assert skip_unreached(optimizer) == ("trunk",)
    assert all(parameter.grad is not None for parameter in net.motivation.parameters())


@pytest.mark.parametrize("value", [1e-45, torch.nan, torch.inf])
def test_update_is_not_skipped_when_the_gradient_is_tiny_or_not_finite(value: float) -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [weight], "target": "all"}])
    weight.grad = torch.tensor([0.0, value])
    assert skip_unreached(optimizer) == ()
    assert weight.grad is not None


def test_optimizer_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="SGD has 1 parameter groups, none with a target: build"):
        skip_unreached(torch.optim.SGD(Net().parameters()))


def test_targets_are_refused_when_they_overlap_or_are_not_optimized() -> None:
    net = Net()
    with pytest.raises(
        ValueError, match=r"'trunk' holds parameters of shapes \[\(1, 4\), \(1,\)\]"
    ):
        parameter_groups(net, {"head": net.head, "trunk": [net.trunk, net.head]})
    with pytest.raises(ValueError, match="belong to another target or not to the model"):
        parameter_groups(net, {"other": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="holds no parameter"):
        parameter_groups(net, {"gate": net.trunk[-1]})
