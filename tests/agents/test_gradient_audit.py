"""The live audit splits the gradient of an update by route, and changes nothing."""

from typing import Any

import pytest
import torch

import envs
from agents import METHODS, RoutedPPO
from agents.gradient_audit import audit_rollout, audit_update, split_loss
from agents.rollout_buffer import ROUTES, in_route_order
from tests.oversight.rl.trained_runs import difference


def rolled(name: str, **settings: Any) -> RoutedPPO:  # noqa: ANN401
    """Return an agent with a full buffer, after one update."""
    env = envs.partial_grid_vec(8, reward=METHODS[name].reward, oversight_probability=0.5)
    channel = 0 if METHODS[name].may_read_agent_channel else None
    given: dict[str, Any] = {"n_steps": 32, "batch_size": 256, "seed": 0} | settings
    agent = RoutedPPO("MotivationPolicy", env, name, propensity=0.5, agent_channel=channel, **given)
    return agent.learn(512)


@pytest.mark.parametrize(
    "name",
    ["routed", "signed", "motivated", "kl", "ipw", "reward-map", "score-maps", "filtered", "paper"],
)
def test_parts_of_all_routes_add_up_to_the_loss_of_an_update(name: str) -> None:
    agent = rolled(name, advantage_normalization="route" if name == "signed" else "all")
    table = in_route_order(agent.method.table_for(agent.rollout_buffer.routes, agent.propensity))
    samples = agent.rollout_buffer.spread(256)
    parts, routes = split_loss(agent, samples, table)
    objective = agent._objective()
    with agent._routing(samples.routes, table):
        expected = objective.terms(samples)["loss"]
    for auxiliary in objective.separate:
        rows = auxiliary.rows(agent.policy, samples)
        if rows is not None and len(rows):
            with agent._routing(samples.routes.index_select(0, rows), auxiliary.table):
                term, weight = auxiliary.weighted(objective, samples, rows)
            expected = expected + weight * term
    torch.testing.assert_close(parts.sum(), expected, rtol=1e-4, atol=1e-5)
    assert set(routes.tolist()) == set(samples.routes.tolist())


def test_gradients_of_routes_add_up_to_that_of_an_update() -> None:
    agent = rolled("routed")
    table = in_route_order(agent.method.table)
    samples = agent.rollout_buffer.spread(256)
    parts, _ = split_loss(agent, samples, table)
    parameters = list(agent.policy.parameters())
    split = torch.autograd.grad(parts.sum(), parameters, allow_unused=True)
    with agent._routing(samples.routes, table):
        loss = agent._objective().terms(samples)["loss"]
        whole = torch.autograd.grad(loss, parameters, allow_unused=True)
    for one, other in zip(split, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_blocked_route_sends_nothing_and_the_mixture_learns_its_labels_beside_the_gates() -> None:
    norms = audit_update(rolled("routed"))
    assert norms["hidden"]["goal"] == norms["positive"]["proxy"] == 0
    assert norms["negative"]["goal"] > 0
    assert norms["positive"]["mixture"] > 0  # of the table it has the weight 0


def test_a_reward_model_is_a_target_and_hidden_steps_do_not_teach_it() -> None:
    norms = audit_update(rolled("imputed"))
    assert set(norms) == set(ROUTES)
    assert norms["hidden"]["reward_model"] == 0 < norms["negative"]["reward_model"]


def test_score_maps_are_taught_by_their_own_routes() -> None:
    norms = audit_update(rolled("score-maps"))
    assert norms["hidden"]["goal"] == 0 < norms["hidden"]["proxy"]
    assert norms["negative"]["proxy"] == 0 < norms["negative"]["goal"]


@pytest.mark.parametrize("name", ["routed", "imputed-conv", "score-maps", "kl"])
def test_an_audit_leaves_the_agent_as_it_was(name: str) -> None:
    audited, other = rolled(name), rolled(name)
    audit_update(audited)
    for agent in (audited, other):
        torch.manual_seed(7)
        agent.train()
    assert difference(dict(audited.policy.state_dict()), dict(other.policy.state_dict())) is None


def test_an_audit_of_a_rollout_trains_nothing() -> None:
    agent = rolled("routed")
    before = {name: each.clone() for name, each in agent.policy.state_dict().items()}
    norms = audit_rollout(agent, 128)
    assert difference(before, dict(agent.policy.state_dict())) is None
    assert norms["hidden"]["goal"] == 0 < norms["hidden"]["proxy"]
