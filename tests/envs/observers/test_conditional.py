"""Queries by the agent or a rule: what they reveal, what they cost, and which actions ask."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs import (
    EpisodeCoin,
    GridVectorEnv,
    NoisyFlag,
    PartialOversight,
    Query,
    Region,
    StepCoin,
)
from envs.wrappers import vector
from envs.wrappers.spaces import asking_space, split_action
from tests.envs.wrappers.environment_factories import GAMES, frozen


def rightward(observation: Any) -> Any:  # noqa: ANN401
    return observation[:, 0] > 0


def walk(env: gym.Env[Any, Any], num_actions: int, steps: int = 300) -> list[Any]:
    """Return (action, step) of a random walk."""
    env.reset(seed=2)
    walked = []
    for action in np.random.default_rng(2).integers(num_actions, size=steps):
        walked.append((int(action), env.step(action)))
        if walked[-1][1][2] or walked[-1][1][3]:
            env.reset()
    return walked


@pytest.mark.parametrize("rare", [True, False])
def test_query_is_part_of_the_action_and_is_paid_once_an_episode(rare: bool) -> None:
    query, coin = Query(cost=0.25), EpisodeCoin(0.5)
    env = PartialOversight(GAMES["CartPole"](), observer=query & coin if rare else query)
    assert env.action_space == spaces.Discrete(4)
    twin = PartialOversight(GAMES["CartPole"](), observer=coin)
    plain = [twin.reset(seed=2)]
    asked, outcomes, kinds = False, set(), set()
    for action, (observation, paid, *ends, info) in walk(env, 4):
        expected = twin.step(action % 2)
        assert frozen(observation) == frozen(expected[0])
        first = action >= 2 and not asked
        asked |= action >= 2
        observed = asked and (expected[4]["observed"] or not rare)
        assert info == {"observed": observed, "observed_reward": float(observed)}
        assert paid == float(observed) - (0.25 if first else 0.0)
        kinds.add((asked, first, observed))
        outcomes.add(observed)
        if any(ends):
            plain.append(twin.reset())
            asked = False
    assert outcomes == {True, False}
    assert len(kinds) == (5 if rare else 3)
    assert len(plain) > 5


@pytest.mark.parametrize("reward", ["observed", "proxy"])
def test_rule_queries_and_keeps_the_action_space(reward: Any) -> None:  # noqa: ANN401
    rule = Query(cost=0.5, rule=rightward)
    arguments: dict[str, Any] = {"observer": rule, "flag": "visible", "reward": reward}
    env = PartialOversight(GAMES["CartPole"](), **arguments)
    assert env.action_space == spaces.Discrete(2)
    asked, before = False, env.reset(seed=0)[0]
    charged = 0
    for action in np.random.default_rng(0).integers(2, size=300):
        first = before[0] > 0 and not asked
        asked |= bool(first)
        after, paid, terminated, truncated, info = env.step(action)
        assert bool(before[-1]) == asked == info["observed"]
        learned = info["observed_reward"] if reward == "observed" else 0.0
        assert paid == learned - (0.5 if first else 0.0)
        charged += bool(first)
        before = after
        if terminated or truncated:
            asked, before = False, env.reset()[0]
    assert charged > 3


def test_query_reveals_the_step_that_it_comes_with() -> None:
    env = PartialOversight(GAMES["CartPole"](), observer=Query(0.0))
    env.reset(seed=0)
    assert [env.step(action)[4]["observed"] for action in (0, 3, 1)] == [False, True, True]
    env.reset()
    assert env.step(1)[4]["observed"] is False


def test_resetting_step_never_queries() -> None:
    inner = gym.vector.SyncVectorEnv([GAMES["CartPole"]] * 3)
    env = vector.PartialOversight(inner, observer=Query(0.25))
    assert env.single_action_space == spaces.Discrete(4)
    env.reset(seed=0)
    ended = np.zeros(3, dtype=bool)
    prices = []
    for _ in range(100):
        _, paid, terminated, truncated, infos = env.step(np.full(3, 3))
        np.testing.assert_array_equal(infos["observed"], ~ended)
        assert not paid[ended].any()
        prices += (infos["observed_reward"] - paid)[~ended].tolist()
        ended = terminated | truncated
    assert set(prices) == {0.0, 0.25}


def test_doubled_action_space_keeps_its_start() -> None:
    space = spaces.Discrete(3, start=-1)
    assert asking_space(space) == spaces.Discrete(6, start=-1)
    actions, asks = split_action(space, np.arange(-1, 5))
    assert actions.tolist() == [-1, 0, 1] * 2
    assert asks.tolist() == [False] * 3 + [True] * 3


def test_invalid_queries_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Query\(\) adds .* Discrete action space, got Box"):
        PartialOversight(GAMES["Pendulum"](), observer=Query())
    PartialOversight(GAMES["Pendulum"](), observer=Query(rule=rightward))
    for flag in ("visible", NoisyFlag(0.5)):
        with pytest.raises(ValueError, match="observer of arrivals or of the agent's queries"):
            PartialOversight(GAMES["CartPole"](), observer=StepCoin(0.5) | Query(), flag=flag)
    two = Query() & ~Query(rule=rightward)
    with pytest.raises(ValueError, match="at most one Query"):
        vector.PartialOversight(GridVectorEnv(2), observer=two)
    for cost in (-0.1, np.inf, np.nan, "much"):
        with pytest.raises(ValueError, match="cost must be a finite number of at least 0"):
            Query(cost)  # type: ignore[arg-type]
    for rule in (3, lambda: True):
        with pytest.raises(ValueError, match="Query's rule must be a function"):
            Query(rule=rule)  # type: ignore[arg-type]
    env = PartialOversight(GAMES["CartPole"](), observer=Query(rule=lambda seen: seen[:, 0]))
    with pytest.raises(ValueError, match=r"Query's rule must return \(1,\) booleans"):
        env.reset(seed=0)


@pytest.mark.parametrize("action", [-1, 4, 1.5, True, None])
def test_action_outside_the_doubled_space_is_refused(action: Any) -> None:  # noqa: ANN401
    env = PartialOversight(GAMES["CartPole"](), observer=Query() | Region(rightward))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="from 0 to 3, of which those from 2 on query"):
        env.step(action)
