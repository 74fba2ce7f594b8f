"""One routed backward pass equals many plain ones: per label, with parts of the network detached.

The reference uses nothing of the package. A gate of weight w is w times an open gate plus 1 - w
times a closed one, and closed means detached. So each route needs one backward pass per way of
opening and closing the gates, each counted by the product of its shares.
"""

from itertools import product

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oversight.routing import RouteTable, routing
from tests.routing.networks import Branches, gradients, max_relative_error

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
def test_one_backward_pass_equals_one_per_label(table: RouteTable, batch: int, seed: int) -> None:
    net = Branches(seed=seed).double()
    x = torch.randn(batch, 3, dtype=torch.float64)
    route = torch.randint(len(table.route_names), (batch,))
    with routing(net, table, route):
        torch.autograd.backward(losses_of(net, x).sum())
    assert max_relative_error(gradients(net), reference(seed, table, route, x)) <= 1e-6
