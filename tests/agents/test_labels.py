"""What a learner puts in the place of the reward paid, against a slow reference."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import METHODS, RoutedPPO
from agents.method import inverse_propensity
from agents.reward_model import Learner, Step, observed_else_paid, observed_else_zero, paid
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE, UNUSED
from tests.agents.exact import exact_agent, gradients
from tests.agents.small import ROLLOUT, small_agent

NAN = float("nan")
INFOS: list[dict[str, Any]] = [
    {"observed": True, "observed_reward": -1.0},
    {"observed": np.True_, "observed_reward": np.float64(0.5)},
    {"observed": False, "observed_reward": NAN, "true_reward": NAN},
    {},
    {"resetting": True},
]
STEP = Step(None, np.array([9, 9, 1, 0, 0], np.float32), np.zeros(5, np.bool_), INFOS)

LEARNER = Learner(spaces.Box(0, 1, (2,)), 0, "open", None, METHODS["naive"].table, None)


def test_what_is_observed_is_the_label_and_the_rest_is_a_guess() -> None:
    assert paid(LEARNER)(STEP).tolist() == [9, 9, 1, 0, 0]
    assert observed_else_paid(LEARNER)(STEP).tolist() == [-1.0, 0.5, 1.0, 0.0, 0.0]
    assert observed_else_zero(LEARNER)(STEP).tolist() == [-1.0, 0.5, 0.0, 0.0, 0.0]
    assert STEP.paid.tolist() == [9, 9, 1, 0, 0]


def ends(agent: RoutedPPO, route: int) -> set[float]:
    """Return the rewards in the buffer at the ends of a route, but for those bootstrapped."""
    buffer = agent.rollout_buffer
    return set(buffer.rewards[buffer.last_route == route].tolist())


def test_uds_pays_nothing_for_what_nobody_saw() -> None:
    uds, naive = (small_agent(name).learn(ROLLOUT) for name in ("uds", "naive"))
    assert ends(uds, HIDDEN) == {0.0}
    assert ends(naive, HIDDEN) == {1.0}
    for agent in (uds, naive):
        assert ends(agent, POSITIVE) == {1.0}
        assert ends(agent, NEGATIVE) == {-1.0}


def test_signed_learns_from_what_was_seen_and_puts_the_proxy_aside() -> None:
    agent = small_agent("signed").learn(ROLLOUT)
    buffer = agent.rollout_buffer
    assert ends(agent, NEGATIVE) == {-1.0}
    assert ends(agent, HIDDEN) == {1.0}
    ghost = buffer.last_route == NEGATIVE
    assert ghost.any()
    np.testing.assert_array_equal(buffer.proxy_residual, np.where(ghost, 2.0, 0.0))


def advantages(rewards: Any, buffer: Any, last_value: Any, dones: Any) -> Any:  # noqa: ANN401
    """Return generalized advantages, lane by lane and as the sum of their definition."""
    steps, lanes = rewards.shape
    result = np.zeros((steps, lanes))
    for lane in range(lanes):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                last = step == steps - 1
                over = dones[lane] if last else buffer.episode_starts[step + 1, lane]
                after = last_value[lane] if last else buffer.values[step + 1, lane]
                delta = rewards[step, lane] - buffer.values[step, lane]
                result[start, lane] += weight * (delta + buffer.gamma * after * (1 - over))
                weight *= buffer.gamma * buffer.gae_lambda * (1 - over)
    return result


def test_proxy_advantages_are_those_of_the_reward_paid() -> None:
    agent = small_agent("signed").learn(ROLLOUT)
    buffer = agent.rollout_buffer
    assert isinstance(agent._last_obs, np.ndarray)
    with torch.no_grad():
        last = agent.policy.predict_values(torch.as_tensor(agent._last_obs)).flatten()
    dones = np.asarray(agent._last_episode_starts, dtype=np.float32)
    buffer.compute_returns_and_advantage(last, dones)
    for rewards, ours in (
        (buffer.rewards, buffer.advantages),
        (buffer.rewards + buffer.proxy_residual, buffer.proxy_advantages),
    ):
        expected = advantages(rewards, buffer, last.numpy(), dones)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    assert not np.allclose(buffer.advantages, buffer.proxy_advantages)


def test_without_an_observed_ghost_signed_has_one_reward() -> None:
    agent = exact_agent("signed")
    agent.rollout_buffer.last_route[agent.rollout_buffer.last_route == NEGATIVE] = HIDDEN
    other = exact_agent("signed")
    other.rollout_buffer.last_route[:] = agent.rollout_buffer.last_route
    other.rollout_buffer.proxy_advantages = other.rollout_buffer.proxy_advantages + 1e9
    ours = gradients(agent)
    for name, grad in gradients(other).items():
        torch.testing.assert_close(grad, ours[name], rtol=1e-9, atol=1e-12)


def test_weights_are_inverse_to_the_propensity_with_a_mean_of_1() -> None:
    random = np.random.default_rng(0)
    routes = random.integers(UNUSED, OPEN + 1, (30, 20)).astype(np.int8)
    rows = inverse_propensity(METHODS["naive"].table, routes, 0.1).as_dict()
    shares = [row["shared"] for row in rows.values()]
    assert shares[POSITIVE] == shares[NEGATIVE] == pytest.approx(10 * shares[OPEN])
    assert shares[HIDDEN] == 0
    assert np.mean([shares[route] for route in routes[routes >= 0]]) == pytest.approx(1)
    assert {row["motivation"] for row in rows.values()} == {1.0}


def test_nothing_is_learned_where_nothing_has_weight() -> None:
    rows = inverse_propensity(
        METHODS["naive"].table, np.full((3, 2), HIDDEN, np.int8), 0.1
    ).as_dict()
    assert {row["shared"] for row in rows.values()} == {10.0, 0.0, 1.0}
    assert rows["hidden"]["shared"] == 0


def test_with_a_propensity_of_1_ipw_is_filtered_but_for_the_scale() -> None:
    ipw, filtered = exact_agent("ipw", propensity=1.0), exact_agent("filtered")
    filtered.policy.load_state_dict(ipw.policy.state_dict())
    kept = ipw.rollout_buffer.routes() != HIDDEN
    np.testing.assert_array_equal(kept, filtered.rollout_buffer.routes() != HIDDEN)
    ours = gradients(ipw)
    for name, grad in gradients(filtered).items():
        torch.testing.assert_close(ours[name] * kept.mean(), grad, rtol=1e-6, atol=1e-12)
