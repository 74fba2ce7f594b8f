"""Gates under compile, vmap, autocast, checkpointing, copying and pickling."""

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from oversight.routing import Gate, RouteTable, routing
from tests.routing.networks import TABLE, Branches, gradients, max_relative_error

X = torch.linspace(-1, 1, 15).view(5, 3)
# Dynamo itself instantiates autograd.Function while it traces one
DYNAMO = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
ROUTES = [torch.tensor(route) for route in ([0, 1, 2, 1, 0], [2, 2, 2, 2, 2], [1, 0, 0, 0, 1])]


def routed(net: nn.Module, route: Tensor, table: RouteTable = TABLE) -> dict[str, Tensor]:
    with routing(net, table, route):
        net(X).square().sum().backward()
    return gradients(net)


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@DYNAMO
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_once_for_all_routes_and_tables() -> None:
    net = Branches()
    backend = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    other = RouteTable({r: dict.fromkeys(TABLE.target_names, 0.3) for r in TABLE.route_names})
    for route, table in [*((route, TABLE) for route in ROUTES), (ROUTES[0], other)]:
        with routing(compiled, table, route):  # type: ignore[arg-type]
            compiled(X).square().sum().backward()
        assert max_relative_error(gradients(net), routed(net, route, table)) <= 1e-6
    assert backend.frame_count == 1
    with torch.no_grad():
        assert torch.equal(compiled(X), net(X))
    assert backend.frame_count == 2
    with pytest.raises(torch._dynamo.exc.Unsupported, match="has no route"):
        compiled(X)


@DYNAMO
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_slices_and_tokens() -> None:
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
    per_sample = vmap(grad(loss), (None, 0, 0))(parameters, X, ROUTES[0])
    total = {name: g.sum(0) for name, g in per_sample.items()}
    assert max_relative_error(total, routed(net, ROUTES[0])) <= 1e-6


def test_under_autocast_the_weight_follows_the_gradient() -> None:
    net = nn.Sequential(nn.Linear(3, 2), Gate("trunk"))
    with routing(net, TABLE, ROUTES[0]), torch.autocast("cpu", torch.bfloat16):
        y = net(X)
        y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert gradients(net)["0.bias"].tolist() == [4.0, 4.0]  # 1 + 0.5 + 1 + 0.5 + 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_inside_the_context(reentrant: bool) -> None:
    net = Branches()
    x = X.clone().requires_grad_()
    with routing(net, TABLE, ROUTES[0]):
        y: Tensor = checkpoint(net, x, use_reentrant=reentrant)
        torch.autograd.backward(y.square().sum())
    assert max_relative_error(gradients(net), routed(net, ROUTES[0])) <= 1e-6


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_backward_pass_outside_the_context_raises(reentrant: bool) -> None:
    net = Branches()
    with routing(net, TABLE, ROUTES[0]):
        y: Tensor = checkpoint(net, X.clone().requires_grad_(), use_reentrant=reentrant)
    with pytest.raises(RuntimeError, match="has no route"):
        torch.autograd.backward(y.sum())


def test_copies_made_inside_the_context_have_no_route() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTES[0]):
        copies = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
        net(X)
    for other in copies:
        with pytest.raises(RuntimeError, match="has no route"):
            other(X)
        assert max_relative_error(routed(other, ROUTES[0]), routed(net, ROUTES[0])) == 0


def test_gates_add_nothing_to_the_state() -> None:
    with routing(net := Branches(), TABLE, ROUTES[0]):
        assert not any(key.endswith(("table", "route")) for key in net.state_dict())
