"""A method's record, and its table reweighted by inverse propensity."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from agents import METHODS
from agents.method import inverse_propensity
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE, UNUSED
from tests.agents.gradients import exact_agent, gradients


def test_methods_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        METHODS["routed"].reward = "true"  # type: ignore[misc]
    assert replace(METHODS["routed"], reward="proxy").table == METHODS["routed"].table


def test_inverse_propensity_weights_have_a_mean_of_1() -> None:
    random = np.random.default_rng(0)
    routes = random.integers(UNUSED, OPEN + 1, (30, 20)).astype(np.int8)
    rows = inverse_propensity(METHODS["naive"].table, routes, 0.1).as_dict()
    shares = [row["shared"] for row in rows.values()]
    assert shares[POSITIVE] == shares[NEGATIVE] == pytest.approx(10 * shares[OPEN])
    assert shares[HIDDEN] == 0
    assert np.mean([shares[route] for route in routes[routes >= 0]]) == pytest.approx(1)
    assert {row["motivation"] for row in rows.values()} == {1.0}


def test_inverse_propensity_leaves_hidden_at_0_when_all_is_hidden() -> None:
    rows = inverse_propensity(
        METHODS["naive"].table, np.full((3, 2), HIDDEN, np.int8), 0.1
    ).as_dict()
    assert {row["shared"] for row in rows.values()} == {10.0, 0.0, 1.0}
    assert rows["hidden"]["shared"] == 0


def test_ipw_is_filtered_but_for_the_scale_when_propensity_is_1() -> None:
    ipw, filtered = exact_agent("ipw", propensity=1.0), exact_agent("filtered")
    filtered.policy.load_state_dict(ipw.policy.state_dict())
    learned = ipw.rollout_buffer.routes() != HIDDEN
    np.testing.assert_array_equal(learned, filtered.rollout_buffer.routes() != HIDDEN)
    ours = gradients(ipw)
    for name, grad in gradients(filtered).items():
        torch.testing.assert_close(ours[name] * learned.mean(), grad, rtol=1e-6, atol=1e-12)
