"""Arguments of RoutedPPO: the rollout buffer, batches, targets of the table, and loading."""

import re
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from torch import nn

from agents import METHODS, RoutedPPO
from agents.ppo import CHOICES
from agents.ppo_arguments import NUMBERS
from agents.rollout_buffer import HIDDEN, OPEN, RoutedBuffer
from oversight.routing import RouteTable
from tests.agents.factories import ROLLOUT, small_agent, small_env


class CountingBuffer(RoutedBuffer):
    """Counts its steps by a step of its own."""

    def __init__(self, *args: Any, by: int = 1, **kwargs: Any) -> None:  # noqa: ANN401
        self.by, self.count = by, 0
        super().__init__(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Count the step."""
        self.count += self.by
        super().add(*args, **kwargs)


def test_buffer_of_ones_own_gets_its_arguments(tmp_path: Path) -> None:
    settings = {"rollout_buffer_class": CountingBuffer, "rollout_buffer_kwargs": {"by": 3}}
    agent = small_agent("placebo", **settings).learn(ROLLOUT)
    assert isinstance(agent.rollout_buffer, CountingBuffer)
    assert agent.rollout_buffer.count == 3 * 32
    assert agent.rollout_buffer.assignment is METHODS["placebo"].assignment
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", env=small_env())
    assert isinstance(loaded.rollout_buffer, CountingBuffer)
    assert loaded.rollout_buffer.by == 3


NAN = float("nan")
RANGES: list[tuple[tuple[str, ...], tuple[Any, ...], str]] = [
    (("n_steps", "batch_size", "n_epochs"), (0, 16.0, "16", True, None), "a whole number, 1"),
    (("stats_window_size",), (0, 10.5), "a whole number, 1 or more"),
    (("clip_range",), (-1, 0.0, NAN, "1", None), "a positive, finite number"),
    (("max_grad_norm",), (-1, 0.0, NAN, "1", None), "a number above 0"),
    (
        ("target_kl", "clip_range_vf"),
        (-1, 0.0, NAN, float("inf"), "1"),
        "a positive, finite number",
    ),
    (("learning_rate", "ent_coef", "vf_coef"), (-1, NAN, "1", 1j), "a finite number, 0 or more"),
    (("mixture_coef", "kl_coef"), (-1, NAN, float("inf"), None), "a finite number, 0 or more"),
    (("gamma", "gae_lambda"), (2, -0.1, NAN, "1", True), r"a number in \[0, 1\]"),
    (("propensity",), (0, 1.5, NAN, "1"), "a number above 0, at most 1"),
    (("agent_channel",), (-1, 0.5, "0"), "a whole number, 0 or more"),
    (("seed",), (-1, 2**32, 0.5, "0"), r"a whole number from 0 to 2\*\*32 - 1"),
]
OUT_OF_RANGE: list[tuple[dict[str, Any], str]] = [
    ({name: value}, f"^{name} {re.escape(repr(value))} was given: give {allowed}")
    for names, values, allowed in RANGES
    for name in names
    for value in values
]


def test_every_number_has_a_range_and_every_range_a_case() -> None:
    assert {name for bad, _ in OUT_OF_RANGE for name in bad} == set(NUMBERS)
    parameters = {**signature(PPO).parameters, **signature(RoutedPPO).parameters}
    assert parameters.keys() >= NUMBERS.keys()


@pytest.mark.parametrize(("settings", "message"), OUT_OF_RANGE, ids=str)
def test_agent_refuses_numbers_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_agent(**{"env": small_env(lanes=2), "batch_size": 64, **settings})


def test_agent_takes_the_ends_of_each_range_and_schedules() -> None:
    ends = {"gamma": 1, "gae_lambda": 0, "learning_rate": 0.0, "ent_coef": 0, "vf_coef": 0.0}
    none = {"target_kl": None, "clip_range_vf": None, "agent_channel": None, "seed": None}
    numpy = {"max_grad_norm": np.float32("inf"), "n_epochs": np.int64(1)}
    schedules = {"clip_range": lambda left: -left, "clip_range_vf": lambda left: 0.1}
    for settings in (ends, none, numpy, schedules):
        agent = small_agent(env=small_env(lanes=8), **settings)
        kept = {name: getattr(agent, name) for name in {*settings} & {*ends, *numpy}}
        assert kept == {name: settings[name] for name in kept}
    assert agent.clip_range(0.5) == -0.5  # type: ignore[operator]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (None, "policy must be one of MlpPolicy.*got None"),
        (3, "policy must be one of MlpPolicy.*got 3"),
        ("Foo", "policy must be one of .*MotivationPolicy.*got 'Foo'"),
        (nn.Linear, "derived from SB3's ActorCriticPolicy, got"),
        ("MultiInputPolicy", "MultiInputPolicy reads observations of a Dict.*use MlpPolicy"),
    ],
    ids=str,
)
def test_agent_refuses_what_is_no_policy(policy: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=message) as caught:
        RoutedPPO(policy, small_env("naive", 2), "naive")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (None, "env must be an environment .*got None"),
        ("CartPole-v1", "env must be an environment .*got 'CartPole-v1': build it"),
        (small_env(lanes=3), r"number of environments .*\(3 != 2\)"),
    ],
    ids=["None", "id", "lanes"],
)
def test_set_env_refuses_what_does_not_fit_in_one_line(env: Any, message: str) -> None:  # noqa: ANN401
    agent = small_agent(env=small_env(lanes=2), batch_size=64)
    with pytest.raises(ValueError, match=message) as caught:
        agent.set_env(env)
    assert "\n" not in str(caught.value)
    agent.set_env(small_env(lanes=2))


@pytest.mark.parametrize("steps", ["a", -5, NAN, None, 1j])
def test_learn_refuses_what_is_no_number_of_steps(steps: Any) -> None:  # noqa: ANN401
    agent = small_agent(env=small_env(lanes=2), batch_size=64)
    with pytest.raises(ValueError, match=f"^total_timesteps {steps!r} was given: give a number"):
        agent.learn(steps)
    steps = 64.0
    assert agent.learn(steps).num_timesteps == 64  # as in SB3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollout_buffer_class": RolloutBuffer}, "must be a subclass of .*RoutedBuffer, which"),
        ({"rollout_buffer_class": "mine"}, "must be a subclass of .*RoutedBuffer, which"),
        ({"rollout_buffer_kwargs": {"by": 3}}, "RoutedBuffer has no such argument"),
        ({"rollout_buffer_kwargs": {"timeouts": "hidden"}}, "timeouts, which RoutedPPO sets"),
        ({"rollout_buffer_kwargs": {"gamma": 0.5, "seed": 1}}, "gamma, seed, which RoutedPPO sets"),
        ({"batch_size": 1}, "batch_size must be at least 2, since advantages are normalized"),
        ({"batch_size": 0, "advantage_normalization": "none"}, "batch_size 0 .* whole number, 1"),
        ({"method": 3}, "method must be a Method or the name of one, got 3"),
        ({"normalize_advantage": "no"}, "normalize_advantage must be True or False, got 'no'"),
        ({"use_sde": "no"}, "use_sde must be True or False, got 'no'"),
        ({"device": "gpu9"}, "device 'gpu9' was given: give auto, cpu, cuda"),
        (
            {"rollout_buffer_kwargs": ["by"]},
            r"rollout_buffer_kwargs must be a dictionary.*\['by'\]",
        ),
        (
            {"rollout_buffer_class": CountingBuffer, "rollout_buffer_kwargs": {"steps": 1}},
            "rollout_buffer_kwargs do not fit what they build: .*'steps'",
        ),
        ({"env": "Foo-v9"}, "Environment `Foo` doesn't exist"),
        ({"env": 3}, "env must be an environment or a vector environment of Gymnasium.*got 3"),
    ],
    ids=str,
)
def test_agent_refuses_arguments_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        small_agent(**{"env": small_env(), **settings})
    assert "\n" not in str(caught.value)


def test_rollout_of_one_step_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="`n_steps \\* n_envs` must be greater than 1"):
        small_agent(env=small_env(lanes=1), n_steps=1, batch_size=2)


ROWS = METHODS["routed"].table.as_dict()


def renamed(old: str, new: str) -> RouteTable:
    return RouteTable(
        {
            route: {new if name == old else name: weight for name, weight in row.items()}
            for route, row in ROWS.items()
        }
    )


WITHOUT = RouteTable({route: {"goal": 1.0, "shared": 1.0} for route in ROWS})
WITH_MORE = RouteTable({route: {**row, "trunk": 1.0} for route, row in ROWS.items()})


@pytest.mark.parametrize("table", [renamed("goal", "gaol"), WITHOUT, WITH_MORE])
def test_agent_refuses_targets_that_are_not_the_gates_of_the_policy(table: RouteTable) -> None:
    with pytest.raises(ValueError, match=r"has the targets .*, but the gates") as caught:
        small_agent(replace(METHODS["routed"], table=table), small_env())
    named = str(caught.value).split("policy are ")[1].split(":")[0]
    assert sorted(named.split(", ")) == ["goal", "mixture", "proxy", "shared"]


def test_agent_refuses_targets_of_an_auxiliary_loss() -> None:
    proxy = METHODS["signed"].auxiliary[1]
    broken = replace(METHODS["signed"], auxiliary=(replace(proxy, table=renamed("goal", "gaol")),))
    with pytest.raises(ValueError, match="gaol"):
        small_agent(broken)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agents") / "agent.zip"
    small_agent(propensity=None).learn(ROLLOUT).save(path)
    return path


def loaded(path: Path, **settings: Any) -> RoutedPPO:  # noqa: ANN401
    return RoutedPPO.load(path, env=small_env(), **settings)


def test_load_replaces_the_method_by_its_name(saved: Path) -> None:
    for chosen in ("unrouted", METHODS["unrouted"]):
        agent = loaded(saved, method=chosen)
        assert agent.method is METHODS["unrouted"]
        assert agent.learn(ROLLOUT).table == METHODS["unrouted"].table
    assert loaded(saved, method="placebo").rollout_buffer.assignment is not None


def test_load_replaces_settings(saved: Path) -> None:
    assert (loaded(saved).rollout_buffer.outcomes.unfinished() == OPEN).all()
    hidden = loaded(saved, timeouts="hidden")
    assert (hidden.rollout_buffer.outcomes.unfinished() == HIDDEN).all()
    raw = loaded(saved, advantage_normalization="none")
    assert raw._objective().normalization == "none"
    again = saved.with_name("raw.zip")
    raw.save(again)
    assert loaded(again, advantage_normalization="all")._objective().normalization == "all"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "ruted"}, "unknown method 'ruted': did you mean 'routed'"),
        ({"method": None}, "method must be a Method or the name of one, got None"),
        ({"method": "naive"}, "'naive' has the targets motivation, shared, but the gates"),
        ({"method": "unmixed"}, "'unmixed' has the targets goal, proxy, shared, but"),
        ({"method": "reward-map"}, "no reward map"),
        ({"method": "filtered-coin"}, "needs the probability"),
        *((bad, message) for bad, message in OUT_OF_RANGE if "stats_window_size" not in bad),
        ({"policy": "MlpPolicy"}, "RoutedPPO has no setting policy"),
        ({"gama": 0.5}, "RoutedPPO has no setting gama: give arguments of its constructor"),
        *(({name: "sometimes"}, f"{name} must be .*got 'sometimes'") for name in CHOICES),
        ({"batch_size": 10**6}, "larger than a rollout"),
    ],
    ids=str,
)
def test_load_refuses_what_the_constructor_refuses(
    saved: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        loaded(saved, **settings)
