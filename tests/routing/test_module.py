"""`Gate` and `routing`: named points, and the routes of one step."""

from typing import Any

import pytest
import torch
from torch import nn

from oversight.routing import Gate, RouteTable, routing
from tests.routing.networks import TABLE, Branches, gradients

ROUTE = TABLE.routes(["both", "left", "none"])
X = torch.linspace(-1, 1, 9).view(3, 3)


def test_the_value_is_that_of_the_network_without_gates() -> None:
    net, bare = Branches(), Branches()
    bare.trunk[-1] = bare.left[-1] = bare.right[-1] = nn.Identity()
    with routing(net, TABLE, ROUTE):
        assert torch.equal(net(X), bare(X))
    with torch.no_grad():
        assert torch.equal(net(X), bare(X))


def test_a_table_of_ones_changes_no_gradient() -> None:
    net, bare = Branches(), Branches()
    bare.trunk[-1] = bare.left[-1] = bare.right[-1] = nn.Identity()
    bare(X).sum().backward()
    with routing(net, TABLE, TABLE.routes(["both"] * 3)):
        net(X).sum().backward()
    expected = gradients(bare)
    assert all(torch.equal(grad, expected[name]) for name, grad in gradients(net).items())


def test_tokens_and_slices_have_their_own_weights() -> None:
    table = RouteTable({"retain": {"old": 1, "new": 1}, "forget": {"old": -0.75, "new": 1}})
    route = table.routes([["retain", "forget"], ["forget", "forget"]])  # [batch, time]
    net, x = Gate(old=2, new=1), torch.zeros(2, 2, 3, requires_grad=True)
    with routing(net, table, route):
        net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[1, 1, 1], [-0.75, -0.75, 1]], [[-0.75, -0.75, 1]] * 2]


def test_two_gates_in_a_row_multiply() -> None:
    table = RouteTable({"all": {"a": 0.5, "b": -0.5}})
    net, x = nn.Sequential(Gate("a"), Gate("b")), torch.ones(1, requires_grad=True)
    with routing(net, table, table.routes("all")):
        net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == -0.25


def test_a_gate_stops_gradient_below_it_not_beside_it() -> None:
    table = RouteTable({"hidden": {"below": 0}})
    net = nn.Sequential(nn.Linear(1, 1), Gate("below"), nn.Linear(1, 1))
    with routing(net, table, table.routes(["hidden", "hidden"])):
        net(torch.ones(2, 1)).sum().backward()
    grads = gradients(net)
    assert grads["0.weight"].item() == grads["0.bias"].item() == 0
    assert grads["2.bias"].item() == 2


def test_without_gradients_a_gate_asks_for_nothing() -> None:
    net = Branches()
    with torch.no_grad():
        net(X)
        with routing(net, TABLE, ROUTE):
            net(X[:1])  # another batch, as in an evaluation between two steps


def test_gradients_without_a_route_raise() -> None:
    with pytest.raises(RuntimeError, match=r"Gate\('trunk'\) has no route: run forward and backw"):
        Branches()(X)


def test_the_routes_are_cleared_on_exit_and_after_an_error() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTE):
        pass
    with pytest.raises(ZeroDivisionError), routing(net, TABLE, ROUTE):
        raise ZeroDivisionError
    gates = [module for module in net.modules() if isinstance(module, Gate)]
    assert [gate.weights for gate in gates] == [None] * 3


def test_contexts_do_not_nest() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTE):
        with pytest.raises(RuntimeError, match="already being routed"), routing(net, TABLE, ROUTE):
            pass
        net(X)  # the outer routes are still in force


def test_a_model_without_gates_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="no Gate, so no gradient"),
        routing(nn.ReLU(), TABLE, ROUTE),
    ):
        pass


def test_a_gate_that_the_table_does_not_know_is_refused() -> None:
    net = Gate("trnk")
    with (
        pytest.raises(ValueError, match=r"'trnk': .*did you mean 'trunk'"),
        routing(net, TABLE, ROUTE),
    ):
        pass


@pytest.mark.parametrize("integer", [-1, 3])
def test_a_foreign_integer_is_refused_on_entry(integer: int) -> None:
    with (
        pytest.raises(ValueError, match=f"{integer} were given|from {integer}"),
        routing(Branches(), TABLE, torch.tensor([integer])),
    ):
        pass


@pytest.mark.parametrize("shape", [(4,), (1,), (3, 2), (3, 3, 1)])
def test_a_route_that_does_not_fit_the_input_is_refused(shape: tuple[int, ...]) -> None:
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
def test_a_gate_has_one_target_or_slices(targets: tuple[str, ...], sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give either one target"):
        Gate(*targets, **sizes)


def test_a_gate_prints_its_arguments() -> None:
    assert repr(Gate("shared")) == "Gate('shared')"
    assert repr(Gate(old=2, new=1)) == "Gate(old=2, new=1)"
