"""Networks: what parts they may have, how modules are blended, and the reference beside them."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents import METHODS, MotivationPolicy
from agents.network import MotivationNet, Network, Reference
from agents.rollout_buffer import ROUTES
from oversight.routing import RouteTable, audit, routing
from tests.agents.factories import remove_gates
from tests.agents.sampled import ACTIONS


@pytest.mark.parametrize("modules", [(), ("a", "a"), ("a", "b", "c")])
def test_network_refuses_other_than_one_or_two_modules(modules: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one or two motivation modules"):
        MotivationNet(3, modules, (4,))


def test_modules_are_blended_as_in_the_paper() -> None:
    net = MotivationNet(3, ("first", "second"), (5,)).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    remove_gates(net)
    share = torch.sigmoid(net.mixture_logits(x)).unsqueeze(-1)
    blend = share * net.experts["first"](x) + (1 - share) * net.experts["second"](x)
    torch.testing.assert_close(net.forward_actor(x), blend)
    acting = [p for name, p in net.named_parameters() if "critic" not in name]
    slopes = [torch.autograd.grad(y.square().sum(), acting) for y in (net.forward_actor(x), blend)]
    torch.testing.assert_close(*slopes)
    with torch.no_grad():
        actor, critic = net(x)
        assert torch.equal(actor, net.forward_actor(x))
        assert torch.equal(critic, net.forward_critic(x))


@pytest.mark.parametrize("hidden", [0, 3, 7, 8])
def test_samples_that_do_not_teach_a_module_change_nothing_if_they_are_left_out(
    hidden: int,
) -> None:
    table, x = METHODS["routed"].table, torch.randn(8, 3, dtype=torch.float64)
    routes = table.routes(["hidden"] * hidden + ["negative"] * (8 - hidden))
    found = []
    for leaves_out in (True, False):
        torch.manual_seed(0)
        net = MotivationNet(3, ("goal", "proxy"), (5, 4)).double()
        for point in net.gates.values() if not leaves_out else ():
            vars(point).update(selects=None)
        with routing(net, table, routes):
            output = net.forward_actor(x)
            output.square().sum().backward()  # type: ignore[no-untyped-call]
        found.append([output, *(p.grad for p in net.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1])
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)


MOTIVATED = METHODS["motivated"]

PROXY_TABLE = MOTIVATED.auxiliary[0].table

TARGETS = ("motivation", "competence")


def norms(proxy: bool) -> dict[str, dict[str, float]]:
    """Return the norm of the gradient that reaches each target, from one sample of each route."""
    net = MotivationNet(3, MOTIVATED.modules, (8, 8), trunk=True)
    table = PROXY_TABLE if proxy else MOTIVATED.table
    assert table is not None
    assert net.trunk is not None
    routes = table.routes(ROUTES)
    parts: dict[str, nn.Module] = {"motivation": net.experts["motivation"], "competence": net.trunk}
    with routing(net, table, routes):
        losses = net.forward_actor(torch.rand(len(ROUTES), 3)).sum(-1)
        return audit(losses, parts, table, routes)


@pytest.mark.parametrize("proxy", [False, True])
def test_trunk_and_module_learn_by_their_own_weights(proxy: bool) -> None:
    torch.manual_seed(0)
    table = PROXY_TABLE if proxy else MOTIVATED.table
    assert table is not None
    for route, row in norms(proxy).items():
        for target in TARGETS:
            assert (row[target] > 0) == (table.as_dict()[route][target] == 1), (route, target)


def test_trunk_and_module_form_one_perceptron() -> None:
    net = MotivationNet(3, ("only",), (5, 7), trunk=True)
    x = torch.randn(4, 3)
    with torch.no_grad():
        value = net.forward_actor(x)
    remove_gates(net)
    assert net.trunk is not None
    layers = [*net.trunk.children(), *net.experts["only"].children()]
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [5, 7]
    assert torch.equal(value, nn.Sequential(*layers)(x))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"mixture": "averaged"}, "mixture must be learned or fixed, got 'averaged'"),
        ({"mixture": None}, "mixture must be learned or fixed, got None"),
        ({"trunk": "no"}, "trunk must be True or False, got 'no'"),
        ({"has_reward_map": 1}, "has_reward_map must be True or False, got 1"),
        ({"has_reference": 1}, "has_reference must be True or False, got 1"),
        ({"modules": ("reference",), "has_reference": True}, "name 'reference' of another part"),
        (
            {"modules": ("only",), "has_reference": True, "has_reward_map": True},
            "a reference has no reward map: choose one",
        ),
        ({"modules": "goal"}, "one or two motivation modules have names, got 'goal'"),
        ({"modules": ()}, "one or two motivation modules"),
        ({"modules": ("goal", "goal")}, "one or two motivation modules"),
        ({"modules": ("goal", 3)}, "one or two motivation modules"),
        ({"modules": ("goal", "shared")}, "name 'shared' of another part"),
        ({"modules": ("goal", "mixture")}, "name 'mixture' of another part"),
        ({"modules": ("competence",), "trunk": True}, "name 'competence' of another part"),
        ({"modules": ("motivation",), "has_reward_map": True}, "name 'motivation' of another"),
    ],
    ids=str,
)
def test_network_refuses_parts_that_cannot_be_built(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network(**parts)


def test_networks_of_the_methods_pass() -> None:
    for each in METHODS.values():
        assert each.network.modules == each.modules
    assert Network(modules=["a", "b"]).modules == ("a", "b")  # type: ignore[arg-type]


def test_motivation_net_refuses_an_unknown_mixture() -> None:
    with pytest.raises(ValueError, match="mixture must be learned or fixed"):
        MotivationNet(4, ("a", "b"), (8,), "half")  # type: ignore[arg-type]
    assert np.isfinite(MotivationNet(4, ("a",), (8,)).latent_dim_pi)


KL = METHODS["kl"]
BOARD = spaces.MultiBinary((3, 4, 4))


def referred(actions: str = "discrete", **settings: Any) -> MotivationPolicy:  # noqa: ANN401
    """Return a policy with a reference, on a board."""
    torch.manual_seed(0)
    return MotivationPolicy(
        BOARD,
        ACTIONS[actions],
        lambda _: 1e-3,
        modules=("motivation",),
        hidden_sizes=(8,),
        has_reference=True,
        **settings,
    )


def boards(rows: int) -> Tensor:
    """Return boards drawn by chance."""
    return (torch.rand(rows, *BOARD.shape) < 0.5).to(torch.int8)


@pytest.mark.parametrize("conv_channels", [(), (4,)])
def test_reference_shares_no_parameter_with_the_acting_policy(
    conv_channels: tuple[int, ...],
) -> None:
    policy = referred(conv_channels=conv_channels)
    assert policy.reference is not None
    own = {*policy.reference.parameters()}
    (group,) = (each for each in policy.optimizer.param_groups if own & {*each["params"]})
    assert {*group["params"]} == own
    assert len(own) == 2 * (len(conv_channels) + 1 + 1)
    assert type(policy.reference.features_extractor) is type(policy.features_extractor)
    seen = boards(5)
    with torch.no_grad():
        before = policy.get_distribution(seen).distribution.probs  # type: ignore[union-attr]
        for parameter in own:
            parameter.fill_(7.0)
        after = policy.get_distribution(seen).distribution.probs  # type: ignore[union-attr]
    assert torch.equal(before, after)


@pytest.mark.parametrize("actions", [*ACTIONS])
def test_reference_of_the_same_weights_is_the_same_policy(actions: str) -> None:
    policy = referred(actions)
    reference = policy.reference
    assert isinstance(reference, Reference)
    reference.layers.load_state_dict(policy.net.experts["motivation"].state_dict())
    reference.head.load_state_dict(policy.action_net[0].state_dict())  # type: ignore[index]
    seen = boards(6)
    with torch.no_grad():
        acting, other = policy.get_distribution(seen), policy.reference_distribution(seen)
        taken = acting.sample()
        assert torch.equal(acting.log_prob(taken), other.log_prob(taken))


def test_reference_does_not_see_masked_channels() -> None:
    policy = referred(masked_channels=(1,))
    one, two = boards(5), boards(5)
    two[:, [0, 2]] = one[:, [0, 2]]
    with torch.no_grad():
        first, second = (policy.reference_distribution(each) for each in (one, two))
    assert torch.equal(first.distribution.probs, second.distribution.probs)  # type: ignore[union-attr]


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_every_parameter_of_a_reference_lies_behind_its_gate(actions: str) -> None:
    policy, seen = referred(actions), boards(5)
    assert policy.reference is not None
    table = RouteTable({"any": {"motivation": 1, "reference": 0, "shared": 1}})
    with torch.no_grad():
        taken = policy.get_distribution(seen).sample()
    with routing(policy, table, torch.zeros(5, dtype=torch.int64)):
        policy.reference_distribution(seen).log_prob(taken).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in policy.reference.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name
