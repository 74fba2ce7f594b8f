"""What an environment must pay and say: methods that fit it, and numbers that are finite."""

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import envs
from agents import METHODS, RoutedPPO, VectorEnvAdapter
from agents.method_definition import Reward
from agents.rollout_env import paid_rewards
from envs.wrappers import vector
from tests.agents.factories import OneStep, small_agent, small_env

LANES = 2


def cart_pole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


def overseen(reward: Reward) -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(envs.PartialOversight(cart_pole(), reward=reward), 20)


def lanes(reward: Reward) -> list[Callable[[], gym.Env[Any, Any]]]:
    return [lambda: overseen(reward)] * LANES


KINDS: dict[str, Callable[[Reward], Any]] = {
    "single": overseen,
    "sync": lambda reward: SyncVectorEnv(lanes(reward)),
    "async": lambda reward: AsyncVectorEnv(lanes(reward)),
    "vector": lambda reward: vector.PartialOversight(
        SyncVectorEnv([cart_pole] * LANES), reward=reward
    ),
    "dummy": lambda reward: DummyVecEnv(lanes(reward)),
    "subproc": lambda reward: SubprocVecEnv(lanes(reward), start_method="fork"),
    "normalized": lambda reward: VecNormalize(DummyVecEnv(lanes(reward)), norm_reward=False),
    "grid": lambda reward: gym.make("PartialGrid-v0", reward=reward),
    "lanes of the grid": lambda reward: gym.make_vec("PartialGrid-v0", LANES, reward=reward),
}
REWARDS: tuple[Reward, ...] = ("observed", "proxy", "true")
CHOSEN = {"observed": ("naive", "routed"), "proxy": ("paper", "signed"), "true": ("oracle",)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("paid", REWARDS)
def test_agent_refuses_an_environment_that_pays_another_reward(kind: str, paid: Reward) -> None:
    env = KINDS[kind](paid)
    try:
        for reward, methods in CHOSEN.items():
            for name in methods:
                if reward == paid:
                    small_agent(name, env, n_steps=8, batch_size=8)
                    continue
                message = f"'{name}' learns from the {reward} reward, but .* pays the {paid} reward"
                with pytest.raises(ValueError, match=message):
                    small_agent(name, env, n_steps=8, batch_size=8)
    finally:
        env.close()


@pytest.mark.parametrize(
    ("make", "normalizes", "warns"),
    [
        (lambda: lanes("observed"), True, True),
        (lambda: lanes("observed"), False, False),
        (lambda: [cart_pole] * LANES, True, False),
    ],
)
def test_agent_warns_where_sb3_normalizes_rewards_of_which_some_are_hidden(
    make: Any,  # noqa: ANN401
    normalizes: bool,
    warns: bool,
) -> None:
    env = VecNormalize(DummyVecEnv(make()), norm_reward=normalizes)
    agent = small_agent("naive", env, n_steps=8, batch_size=8)
    with warnings.catch_warnings(record=True, action="always") as caught:
        agent.learn(8)
    texts = [str(each.message) for each in caught]
    assert any("NormalizeObservedReward" in text for text in texts) == warns


@pytest.mark.parametrize("make", [lambda: [cart_pole] * 2, lambda: [cart_pole, *lanes("true")]])
def test_lanes_that_do_not_say_what_they_pay_pass(make: Any) -> None:  # noqa: ANN401
    assert paid_rewards(DummyVecEnv(make())) == set()
    assert paid_rewards(VectorEnvAdapter(SyncVectorEnv(make()))) == set()


def test_agent_refuses_to_learn_where_it_was_only_loaded(tmp_path: Any) -> None:  # noqa: ANN401
    small_agent().save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent", env=small_env("oracle"))
    with pytest.raises(ValueError, match="pays the true reward"):
        loaded.learn(1)


class Odd(gym.Env[Any, Any]):
    """Episodes of 5 steps of given rewards, observations and infos."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, *, first: float = 0, later: float = 0, last: float = 0, **step: Any) -> None:  # noqa: ANN401
        self.first, self.later, self.last = first, later, last
        self.reward = step.get("reward", 1.0)
        self.info = step.get("info", {"observed": True, "observed_reward": 1.0})
        self.action_space: Any = step.get("actions", spaces.Discrete(2))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self.left = 5
        return np.full(3, self.first, np.float32), {}

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on to the time limit."""
        self.left -= 1
        shown = self.later if self.left else self.last
        return np.full(3, shown, np.float32), self.reward, False, not self.left, dict(self.info)


SILENT: list[Callable[[], Any]] = [
    lambda: Odd(info={}),
    lambda: Odd(info={"speed": 1.0}),
    lambda: DummyVecEnv([lambda: Odd(info={})]),
    lambda: SyncVectorEnv([lambda: Odd(info={})] * 2),
]


@pytest.mark.parametrize("make", SILENT)
@pytest.mark.parametrize("method", ["routed", "uds", "filtered", "reward-map", "placebo"])
def test_agent_warns_once_when_no_info_says_observed(make: Any, method: str) -> None:  # noqa: ANN401
    with pytest.warns(UserWarning, match=f"'observed'.*{method}.*PartialOversight") as caught:
        agent = small_agent(method, make(), n_steps=16, batch_size=16).learn(96)
    assert len(caught) == 1
    agent.learn(32)


def test_agent_does_not_warn_where_oversight_is_stated_or_not_needed() -> None:
    never: dict[str, Any] = {"observed": False, "observed_reward": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in SILENT:
            for method in ("oracle", "naive"):
                small_agent(method, make(), n_steps=16, batch_size=16).learn(32)
        for env in (Odd(info=never), DummyVecEnv([lambda: Odd(info=never)]), OneStep(False)):
            small_agent("routed", env, n_steps=16, batch_size=16).learn(32)
        endless = SyncVectorEnv([lambda: envs.PartialOversight(Odd(), observed_probability=0.0)])
        small_agent("routed", endless, n_steps=2, batch_size=2).learn(2)


CONTINUOUS = {"actions": spaces.Box(-1, 1, (2,), np.float32)}
NAN, HUGE = float("nan"), 10**400
OBSERVATION, OBSERVED = r"observation.*TransformObservation", r"observed_reward.*a finite number"


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: DummyVecEnv([lambda: env])])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": NAN}, OBSERVATION),
        ({"later": np.inf}, OBSERVATION),
        ({"last": NAN}, OBSERVATION),
        ({"first": NAN, **CONTINUOUS}, OBSERVATION),
        ({"later": NAN, **CONTINUOUS}, OBSERVATION),
        ({"reward": NAN}, "a reward that the environment paid is NaN, or infinite as float32"),
        ({"reward": HUGE}, "rewards.* must be finite numbers that a float can hold"),
        ({"reward": -HUGE}, "rewards.* must be finite numbers that a float can hold"),
        ({"reward": 1j}, "error of type TypeError .*rewards.* must be finite numbers"),
        ({"reward": {}}, "error of type TypeError .*rewards.* must be finite numbers"),
        ({"reward": [1.0]}, "error of type (Type|Value)Error .*rewards.* must be finite numbers"),
        ({"reward": "much"}, "error of type (Type|Value)Error .*rewards.* must be finite numbers"),
        ({"info": {"observed": True, "observed_reward": 1e39}}, f"{OBSERVED}.*1e.39.* in lane 0"),
        ({"info": {"observed": True}}, OBSERVED),
        ({"info": {"observed": True, "observed_reward": NAN}}, OBSERVED),
        ({"info": {"observed": True, "observed_reward": "much"}}, OBSERVED),
        ({"info": {"observed": True, "observed_reward": HUGE}}, r"observed.reward.*finite number"),
    ],
)
def test_training_refuses_what_is_no_finite_number(
    wrap: Any,  # noqa: ANN401
    settings: dict[str, Any],
    message: str,
) -> None:
    for method in ("routed", "uds"):
        with pytest.raises(ValueError, match=message) as caught:
            small_agent(method, wrap(Odd(**settings)), n_steps=16, batch_size=16).learn(16)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


class Native(VectorEnv[Any, Any, Any]):
    """Pays what it is given."""

    def __init__(self, rewards: Any) -> None:  # noqa: ANN401
        self.rewards, self.metadata, self.num_envs = rewards, SAME_STEP, LANES
        self.single_observation_space, self.single_action_space = (
            spaces.Box(0, 1),
            spaces.Discrete(2),
        )

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Start."""
        return np.zeros((LANES, 1), np.float32), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Pay."""
        never = np.zeros(LANES, np.bool_)
        return np.zeros((LANES, 1), np.float32), self.rewards, never, never, {}


SAME_STEP = {"autoreset_mode": AutoresetMode.SAME_STEP}


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (["1", "1"], "must pay a number in each of 2 lanes, got .'1', '1'.*<U1"),
        ([2**70, 2**70], "must pay a number in each of 2 lanes.*object"),
        (np.zeros((2, 1)), "must pay a number in each of 2 lanes"),
        (np.zeros(3), "must pay a number in each of 2 lanes"),
        (1.0, "must pay a number in each of 2 lanes, got 1.0"),
        (np.array([1j, 1j]), "must pay a number in each of 2 lanes.*complex128"),
        (np.array(["2020", "2021"], "M8[Y]"), "must pay a number in each of 2 lanes.*datetime64"),
        ([0.0, 1e39], r"paid 1e\+39 in lane 1, but SB3 keeps rewards as float32.*scale them"),
    ],
    ids=str,
)
def test_vector_environment_pays_a_number_in_each_lane(rewards: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=message) as caught:
        small_agent("naive", Native(rewards), n_steps=16, batch_size=16).learn(16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("env", [None, "CartPole-v1", Odd()], ids=["None", "id", "single"])
def test_adapter_takes_vector_environments(env: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"takes a vector environment of Gymnasium, got .*Sync"):
        VectorEnvAdapter(env)


def test_error_of_the_environment_itself_is_left_alone() -> None:
    class Broken(Odd):
        def step(self, action: Any) -> Any:  # noqa: ANN401
            raise TypeError("the engine has stalled")

    with pytest.raises(TypeError, match=r"^the engine has stalled$"):
        small_agent("naive", Broken(), n_steps=16, batch_size=16).learn(16)


def test_partial_oversight_refuses_a_reward_too_large_for_a_float() -> None:
    env = envs.PartialOversight(Odd(reward=HUGE), observed_probability=1.0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="needs a finite number as reward"):
        env.step(0)


def test_oversight_says_what_it_pays_after_pickling() -> None:
    env = pickle.loads(pickle.dumps(small_env("paper")))
    assert paid_rewards(VectorEnvAdapter(env)) == {METHODS["paper"].reward}
