"""A zero gradient is a zero update: nothing moves that must not."""

import copy

import pytest
import torch
from torch import Tensor, nn

from oversight.routing import Gate, RouteTable, parameter_groups, routing, skip_unreached

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
def test_fifty_hidden_steps_do_not_move_the_motivation_by_a_bit(foreach: bool) -> None:
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


def test_without_the_skip_momentum_moves_it() -> None:
    net = Net()
    optimizer = torch.optim.AdamW(groups_of(net), lr=0.01)
    step(net, optimizer, ["observed"])
    before = copy.deepcopy(net.motivation)
    net.motivation.zero_grad(set_to_none=False)
    optimizer.step()
    for now, then in zip(net.motivation.parameters(), before.parameters(), strict=True):
        assert not torch.equal(now, then)


def test_every_parameter_is_in_one_group() -> None:
    net = Net()
    groups = groups_of(net, weight_decay=0.3)
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    assert [group.get("target") for group in groups] == ["motivation", "trunk", None]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.3, 0.1]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6
    assert [len(parameter_groups(net, {"all": net})), len(parameter_groups(net, {}))] == [1, 1]


def test_a_gradient_that_bypasses_the_gates_is_not_lost() -> None:
    net = Net()
    optimizer = torch.optim.SGD(groups_of(net), lr=0.01)
    net.motivation[:2](torch.ones(1, 3)).sum().backward()
    assert skip_unreached(optimizer) == ("trunk",)
    assert all(parameter.grad is not None for parameter in net.motivation.parameters())


@pytest.mark.parametrize("value", [1e-45, torch.nan, torch.inf])
def test_a_tiny_or_broken_gradient_is_not_zero(value: float) -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [weight], "target": "all"}])
    weight.grad = torch.tensor([0.0, value])
    assert skip_unreached(optimizer) == ()
    assert weight.grad is not None


def test_an_optimizer_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="SGD has 1 parameter groups, none with a target: build"):
        skip_unreached(torch.optim.SGD(Net().parameters()))


def test_targets_that_overlap_or_lie_elsewhere_are_refused() -> None:
    net = Net()
    with pytest.raises(
        ValueError, match=r"'trunk' holds parameters of shapes \[\(1, 4\), \(1,\)\]"
    ):
        parameter_groups(net, {"head": net.head, "trunk": [net.trunk, net.head]})
    with pytest.raises(ValueError, match="belong to another target or not to the model"):
        parameter_groups(net, {"other": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="holds no parameter"):
        parameter_groups(net, {"gate": net.trunk[-1]})
