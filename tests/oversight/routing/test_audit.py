"""`audit`: the norm of the gradient from each route to each target."""

import pytest
import torch
from torch import nn

from oversight.routing import Part, audit, routing
from tests.oversight.routing.networks import TABLE, Branches, gradients

X = torch.linspace(-1, 1, 12).view(4, 3)
ROUTE = TABLE.routes(["left", "none", "left", "none"])


def test_audit_equals_gradient_norms_of_separate_backward_passes_per_route() -> None:
    net = Branches()
    targets: dict[str, Part] = {"trunk": net.trunk, "right": list(net.right.parameters())}
    with routing(net, TABLE, ROUTE):
        losses = net(X).square().sum(-1)
        norms = audit(losses, targets, TABLE, ROUTE)
    assert all(parameter.grad is None for parameter in net.parameters())
    for number, name in enumerate(TABLE.route_names):
        with routing(net, TABLE, ROUTE):
            net(X).square().sum(-1)[number == ROUTE].sum().backward()
        grads = gradients(net)
        for target in targets:
            part = [grad for key, grad in grads.items() if key.startswith(target)]
            expected = torch.cat([grad.flatten() for grad in part]).norm().item()
            assert norms[name][target] == pytest.approx(expected, rel=1e-6)
    assert norms["both"] == {"trunk": 0.0, "right": 0.0}
    assert norms["left"]["right"] == 0.0 < norms["none"]["right"]


def test_audit_leaves_graph_and_gradients_usable_for_training() -> None:
    net, other = Branches(), Branches()
    for one in (net, other):
        with routing(one, TABLE, ROUTE):
            losses = one(X).square().sum(-1)
            if one is net:
                audit(losses, {"trunk": net.trunk}, TABLE, ROUTE)
            losses.sum().backward()
    expected = gradients(other)
    assert all(torch.equal(grad, expected[name]) for name, grad in gradients(net).items())


def test_audit_accepts_a_route_per_token() -> None:
    net = nn.Linear(1, 1)
    losses = net(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])).squeeze(-1)
    route = torch.tensor([[0, 1], [1, 0]])
    norms = audit(losses, {"weight": net.weight}, TABLE, route)
    assert [norms[name]["weight"] for name in TABLE.route_names] == [5.0, 5.0, 0.0]


def test_audit_reports_zero_when_the_loss_does_not_depend_on_a_target() -> None:
    net, other = nn.Linear(1, 1), nn.Linear(1, 1)
    norms = audit(net(torch.ones(1, 1))[0], {"other": other}, TABLE, torch.tensor([0]))
    assert norms["both"]["other"] == 0.0


def test_audit_raises_when_losses_are_already_averaged() -> None:
    net = Branches()
    with routing(net, TABLE, ROUTE), pytest.raises(ValueError, match=r"shape \(\) and a route of"):
        audit(net(X).mean(), {"trunk": net.trunk}, TABLE, ROUTE)
