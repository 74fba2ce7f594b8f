"""The trunk below a module, and what a module does not see."""

import pytest
import torch
from torch import nn

from agents import METHODS, MotivationPolicy
from agents.config import PPOConfig
from agents.methods import ROUTES
from agents.policy import MotivationNet
from oversight.routing import audit, routing
from tests.agents.small import ROLLOUT, probabilities, remove_gates, small_agent

MOTIVATED = METHODS["motivated"]
PROXY_TABLE = MOTIVATED.auxiliary[0].table
TARGETS = ("motivation", "competence")


def norms(proxy: bool) -> dict[str, dict[str, float]]:
    """Return how much gradient of each route reaches each target, one sample a route."""
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
def test_motivation_learns_from_what_was_seen_and_competence_from_the_proxy(proxy: bool) -> None:
    torch.manual_seed(0)
    table = PROXY_TABLE if proxy else MOTIVATED.table
    assert table is not None
    for route, row in norms(proxy).items():
        for target in TARGETS:
            assert (row[target] > 0) == (table.as_dict()[route][target] == 1), (route, target)


def test_a_trunk_and_its_module_are_one_perceptron() -> None:
    net = MotivationNet(3, ("only",), (5, 7), trunk=True)
    x = torch.randn(4, 3)
    with torch.no_grad():
        value = net.forward_actor(x)
    remove_gates(net)
    assert net.trunk is not None
    layers = [*net.trunk.children(), *net.experts["only"].children()]
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [5, 7]
    assert torch.equal(value, nn.Sequential(*layers)(x))


def test_modules_do_not_see_what_they_are_blind_to_but_the_rest_does() -> None:
    agent = small_agent("routed", policy_kwargs={"hidden_sizes": (16,), "masked_channels": (3,)})
    agent.learn(ROLLOUT)
    policy = agent.policy
    assert isinstance(policy, MotivationPolicy)
    observations = next(agent.rollout_buffer.get()).observations
    other = observations.clone()
    other[:, 3] = 1 - other[:, 3]
    with torch.no_grad():
        for name in policy.module_names:
            alone = policy.alone(name)
            assert torch.equal(probabilities(alone, observations), probabilities(alone, other))
        for see in (policy.predict_values, policy.mixture_logits):
            assert not torch.equal(see(observations), see(other))
        other[:, 1] = 1 - other[:, 1]
        assert not torch.equal(probabilities(alone, observations), probabilities(alone, other))
    assert not any("masked" in name for name in policy.state_dict())


def test_blindness_to_nothing_that_is_there_is_refused() -> None:
    for blind in ((4,), (-1,)):
        with pytest.raises(ValueError, match=r"masked_channels must be channels .*\(4, 5, 5\)"):
            small_agent("naive", policy_kwargs={"hidden_sizes": (8,), "masked_channels": blind})
    assert PPOConfig().masked_channels == ()
