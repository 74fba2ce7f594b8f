"""Training follows the table: each target learns from each route by its weight, and no more."""

from typing import Any

import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from agents import METHODS, RoutedPPO
from agents.methods import ROUTES
from agents.rollout_buffer import RoutedSamples
from tests.agents.exact import (
    Gradients,
    backward,
    exact_agent,
    gateless,
    gradients,
    mixture_losses,
    rollout,
    sample_losses,
    surrogates,
    target_of,
)
from tests.agents.one_step import OneStep
from tests.agents.small import probabilities, small_agent, weights

HIDDEN = ROUTES.index("hidden")


def assert_close(actual: Gradients, expected: Gradients) -> None:
    assert actual.keys() == expected.keys()
    scale = max(float(grad.abs().max()) for grad in expected.values())
    for name, grad in expected.items():
        assert (actual[name] - grad).abs().max() < 1e-6 * scale, name


def expected_gradients(agent: RoutedPPO) -> Gradients:
    """Run one backward pass per route on the unrouted network, and weigh its parts by the table."""
    policy, samples, table = gateless(agent), rollout(agent), agent.table.as_dict()
    losses = sample_losses(agent, policy, samples)
    total = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
    for number, route in enumerate(ROUTES):
        of_route = backward((losses * (samples.routes == number)).sum() / len(losses), policy)
        for name, grad in of_route.items():
            # the heads lie above everything, so that the weight of `shared` scales what is below
            weight = table[route]["shared"]
            if (target := target_of(name)) != "shared":
                weight *= table[route][target]
            total[name] += weight * grad
    losses_of = {each.name: each for each in agent.method.auxiliary}
    if "proxy_loss" in losses_of:
        total = add(total, proxy_gradients(agent, policy, samples))
    if "mixture_loss" in losses_of:
        mixture = backward(agent.mixture_coef * mixture_losses(policy, samples).mean(), policy)
        total = add(total, mixture)
    return total


def add(one: Gradients, other: Gradients) -> Gradients:
    return {name: grad + other[name] for name, grad in one.items()}


def proxy_gradients(agent: RoutedPPO, policy: Any, samples: RoutedSamples) -> Gradients:  # noqa: ANN401
    """Weigh the gradient of the policy loss by the reward paid, route by route."""
    (proxy,) = (each.table for each in agent.method.auxiliary if each.table is not None)
    table, losses = (
        proxy.as_dict(),
        surrogates(policy, samples, samples.proxy_advantages),
    )
    total = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
    for number, route in enumerate(ROUTES):
        of_route = backward((losses * (samples.routes == number)).sum() / len(losses), policy)
        for name, grad in of_route.items():
            target = target_of(name)
            weight = table[route][target] * (table[route]["shared"] if target != "shared" else 1)
            total[name] += weight * grad
    return total


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_is_the_weighted_sum_over_routes(method: str) -> None:
    agent = exact_agent(method)
    assert set(rollout(agent).routes.tolist()) == set(range(len(ROUTES)))
    expected = expected_gradients(agent)
    assert_close(gradients(agent), expected)


def test_the_methods_differ() -> None:
    ours = {name: gradients(exact_agent(name)) for name in ("routed", "unrouted")}
    blocked = "mlp_extractor.experts.goal.0.weight"
    assert not torch.allclose(ours["routed"][blocked], ours["unrouted"][blocked], atol=1e-4)


def test_filtering_is_removing_the_hidden_samples() -> None:
    agent = exact_agent("filtered")
    policy, samples = gateless(agent), rollout(agent)
    kept = samples.routes != HIDDEN
    share = kept.double().mean()
    assert 0.1 < share < 0.9
    expected = backward(sample_losses(agent, policy, samples)[kept].mean() * share, policy)
    assert_close(gradients(agent), expected)


def expert(agent: RoutedPPO, name: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Return copies of a module's parameters and of its optimizer's state."""
    prefix = f"mlp_extractor.experts.{name}."
    own = {key: tensor for key, tensor in weights(agent.policy).items() if key.startswith(prefix)}
    parameters = [p for key, p in agent.policy.named_parameters() if key.startswith(prefix)]
    state = agent.policy.optimizer.state
    return own, [{key: value.clone() for key, value in state[p].items()} for p in parameters]


def one_step_envs(observed: bool) -> DummyVecEnv:
    return DummyVecEnv([lambda: OneStep(observed)] * 8)


@pytest.mark.parametrize(
    "settings", [{}, {"policy_kwargs": {"optimizer_class": torch.optim.AdamW}}], ids=str
)
def test_hidden_episodes_move_nothing_of_the_diamond_module(settings: dict[str, Any]) -> None:
    agent = small_agent("routed", one_step_envs(observed=True), batch_size=128, **settings)
    agent.learn(512)  # leaves momentum behind
    before, state = expert(agent, "goal")
    assert all(entry["exp_avg"].any() for entry in state)
    ghost, _ = expert(agent, "proxy")
    agent.set_env(one_step_envs(observed=False))
    agent.learn(1024)
    assert set(rollout(agent).routes.tolist()) == {HIDDEN}
    after, later = expert(agent, "goal")
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    for entry, other in zip(state, later, strict=True):
        for key, tensor in entry.items():
            assert torch.equal(tensor, other[key]), key
    assert any(not torch.equal(t, expert(agent, "proxy")[0][n]) for n, t in ghost.items())


def test_hidden_episodes_move_nothing_at_all_when_filtered() -> None:
    agent = small_agent("filtered", one_step_envs(observed=True), batch_size=128).learn(512)
    before = weights(agent.policy)
    agent.set_env(one_step_envs(observed=False))
    agent.learn(512)
    for name, tensor in weights(agent.policy).items():
        assert torch.equal(tensor, before[name]), name


def test_what_is_observed_is_learned() -> None:
    agent = small_agent("routed", one_step_envs(observed=True), batch_size=128, n_epochs=10)
    agent.learn(8 * 32 * 12)
    chances = probabilities(agent.deployed(), rollout(agent).observations)
    assert chances[:, 0].mean() > 0.9


def test_each_table_weight_is_read() -> None:
    rows = METHODS["routed"].table.as_dict()
    assert rows["negative"] == {"goal": 1.0, "proxy": -1.0, "mixture": 0.0, "shared": 1.0}
    assert METHODS["filtered"].table.as_dict()["hidden"] == {"motivation": 0.0, "shared": 0.0}


def test_gates_are_cleared_when_an_update_fails() -> None:
    agent = small_agent().learn(1024)
    agent.rollout_buffer.advantages[:] = 0
    agent.clip_range = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        agent.train()
    with torch.no_grad():
        agent.policy.evaluate_actions(rollout(agent).observations, torch.zeros(1024))
    agent.clip_range = lambda _: 0.2
    agent.train()
