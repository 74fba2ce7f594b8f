"""Every preset makes a run."""

from dataclasses import replace

import pytest

from agents import METHODS
from configs.rl import PRESETS
from oversight.rl.config import TrainConfig, make_agent


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
    config = replace(PRESETS[name](), method=method, device="cpu")
    agent = make_agent(config)
    assert agent.method is METHODS[method]
    assert agent.propensity == agent.rollout_buffer.propensity == config.oversight_probability


def test_a_propensity_that_is_given_is_kept() -> None:
    config = replace(PRESETS["smoke"](), method="ipw", device="cpu")
    assert make_agent(replace(config, ppo=replace(config.ppo, propensity=0.4))).propensity == 0.4
    with pytest.raises(ValueError, match="'ipw' must be told the chance"):
        make_agent(replace(config, oversight_probability=0.0))


def test_the_default_preset_is_the_default() -> None:
    assert PRESETS["default"]() == TrainConfig()


def test_the_papers_preset_routes_as_the_paper() -> None:
    config = PRESETS["paper"]()
    assert config.method == "paper"
    assert METHODS[config.method].reward == "proxy"
    assert config.ppo.ent_coef == 0.1
    assert config.ppo.gamma == 0.97
