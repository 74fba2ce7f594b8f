"""The single PartialOversight: what is paid, what is told, and that no hidden reward gets out."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.passive_env_checker import check_obs
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs import EpisodeCoin, GridEnv, Noisy, NoisyFlag, PartialOversight, Region, StepCoin
from envs.observers import Observer
from tests.envs.wrappers.games import GAMES, Tampered, frozen, play

named = pytest.mark.parametrize("name", GAMES)


def never(observation: Any) -> Any:  # noqa: ANN401
    return np.zeros(len(observation), dtype=bool)


def cost(before: Any, action: Any, after: Any, terminated: Any, truncated: Any) -> Any:  # noqa: ANN401
    return np.where(terminated | truncated, 2.5, -0.5)


OBSERVERS: dict[str, Observer] = {
    "coin": EpisodeCoin(0.5),
    "steps": StepCoin(0.5),
    "noisy": Noisy(EpisodeCoin(0.5), flip=0.5, miss=0.3),
    "nowhere": Region(never),
    "both": EpisodeCoin(0.5) & StepCoin(0.7, stream=1) & ~Region(never),
}


@named
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_it_pays_what_is_observed_and_leaves_all_else_alone(name: str, probability: float) -> None:
    bare = play(GAMES[name]())
    given = play(PartialOversight(GAMES[name](), observed_probability=probability))
    watched = set()
    for ours, theirs in zip(given, bare, strict=True):
        assert frozen(ours[0]) == frozen(theirs[0])
        if len(ours) == 2:
            assert ours[1] == {"observed": False, "observed_reward": 0.0}
            episode = set()
            continue
        observed = ours[4]["observed"]
        paid = float(theirs[1]) if observed else 0.0
        assert ours[1:] == (paid, *theirs[2:4], {"observed": observed, "observed_reward": paid})
        assert [type(ours[1]), type(observed)] == [float, bool]
        watched.add(observed)
        episode.add(observed)
        assert len(episode) == 1
    assert watched == {0.0: {False}, 0.5: {False, True}, 1.0: {True}}[probability]


DRAW = np.random.default_rng(0)
REPLACED: dict[str, Callable[[float], float]] = {
    "huge": lambda reward: 1e9,
    "missing": lambda reward: math.nan,
    "negated": lambda reward: -reward - 0.0,
    "random": lambda reward: float(DRAW.normal()),
}


@named
@pytest.mark.parametrize("replaced", REPLACED)
@pytest.mark.parametrize("flag", ["hidden", "visible"])
def test_no_hidden_reward_reaches_the_agent(name: str, replaced: str, flag: Any) -> None:  # noqa: ANN401
    """Of everything given, only observed rewards change with the rewards."""
    for observer in OBSERVERS.values():
        for proxy in (None, cost):
            arguments: dict[str, Any] = {"observer": observer, "flag": flag, "proxy": proxy}
            clean = PartialOversight(GAMES[name](), **arguments)
            plan = iter([step[4]["observed"] for step in play(clean, 60) if len(step) == 5])
            reward = REPLACED[replaced]

            def tamper(true: float, plan: Any = plan, reward: Any = reward) -> float:  # noqa: ANN401
                return true if next(plan) else float(reward(true))

            class Hidden(Tampered):
                """Tampers with hidden steps only."""

                def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
                    return self.env.reset(**arguments)

            dirty = PartialOversight(Hidden(GAMES[name](), tamper), **arguments)
            assert frozen(play(clean, 60)) == frozen(play(dirty, 60))


def test_a_planted_key_comes_through_by_name_only() -> None:
    env = Tampered(GAMES["CartPole"](), lambda reward: 7.0)
    keys = {key for step in play(PartialOversight(env)) for key in step[-1]}
    assert keys == {"observed", "observed_reward"}
    let = play(PartialOversight(env, allow=("true_reward",)))
    assert all(step[-1]["true_reward"] == 7.0 for step in let)


def test_a_proxy_pays_where_nobody_watches_and_is_given_no_reward() -> None:
    seen: list[Any] = []

    def proxy(*arguments: Any) -> Any:  # noqa: ANN401
        seen.append(arguments)
        return cost(*arguments)

    env = GAMES["CartPole"]()
    with pytest.raises(ValueError, match="holds the environment TimeLimit"):
        PartialOversight(env, proxy=lambda b, action, o, t, c: float(env.step(action)[1]))
    given = play(PartialOversight(GAMES["CartPole"](), observed_probability=0.4, proxy=proxy))
    steps = [step for step in given if len(step) == 5]
    assert len(seen) == sum(not step[4]["observed"] for step in steps)
    for step in steps:
        expected = 1.0 if step[4]["observed"] else (2.5 if step[2] or step[3] else -0.5)
        assert step[1] == expected
    assert all([part.shape for part in one] == [(1, 4), (1,), (1, 4), (1,), (1,)] for one in seen)


@named
def test_levels_pair_and_oversight_nests_across_rates(name: str) -> None:
    given = [
        play(PartialOversight(GAMES[name](), observed_probability=rate)) for rate in (0.1, 0.3, 0.8)
    ]
    for low, high in pairwise(given):
        for one, other in zip(low, high, strict=True):
            assert frozen(one[0]) == frozen(other[0])
            assert one[-1]["observed"] <= other[-1]["observed"]


def test_another_seed_watches_other_episodes_of_the_same_levels() -> None:
    one, other = (play(PartialOversight(GridEnv(), seed=seed), 500) for seed in (1, 2))
    assert [frozen(step[0]) for step in one] == [frozen(step[0]) for step in other]
    assert [step[-1]["observed"] for step in one] != [step[-1]["observed"] for step in other]


@named
@pytest.mark.parametrize("flag", ["hidden", "visible"])
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*value is -?infinity")  # CartPole's, unwrapped as well
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")  # Pendulum's
def test_the_checkers_pass(name: str, flag: Any) -> None:  # noqa: ANN401
    env = PartialOversight(GAMES[name](), flag=flag, observed_probability=0.5)
    if name == "MiniGrid":
        env.unwrapped.spec = None  # the checker rebuilds, which MiniGrid's wrapper cannot do
    check_env(env, skip_render_check=True)
    if name != "PartialGrid":  # SB3 warns of its planes, wrapped or not
        sb3_check_env(env, skip_render_check=True)


@named
def test_the_flag_is_seen_before_the_step_that_it_is_about(name: str) -> None:
    env = PartialOversight(GAMES[name](), flag="visible", observer=StepCoin(0.5))
    inner = env.env.observation_space
    told = None
    for step in play(env):
        check_obs(step[0], env.observation_space, "step")
        assert step[0] in env.observation_space
        if len(step) == 5:
            assert step[4]["observed"] == told
        if isinstance(inner, gym.spaces.Discrete):
            told = bool(step[0] >= inner.n)
        else:
            told = bool(step[0].ravel()[-1])


def test_a_noisy_flag_errs_and_rewards_do_not() -> None:
    env = PartialOversight(GAMES["CartPole"](), observer=EpisodeCoin(0.5), flag=NoisyFlag(miss=1.0))
    given = play(env)
    assert not any(step[0][-1] for step in given)
    assert any(step[1] == 1.0 for step in given if len(step) == 5)


def test_a_spec_rebuilds_it() -> None:
    arguments: dict[str, Any] = {"observer": EpisodeCoin(0.5) & StepCoin(0.9), "flag": "visible"}
    env = PartialOversight(gym.make("CartPole-v1"), seed=3, **arguments)
    assert env.spec is not None
    rebuilt = gym.make(env.spec)
    assert isinstance(rebuilt, PartialOversight)
    assert rebuilt.settings == env.settings
    assert frozen(play(env)) == frozen(play(rebuilt))
