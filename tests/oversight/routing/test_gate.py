"""`gate`, `Gate` and `routing`: values are untouched, gradients are weighted by their routes.

The reference for routed gradients uses nothing of the package: one backward pass per label, with
parts of the network detached. A gate of weight w is w times an open gate plus 1 - w times a closed
one, and closed means detached. So each route needs one backward pass per way of opening and closing
the gates, each counted by the product of its shares.
"""

import copy
import pickle
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from oversight.routing import Gate, RouteTable, gate, routing
from tests.oversight.routing.networks import DYNAMO, TABLE, Branches, gradients, max_relative_error

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
ROUTE = TABLE.routes(["both", "left", "none"])
X = torch.linspace(-1, 1, 9).view(3, 3)


def gradient(x: Tensor, weight: Tensor | float, arriving: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(gate(x, weight), x, arriving)[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gate_returns_its_input_bit_for_bit(dtype: torch.dtype) -> None:
    x = torch.tensor([[torch.inf, -torch.inf, torch.nan, -0.0, 1e-7, 0.1]], dtype=dtype)
    y = gate(x, torch.tensor([[-0.75]]))
    size = {8: torch.int64, 4: torch.int32, 2: torch.int16}[dtype.itemsize]
    assert y.dtype == dtype
    assert torch.equal(x.view(size), y.view(size))


@st.composite
def shapes(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    x = draw(st.lists(st.integers(0, 4), max_size=4))
    scalar = draw(st.booleans())
    return x, [] if scalar else [draw(st.sampled_from([1, n])) for n in x]


@given(shapes(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_gate_multiplies_the_gradient_by_the_weight(
    shape: tuple[list[int], list[int]], dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    arriving, x = torch.randn(2, *shape[0], generator=generator).to(dtype)
    weight = torch.randint(-4, 5, shape[1], generator=generator) / 4
    assert torch.equal(gradient(x, weight, arriving), arriving * weight.to(dtype))


def test_zero_weight_blocks_gradients_that_are_not_finite() -> None:
    arriving = torch.tensor([[torch.inf, torch.nan, -1.0]] * 2)
    grad = gradient(torch.zeros(2, 3), torch.tensor([[0.0], [1.0]]), arriving)
    assert torch.equal(grad[0], torch.zeros(3))
    assert torch.equal(grad[1].nan_to_num(), arriving[1].nan_to_num())


def test_number_as_weight_keeps_the_precision_of_the_gradient() -> None:
    ones = torch.ones(3, dtype=torch.float64)
    assert gradient(ones, 0.1, ones).tolist() == [0.1, 0.1, 0.1]


def test_gate_weighs_each_slice_of_the_last_axis() -> None:
    weight = torch.tensor([[[-0.75, 1.0]], [[0.0, 0.5]]])  # [2, 1, slices]
    x, arriving = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (grad,) = torch.autograd.grad(gate(x, weight, sizes=[2, 3]), x, arriving)
    wide = weight.repeat_interleave(torch.tensor([2, 3]), -1)
    assert torch.equal(grad, arriving * wide)


def test_gate_saves_only_the_weight_in_the_dtype_of_the_gradient() -> None:
    kept: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append((tensor.dtype, tuple(tensor.shape)))
        return tensor

    x = torch.ones(8, 5, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gate(x, torch.ones(8, 1))
        gate(x, torch.ones(8, 2), sizes=[2, 3])
    assert kept == [(torch.bfloat16, (8, 1)), (torch.bfloat16, (8, 2))]


def test_gate_passes_gradcheck_and_gradgradcheck() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    ones = torch.ones(3, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: gate(x, ones), x)
    weight = torch.tensor([[0.0], [1.0], [-0.5]], dtype=torch.float64)
    # a gate is not the derivative of its value, but its backward pass is differentiable itself
    (first,) = torch.autograd.grad(gate(x, weight).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(first, weight * 3 * x**2)
    torch.testing.assert_close(second, weight * weight * 6 * x)


@pytest.mark.parametrize("shape", [(64,), (1,), (64, 1, 1), (2, 64), (64, 2), (0, 64)])
def test_weight_is_refused_when_it_does_not_broadcast_to_x(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"weight of shape \(.*\) does not fit x of shape \(64, 64"
    ):
        gate(torch.ones(64, 64), torch.ones(shape))
    with pytest.raises(ValueError, match=r"weight of shape \(64, 1\) does not fit .* \(1, 64\)"):
        gate(torch.ones(1, 64), torch.ones(64, 1))


def test_slice_sizes_are_refused_when_they_do_not_add_up() -> None:
    x = torch.ones(4, 5)
    with pytest.raises(ValueError, match=r"\(2, 2\) do not fill the last axis of x, .* \(4, 5\)"):
        gate(x, torch.ones(4, 2), sizes=[2, 2])
    with pytest.raises(ValueError, match=r"\(4, 1\) does not fit .* in 2 slices"):
        gate(x, torch.ones(4, 1), sizes=[2, 3])


def test_in_place_change_of_the_output_is_refused_by_torch() -> None:
    with pytest.raises(RuntimeError, match="modified inplace"):
        gate(torch.ones(2, requires_grad=True), 0.5).relu_()


def test_gates_do_not_change_the_output() -> None:
    net, bare = Branches(), Branches()
    bare.trunk[-1] = bare.left[-1] = bare.right[-1] = nn.Identity()
    with routing(net, TABLE, ROUTE):
        assert torch.equal(net(X), bare(X))
    with torch.no_grad():
        assert torch.equal(net(X), bare(X))


def test_gradients_are_unchanged_when_all_weights_are_one() -> None:
    net, bare = Branches(), Branches()
    bare.trunk[-1] = bare.left[-1] = bare.right[-1] = nn.Identity()
    bare(X).sum().backward()
    with routing(net, TABLE, TABLE.routes(["both"] * 3)):
        net(X).sum().backward()
    expected = gradients(bare)
    assert all(torch.equal(grad, expected[name]) for name, grad in gradients(net).items())


def test_gate_weighs_each_token_and_slice_separately() -> None:
    table = RouteTable({"retain": {"old": 1, "new": 1}, "forget": {"old": -0.75, "new": 1}})
    route = table.routes([["retain", "forget"], ["forget", "forget"]])  # [batch, time]
    net, x = Gate(old=2, new=1), torch.zeros(2, 2, 3, requires_grad=True)
    with routing(net, table, route):
        net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[1, 1, 1], [-0.75, -0.75, 1]], [[-0.75, -0.75, 1]] * 2]


def test_weights_of_consecutive_gates_multiply() -> None:
    table = RouteTable({"all": {"a": 0.5, "b": -0.5}})
    net, x = nn.Sequential(Gate("a"), Gate("b")), torch.ones(1, requires_grad=True)
    with routing(net, table, table.routes("all")):
        net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == -0.25


def test_gate_stops_gradient_of_earlier_layers_only() -> None:
    table = RouteTable({"hidden": {"below": 0}})
    net = nn.Sequential(nn.Linear(1, 1), Gate("below"), nn.Linear(1, 1))
    with routing(net, table, table.routes(["hidden", "hidden"])):
        net(torch.ones(2, 1)).sum().backward()
    grads = gradients(net)
    assert grads["0.weight"].item() == grads["0.bias"].item() == 0
    assert grads["2.bias"].item() == 2


def test_gate_needs_no_route_when_gradients_are_disabled() -> None:
    net = Branches()
    with torch.no_grad():
        outputs = net(X)
        with routing(net, TABLE, ROUTE):  # of another batch, as in an evaluation between two steps
            torch.testing.assert_close(net(X[:1]), outputs[:1])


def test_gate_raises_when_gradients_are_enabled_without_a_route() -> None:
    with pytest.raises(RuntimeError, match=r"Gate\('trunk'\) has no route: run forward and backw"):
        Branches()(X)


def test_routes_are_cleared_on_exit_and_after_an_error() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTE):
        pass
    with pytest.raises(ZeroDivisionError), routing(net, TABLE, ROUTE):
        raise ZeroDivisionError
    gates = [module for module in net.modules() if isinstance(module, Gate)]
    assert [gate.weights for gate in gates] == [None] * 3


def selecting(target: str, selects: str) -> Gate:
    """Return a gate that selects the rows that pass a target."""
    point = Gate(target)
    point.selects = selects
    return point


@pytest.mark.parametrize(
    ("route", "places", "weights"),
    [
        (["left", "none", "both"], [1, 2], [-0.75, 1.0]),
        ([["left", "left"], ["left", "both"]], [1], [[0.0, 1.0]]),
        (["left"], [], []),
    ],
)
def test_selected_rows_are_those_with_a_weight_other_than_zero(
    route: list[Any], places: list[int], weights: list[Any]
) -> None:
    point, routes = selecting("right", "right"), TABLE.routes(route)
    with routing(point, TABLE, routes):
        assert point.rows is not None
        assert point.rows.places.tolist() == places
        assert point.rows.weights.tolist() == weights
        assert point.rows.passes == (not weights)
        with torch.no_grad():
            assert point.rows is None
    assert point.rows is None


def test_gate_weighs_the_rows_that_pass_another_target_or_the_whole_batch() -> None:
    point, x = selecting("trunk", "right"), torch.ones(3, 2)
    with routing(point, TABLE, TABLE.routes(["left", "none", "both"])):
        assert point.weight_for(x[:2]) is None  # both rows have weight 1
        assert point.linear_arguments(x[:2]) == (None, None)
        whole = point.weight_for(x)
        assert whole is not None
        assert whole.flatten().tolist() == [0.5, 1, 1]
        weight, rows = point.linear_arguments(x)
        assert weight is None
        assert rows is not None
        assert rows.tolist() == [1, 2]
    other = TABLE.routes(["left", "none"])
    with routing(point, TABLE, other), pytest.raises(ValueError, match="does not fit the input"):
        point.weight_for(x)


def test_no_rows_are_selected_where_every_route_passes_or_one_route_is_for_all() -> None:
    table = RouteTable({"open": {"one": 1, "other": 0}})
    for point, route in (
        (selecting("other", "one"), table.routes(["open"])),
        (selecting("one", "other"), table.routes("open")),
    ):
        with routing(point, table, route):
            assert point.rows is None


def test_copy_made_while_routing_has_no_rows() -> None:
    point = selecting("right", "right")
    with routing(point, TABLE, ROUTE):
        assert copy.deepcopy(point).rows is None
        assert copy.deepcopy(point).selects == "right"


def test_routing_raises_when_the_table_lacks_the_target_that_selects() -> None:
    with (
        pytest.raises(ValueError, match="did you mean 'trunk'"),
        routing(selecting("left", "trnk"), TABLE, ROUTE),
    ):
        pass


def test_nested_routing_contexts_raise() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTE):
        with pytest.raises(RuntimeError, match="already being routed"), routing(net, TABLE, ROUTE):
            pass
        net(X)  # the outer routes are still in force


def test_routing_raises_when_the_model_has_no_gates() -> None:
    with (
        pytest.raises(ValueError, match="no Gate, so no gradient"),
        routing(nn.ReLU(), TABLE, ROUTE),
    ):
        pass


def test_routing_raises_when_the_table_lacks_a_target() -> None:
    net = Gate("trnk")
    with (
        pytest.raises(ValueError, match=r"'trnk': .*did you mean 'trunk'"),
        routing(net, TABLE, ROUTE),
    ):
        pass


@pytest.mark.parametrize("integer", [-1, 3])
def test_routing_raises_when_a_route_is_not_in_the_table(integer: int) -> None:
    with (
        pytest.raises(ValueError, match=f"{integer} were given|from {integer}"),
        routing(Branches(), TABLE, torch.tensor([integer])),
    ):
        pass


@pytest.mark.parametrize("shape", [(4,), (1,), (3, 2), (3, 3, 1)])
def test_gate_raises_when_routes_do_not_match_the_input_shape(shape: tuple[int, ...]) -> None:
    route = torch.zeros(shape, dtype=torch.int64)
    message = r"route of shape \(.*\) does not fit the input of Gate\('trunk'\), of shape \(3, 4\)"
    net = Branches()
    with routing(net, TABLE, route), pytest.raises(ValueError, match=message):
        net(X)


ARGUMENTS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    ((), {}),
    (("a",), {"b": 2}),
    ((), {"a": 2, "b": 0}),
]


@pytest.mark.parametrize(("targets", "sizes"), ARGUMENTS)
def test_gate_raises_when_targets_and_slice_sizes_disagree(
    targets: tuple[str, ...], sizes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="give either one target"):
        Gate(*targets, **sizes)


def test_gate_repr_shows_its_arguments() -> None:
    assert repr(Gate("shared")) == "Gate('shared')"
    assert repr(Gate(old=2, new=1)) == "Gate(old=2, new=1)"


TARGETS = ("trunk", "left", "right")
WEIGHTS = st.one_of(st.sampled_from([0.0, 1.0, 0.5, -0.75]), st.floats(-2, 2))


class Switch(nn.Module):
    """The reference gate, open or closed."""

    is_open = True

    def forward(self, x: Tensor) -> Tensor:
        """Return x, detached if closed."""
        return x if self.is_open else x.detach()


def losses_of(net: nn.Module, x: Tensor) -> Tensor:
    losses: Tensor = net(x).square().mean(-1) / len(x)
    return losses


def reference(seed: int, table: RouteTable, route: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Return the routed gradient of the mean squared output, one label at a time."""
    net = Branches(seed=seed).double()
    switches = [Switch() for _ in TARGETS]
    net.trunk[-1], net.left[-1], net.right[-1] = switches
    total = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    for number, row in enumerate(table.as_dict().values()):
        for positions in product([True, False], repeat=len(TARGETS)):
            share = 1.0
            for switch, target, is_open in zip(switches, TARGETS, positions, strict=True):
                switch.is_open = is_open
                share *= row[target] if is_open else 1 - row[target]
            net.zero_grad()
            torch.autograd.backward(losses_of(net, x)[route == number].sum())
            for name, parameter in net.named_parameters():
                if parameter.grad is not None:
                    total[name] += share * parameter.grad
    return total


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    rows = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(TARGETS, WEIGHTS)), min_size=1))
    return RouteTable({f"route {number}": row for number, row in enumerate(rows[:4])})


@given(tables(), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_one_backward_pass_equals_separate_passes_per_route(
    table: RouteTable, batch: int, seed: int
) -> None:
    net = Branches(seed=seed).double()
    x = torch.randn(batch, 3, dtype=torch.float64)
    route = torch.randint(len(table.route_names), (batch,))
    with routing(net, table, route):
        torch.autograd.backward(losses_of(net, x).sum())
    assert max_relative_error(gradients(net), reference(seed, table, route, x)) <= 1e-6


INPUTS = torch.linspace(-1, 1, 15).view(5, 3)
ROUTES = [torch.tensor(route) for route in ([0, 1, 2, 1, 0], [2, 2, 2, 2, 2], [1, 0, 0, 0, 1])]


def routed(net: nn.Module, route: Tensor, table: RouteTable = TABLE) -> dict[str, Tensor]:
    with routing(net, table, route):
        net(INPUTS).square().sum().backward()
    return gradients(net)


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@DYNAMO
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_model_is_not_recompiled_for_other_routes_or_tables() -> None:
    net = Branches()
    backend = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    other = RouteTable({r: dict.fromkeys(TABLE.target_names, 0.3) for r in TABLE.route_names})
    for route, table in [*((route, TABLE) for route in ROUTES), (ROUTES[0], other)]:
        with routing(compiled, table, route):  # type: ignore[arg-type]
            compiled(INPUTS).square().sum().backward()
        assert max_relative_error(gradients(net), routed(net, route, table)) <= 1e-6
    assert backend.frame_count == 1
    with torch.no_grad():
        assert torch.equal(compiled(INPUTS), net(INPUTS))
    assert backend.frame_count == 2
    with pytest.raises(torch._dynamo.exc.Unsupported, match="has no route"):
        compiled(INPUTS)


@DYNAMO
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_gradients_equal_eager_ones_for_slices_and_tokens() -> None:
    table = RouteTable({"retain": {"old": 1, "new": 1}, "forget": {"old": -0.75, "new": 0}})
    net = nn.Sequential(nn.Linear(3, 5), Gate(old=3, new=2))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    route, x = torch.tensor([[0, 1, 1], [1, 0, 0]]), torch.linspace(-1, 1, 18).view(2, 3, 3)
    with routing(net, table, route):
        compiled(x).sum().backward()
        expected = gradients(net)
        net(x).sum().backward()
    assert max_relative_error(gradients(net), expected) <= 1e-6


def test_vmap_gives_the_routed_gradient_of_each_sample() -> None:
    net = Branches()

    def loss(parameters: dict[str, Tensor], x: Tensor, route: Tensor) -> Tensor:
        with routing(net, TABLE, route):  # a route without axes: the one of this sample
            y: Tensor = functional_call(net, parameters, (x,))
        return y.square().sum()

    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}
    per_sample = vmap(grad(loss), (None, 0, 0))(parameters, INPUTS, ROUTES[0])
    total = {name: g.sum(0) for name, g in per_sample.items()}
    assert max_relative_error(total, routed(net, ROUTES[0])) <= 1e-6


def test_weight_takes_the_dtype_of_the_gradient_under_autocast() -> None:
    net = nn.Sequential(nn.Linear(3, 2), Gate("trunk"))
    with routing(net, TABLE, ROUTES[0]), torch.autocast("cpu", torch.bfloat16):
        y = net(INPUTS)
        y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert gradients(net)["0.bias"].tolist() == [4.0, 4.0]  # 1 + 0.5 + 1 + 0.5 + 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_gradients_equal_plain_ones_inside_the_context(reentrant: bool) -> None:
    net = Branches()
    x = INPUTS.clone().requires_grad_()
    with routing(net, TABLE, ROUTES[0]):
        y: Tensor = checkpoint(net, x, use_reentrant=reentrant)
        torch.autograd.backward(y.square().sum())
    assert max_relative_error(gradients(net), routed(net, ROUTES[0])) <= 1e-6


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_backward_pass_raises_outside_the_context(reentrant: bool) -> None:
    net = Branches()
    with routing(net, TABLE, ROUTES[0]):
        y: Tensor = checkpoint(net, INPUTS.clone().requires_grad_(), use_reentrant=reentrant)
    with pytest.raises(RuntimeError, match="has no route"):
        torch.autograd.backward(y.sum())


def test_copied_gates_hold_no_route() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTES[0]):
        copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
        net(INPUTS)
    for other in copies:
        with pytest.raises(RuntimeError, match="has no route"):
            other(INPUTS)
        assert max_relative_error(routed(other, ROUTES[0]), routed(net, ROUTES[0])) == 0


def test_gates_add_nothing_to_the_state_dict() -> None:
    with routing(net := Branches(), TABLE, ROUTES[0]):
        assert not any(key.endswith(("table", "route")) for key in net.state_dict())
