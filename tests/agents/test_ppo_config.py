"""Settings of PPO: the range of each, and what each choice may be."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from agents.ppo import CHOICES, PPOConfig
from oversight.rl.config import TrainConfig
from tests.agents.factories import small_agent


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
def test_config_refuses_a_setting_out_of_range(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=name) as caught:
        PPOConfig(**bad)
    assert str(value) in str(caught.value)


def test_config_allows_the_ends_of_each_range() -> None:
    edges: list[dict[str, Any]] = [
        {"gamma": 0.0, "gae_lambda": 1.0, "ent_coef": 0.0, "vf_coef": 0.0, "mixture_coef": 0.0},
        {"gamma": 1.0, "n_steps": 1, "batch_size": 1, "n_epochs": 1, "hidden_sizes": (1,)},
    ]
    for edge in edges:
        config = PPOConfig(**edge)
        assert {name: getattr(config, name) for name in edge} == edge


@pytest.mark.parametrize("name", CHOICES)
def test_choices_refuse_other_values(name: str) -> None:
    *others, last = get_args(CHOICES[name])
    message = f"{name} must be {', '.join(others)} or {last}, got 'sometimes'"
    bad: dict[str, Any] = {name: "sometimes"}
    for act in (lambda: PPOConfig(**bad), lambda: small_agent(**bad)):
        with pytest.raises(ValueError, match=message):
            act()


def test_batch_of_one_is_allowed_when_nothing_is_normalized() -> None:
    ppo = PPOConfig(batch_size=1, advantage_normalization="none")
    assert TrainConfig(ppo=ppo).ppo.batch_size == 1
    with pytest.raises(ValueError, match="since advantages are normalized"):
        TrainConfig(ppo=replace(ppo, advantage_normalization="route"))
