"""What cannot work is refused with the value, the allowed ones and a remedy."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from agents import METHODS, RoutedPPO, method
from agents.config import PPOConfig
from tests.agents.small import small_agent, small_env


def test_a_batch_larger_than_a_rollout_is_refused() -> None:
    message = r"batch of 2048.*32 steps x 32 environments = 1024"
    with (
        pytest.warns(UserWarning, match="truncated mini-batch"),  # SB3's, on the way there
        pytest.raises(ValueError, match=message),
    ):
        small_agent(batch_size=2048)


def test_a_policy_without_gates_cannot_follow_a_table() -> None:
    for name in ("routed", "paper", "filtered"):
        with pytest.raises(ValueError, match=f"no gates, so method '{name}'"):
            RoutedPPO("MlpPolicy", small_env(), name, n_steps=32, batch_size=256, device="cpu")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ruted", "did you mean 'routed'"), ("Naive", "did you mean 'naive'"), ("x", "choose from")],
)
def test_an_unknown_method_is_answered_with_the_nearest(name: str, hint: str) -> None:
    for act in (method, small_agent):
        with pytest.raises(ValueError, match=rf"{name}.*{hint}"):
            act(name)


def test_methods_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        METHODS["routed"].reward = "true"  # type: ignore[misc]
    assert replace(METHODS["routed"], reward="proxy").table == METHODS["routed"].table


@pytest.mark.parametrize("chosen", METHODS.values(), ids=lambda chosen: chosen.name)
def test_a_method_is_whole(chosen: Any) -> None:  # noqa: ANN401
    assert method(chosen.name) is chosen
    assert chosen.deployed in chosen.modules
    mixture = ("mixture",) if [each.name for each in chosen.auxiliary if each.table is None] else ()
    trunk = ("competence",) if chosen.network.trunk else ()
    motivation = ("motivation",) if chosen.network.has_reward_map else ()
    targets = (*motivation, *chosen.modules, *mixture, *trunk, "shared")
    assert chosen.table.target_names == targets
    assert not chosen.summary.endswith(".")


def test_only_the_oracles_are_paid_the_truth() -> None:
    paid = [name for name, each in METHODS.items() if each.reward == "true"]
    assert sorted(paid) == ["oracle", "oracle-sampled"]


@pytest.mark.parametrize("name", [each.name for each in METHODS.values() if each.needs_propensity])
def test_a_method_that_needs_a_propensity_is_told_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' needs the probability"):
        small_agent(name, propensity=None)
    for bad in (0.0, 1.5, float("nan")):
        for act in (lambda bad: small_agent(name, propensity=bad), refuse_propensity):
            with pytest.raises(ValueError, match=f"propensity must be above 0.*{bad}"):
                act(bad)


def refuse_propensity(bad: float) -> None:
    PPOConfig(propensity=bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_steps": 0},
        {"batch_size": -1},
        {"n_epochs": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"clip_range": float("inf")},
        {"max_grad_norm": -0.5},
        {"gamma": 1.01},
        {"gamma": float("nan")},
        {"gae_lambda": -0.1},
        {"ent_coef": -1.0},
        {"vf_coef": float("inf")},
        {"mixture_coef": float("nan")},
        {"hidden_sizes": ()},
        {"hidden_sizes": (8, 0)},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_by_name(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=name) as caught:
        PPOConfig(**bad)
    assert str(value) in str(caught.value)


def test_settings_at_the_edge_are_allowed() -> None:
    edges: list[dict[str, Any]] = [
        {"gamma": 0.0, "gae_lambda": 1.0, "ent_coef": 0.0, "vf_coef": 0.0, "mixture_coef": 0.0},
        {"gamma": 1.0, "n_steps": 1, "batch_size": 1, "n_epochs": 1, "hidden_sizes": (1,)},
    ]
    for edge in edges:
        config = PPOConfig(**edge)
        assert {name: getattr(config, name) for name in edge} == edge
