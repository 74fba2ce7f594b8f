"""Every preset makes a run."""

from dataclasses import replace

import pytest

from agents import METHODS
from configs.rl import PRESETS
from oversight.build import make_agent
from oversight.config import TrainConfig


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_documented_function_of_its_name(name: str) -> None:
    make = PRESETS[name]
    assert make.__name__ == name
    assert (make.__doc__ or "").strip().endswith(".")
    assert "\n" not in (make.__doc__ or "")
    assert make() == make()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_an_agent_of_every_method(name: str, method: str) -> None:
    """A rollout that minibatches do not divide would warn, and warnings are errors."""
    agent = make_agent(replace(PRESETS[name](), method=method, device="cpu"))
    assert agent.method is METHODS[method]


def test_the_default_preset_is_the_default() -> None:
    assert PRESETS["default"]() == TrainConfig()


def test_the_papers_preset_routes_as_the_paper() -> None:
    config = PRESETS["paper"]()
    assert config.method == "paper"
    assert METHODS[config.method].reward == "proxy"
    assert config.ppo.ent_coef == 0.1
    assert config.ppo.gamma == 0.97
