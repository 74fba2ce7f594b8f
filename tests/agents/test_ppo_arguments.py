"""Arguments of RoutedPPO: the rollout buffer, batches, targets of the table, and loading."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.buffers import RolloutBuffer

from agents import METHODS, RoutedPPO
from agents.ppo import CHOICES
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollout_buffer_class": RolloutBuffer}, "must be a subclass of .*RoutedBuffer, which"),
        ({"rollout_buffer_class": "mine"}, "must be a subclass of .*RoutedBuffer, which"),
        ({"rollout_buffer_kwargs": {"by": 3}}, "RoutedBuffer has no such argument"),
        ({"rollout_buffer_kwargs": {"timeouts": "hidden"}}, "timeouts, which RoutedPPO sets"),
        ({"rollout_buffer_kwargs": {"gamma": 0.5, "seed": 1}}, "gamma, seed, which RoutedPPO sets"),
        ({"batch_size": 1}, "batch_size must be at least 2, since advantages are normalized"),
        ({"batch_size": 0, "advantage_normalization": "none"}, "batch_size must be at least 1"),
        ({"clip_range_vf": -1.0}, "`clip_range_vf` must be positive"),
        ({"method": 3}, "method must be a Method or the name of one, got 3"),
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
        ({"propensity": 2.0}, "propensity must be above 0"),
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
