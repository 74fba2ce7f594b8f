"""PartialOversight: what it pays and shows, what it refuses, and that no hidden reward leaks."""

import math
from collections.abc import Callable
from itertools import cycle, pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.passive_env_checker import check_obs
from gymnasium.vector import SyncVectorEnv

from envs import (
    EpisodeCoin,
    GaussianNoise,
    GridEnv,
    Noisy,
    NoisyFlag,
    PartialOversight,
    Query,
    Region,
    StepCoin,
    StepDecay,
)
from envs.observers import Observer
from envs.wrappers import vector
from tests.envs.wrappers.environment_factories import GAMES, Tampered, frozen, play

named = pytest.mark.parametrize("name", GAMES)


def never(observation: Any) -> Any:  # noqa: ANN401
    return np.zeros(len(observation), dtype=bool)


def cost(before: Any, action: Any, after: Any, terminated: Any, truncated: Any) -> Any:  # noqa: ANN401
    return np.where(terminated | truncated, 2.5, -0.5)


OBSERVERS: dict[str, Observer] = {
    "coin": EpisodeCoin(0.5),
    "steps": StepCoin(0.5),
    "noisy": Noisy(EpisodeCoin(0.5), flip=0.5, miss=0.3),
    "Gaussian": GaussianNoise(StepCoin(0.5), 3.0),
    "decay": StepDecay(0.98),
    "nowhere": Region(never),
    "both": EpisodeCoin(0.5) & StepCoin(0.7, stream=1) & ~Region(never),
}


@named
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_only_rewards_change_and_observed_ones_are_paid(name: str, probability: float) -> None:
    bare = play(GAMES[name]())
    given = play(PartialOversight(GAMES[name](), observed_probability=probability))
    observed_values = set()
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
        observed_values.add(observed)
        episode.add(observed)
        assert len(episode) == 1
    assert observed_values == {0.0: {False}, 0.5: {False, True}, 1.0: {True}}[probability]


@named
@pytest.mark.parametrize("coin", [EpisodeCoin(0.5), StepCoin(0.5)])
def test_noise_is_added_to_observed_reports_and_to_nothing_else(name: str, coin: Observer) -> None:
    """The levels, and which steps are observed, are those without noise."""
    clean, bare = play(PartialOversight(GAMES[name](), observer=coin)), play(GAMES[name]())
    noisy = GaussianNoise(coin, 3.0)
    given = play(PartialOversight(GAMES[name](), observer=noisy))
    again = play(PartialOversight(GAMES[name](), observer=noisy))
    true = play(PartialOversight(GAMES[name](), observer=noisy, reward="true"))
    assert frozen(given) == frozen(again)
    noises = []
    for ours, exact, theirs, oracle in zip(given, clean, bare, true, strict=True):
        assert frozen(ours[0]) == frozen(exact[0]) == frozen(theirs[0])
        assert ours[-1].keys() == {"observed", "observed_reward"}
        assert oracle[-1] == ours[-1]
        if len(ours) == 2:
            continue
        assert ours[2:4] == theirs[2:4]
        assert oracle[1] == theirs[1]
        assert ours[1] == ours[4]["observed_reward"]
        assert ours[4]["observed"] == exact[4]["observed"]
        if ours[4]["observed"]:
            assert ours[1] != theirs[1]  # not even by chance, since noise is continuous
            noises.append(ours[1] - theirs[1])
        else:
            assert ours[1] == 0.0
    assert len({*noises}) == len(noises)
    assert abs(np.mean(noises)) < 5 * 3 / np.sqrt(len(noises))
    assert np.std(noises) == pytest.approx(3, abs=5 * 3 / np.sqrt(2 * len(noises)))


DRAW = np.random.default_rng(0)
REPLACED: dict[str, Callable[[float], float]] = {
    "huge": lambda reward: 1e9,
    "missing": lambda reward: math.nan,
    "negated": lambda reward: -reward - 0.0,
    "random": lambda reward: float(DRAW.normal()),
}


@pytest.mark.parametrize(("name", "replaced"), list(zip(GAMES, cycle(REPLACED), strict=False)))
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


def test_info_key_is_kept_only_when_allowed() -> None:
    env = Tampered(GAMES["CartPole"](), lambda reward: 7.0)
    keys = {key for step in play(PartialOversight(env)) for key in step[-1]}
    assert keys == {"observed", "observed_reward"}
    let = play(PartialOversight(env, allow=("score",)))
    assert all(step[-1]["score"] == 7.0 for step in let)


def test_proxy_pays_hidden_steps_only() -> None:
    seen: list[Any] = []

    def proxy(*arguments: Any) -> Any:  # noqa: ANN401
        seen.append(arguments)
        return cost(*arguments)

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


def test_another_seed_observes_other_episodes_of_the_same_levels() -> None:
    one, other = (play(PartialOversight(GridEnv(), seed=seed), 500) for seed in (1, 2))
    assert [frozen(step[0]) for step in one] == [frozen(step[0]) for step in other]
    assert [step[-1]["observed"] for step in one] != [step[-1]["observed"] for step in other]


@named
def test_flag_announces_the_next_step(name: str) -> None:
    env = PartialOversight(GAMES[name](), flag="visible", observer=StepCoin(0.5))
    inner = env.env.observation_space
    announced = None
    for step in play(env):
        check_obs(step[0], env.observation_space, "step")
        assert step[0] in env.observation_space
        if len(step) == 5:
            assert step[4]["observed"] == announced
        if isinstance(inner, gym.spaces.Discrete):
            announced = bool(step[0] >= inner.n)
        else:
            announced = bool(step[0].ravel()[-1])


def test_noisy_flag_changes_no_reward() -> None:
    env = PartialOversight(GAMES["CartPole"](), observer=EpisodeCoin(0.5), flag=NoisyFlag(miss=1.0))
    given = play(env)
    assert not any(step[0][-1] for step in given)
    assert any(step[1] == 1.0 for step in given if len(step) == 5)


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"observed_probability": 1.5}, "from 0 to 1, got 1.5"),
    ({"observed_probability": float("nan")}, "from 0 to 1, got nan"),
    ({"observed_probability": "often"}, "from 0 to 1, got 'often'"),
    ({"observed_probability": 0.1, "observer": EpisodeCoin(0.1)}, "not both"),
    ({"observer": 0.1}, "one of envs.observers"),
    ({"flag": "cue"}, "flag must be 'hidden', 'visible' or a NoisyFlag, got 'cue'"),
    ({"reward": "truth"}, "reward must be one of .* got 'truth'"),
    ({"observer": Query() | Query(0.3)}, "at most one Query"),
    ({"flag": "visible", "observer": Region(np.isfinite, at="arrival")}, "at='start'"),
    ({"allow": ("episode",)}, "allow must name keys"),
    ({"allow": "episode"}, "tuple of info keys"),
    ({"allow": 3}, "tuple of info keys"),
    ({"seed": True}, "seed must be None or from 0"),
    ({"allow": ("true_reward",)}, "do not contain the reward, got \\['true_reward'\\]"),
    ({"allow": ("episode_return", "returned")}, "got \\['episode_return'\\]"),
    ({"allow": ("RewardForward",)}, "do not contain the reward"),
    ({"seed": -1}, "seed must be None or from 0"),
    ({"proxy": 1.0}, "proxy must be a function"),
    ({"proxy": "true_reward"}, "proxy must name keys that do not contain the reward"),
    ({"proxy": "episode"}, "proxy must name keys of the environment itself"),
    ({"proxy": lambda *, reward: reward}, "never given a reward"),
    ({"proxy": lambda before, action, after, ends, cut, reward: reward}, "never given a reward"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_arguments_are_refused_when_invalid(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PartialOversight(gym.make("CartPole-v1"), **arguments)
    with pytest.raises(ValueError, match=message):
        vector.PartialOversight(gym.make_vec("CartPole-v1", num_envs=2), **arguments)


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf, [1.0, 2.0], None, "much", 1j])
def test_invalid_reward_is_refused_only_when_observed(reward: Any) -> None:  # noqa: ANN401
    class InvalidReward(Tampered):
        """Pays something else than a number."""

        def step(self, action: Any) -> Any:  # noqa: ANN401
            observation, _, *rest = self.env.step(action)
            return observation, reward, *rest

    env = PartialOversight(InvalidReward(gym.make("CartPole-v1"), float), observed_probability=1.0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="PartialOversight needs a finite number as reward"):
        env.step(0)
    hidden = PartialOversight(
        InvalidReward(gym.make("CartPole-v1"), float), observed_probability=0.0
    )
    hidden.reset(seed=0)
    assert hidden.step(0)[1] == 0.0  # never read, so never refused either


SPACES = [
    spaces.Dict({"observed": spaces.Discrete(2)}),
    spaces.Text(3),
    spaces.MultiDiscrete(np.array([[2, 3]])),
    spaces.Box(0, 1, (3, 4)),
    spaces.Box(0, 1, (4, 4, 4)),
]


@pytest.mark.parametrize("space", SPACES)
def test_observation_space_is_refused_when_it_has_no_place_for_the_flag(
    space: gym.Space[Any],
) -> None:
    env = GridEnv()
    env.observation_space = space
    PartialOversight(env, flag="hidden")
    with pytest.raises(ValueError, match=r"flag='visible' (needs a|adds the key)"):
        PartialOversight(env, flag="visible")


class Parts(gym.ObservationWrapper[Any, Any, Any]):
    """Shows an observation in parts, as a dictionary, a tuple or both."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        whole = env.observation_space
        self.observation_space = spaces.Dict({"whole": whole, "two": spaces.Tuple([whole, whole])})

    def observation(self, observation: Any) -> Any:  # noqa: ANN401
        """Show it three times."""
        return {"whole": observation, "two": (observation, -observation)}


def right(observation: Any) -> Any:  # noqa: ANN401
    return observation["two"][1][:, 0] < 0


def test_dictionary_and_tuple_observations_are_read() -> None:
    whole = PartialOversight(gym.make("CartPole-v1"), observer=Region(lambda seen: seen[:, 0] > 0))
    parts = PartialOversight(Parts(gym.make("CartPole-v1")), observer=Region(right))
    vectors = vector.PartialOversight(
        SyncVectorEnv([lambda: Parts(gym.make("CartPole-v1"))] * 2, autoreset_mode="SameStep"),
        observer=Region(right, at="arrival") | Region(right),
    )
    for env in (whole, parts, vectors):
        env.reset(seed=0)
    paid = set()
    for _ in range(7):
        expected, given = whole.step(0), parts.step(0)
        assert given[1:] == expected[1:]
        np.testing.assert_array_equal(given[0]["whole"], expected[0])
        paid.add(given[1])
        assert vectors.step([0, 0])[4]["observed"][0] >= given[4]["observed"]
    assert paid == {0.0, 1.0}


def test_true_reward_is_paid_at_every_step_and_info_stays_the_same() -> None:
    true = play(PartialOversight(GridEnv(), observer=StepCoin(0.5), reward="true"), 500)
    observed = play(PartialOversight(GridEnv(), observer=StepCoin(0.5)), 500)
    plain = play(GridEnv(), 500)
    assert [step[-1] for step in true] == [step[-1] for step in observed]
    assert [step[1] for step in true if len(step) == 5] == [
        step[1] for step in plain if len(step) == 5
    ]
