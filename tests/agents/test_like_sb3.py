"""RoutedPPO takes what SB3's PPO takes, and equals it under a table of ones, in all spaces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

import agents
from agents import ROUTES, RoutedPPO, VectorEnvAdapter
from envs import PartialOversight, partial_grid_vec
from tests.agents.factories import assert_same_training
from tests.agents.sampled import ACTIONS, IMAGE, OBSERVATIONS, PAIRS, VECTOR, Sampled

LANES = 2
every_pair = pytest.mark.parametrize(("observations", "actions"), PAIRS)


def lanes(make: Callable[[], gym.Env[Any, Any]]) -> VecEnv:
    return DummyVecEnv([make] * LANES)


def sampled(observations: str, actions: str = "discrete") -> Callable[[], gym.Env[Any, Any]]:
    return lambda: Sampled(OBSERVATIONS[observations], ACTIONS[actions])


def sb3_policy(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) else "MlpPolicy"


def settings_on(policy: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return settings of a small agent."""
    width = {"CnnPolicy": "features_dim", "MultiInputPolicy": "cnn_output_dim"}.get(policy)
    arguments: dict[str, Any] = {"net_arch": [8]}
    if width is not None:
        arguments["features_extractor_kwargs"] = {width: 8}
    shared: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "device": "cpu"}
    return {**shared, "seed": 0, "policy_kwargs": arguments, **settings}


def trained(
    kind: type[PPO],
    env: Any,  # noqa: ANN401
    policy: str,
    **settings: Any,  # noqa: ANN401
) -> PPO:
    """Return an agent after three rollouts."""
    method: dict[str, Any] = {"method": "naive"} if kind is RoutedPPO else {}
    agent = kind(policy, env, **method, **settings_on(policy, **settings))
    return agent.learn(3 * agent.n_steps * agent.n_envs)


def environment(agent: PPO) -> VecEnv:
    env = agent.get_env()
    assert env is not None
    return env


@every_pair
def test_training_equals_sb3_in_every_space(observations: str, actions: str) -> None:
    make, policy = sampled(observations, actions), sb3_policy(OBSERVATIONS[observations])
    stock = trained(PPO, lanes(make), policy)
    assert_same_training(trained(RoutedPPO, lanes(make), policy), stock)
    for mode in AutoresetMode:
        native = SyncVectorEnv([make] * LANES, autoreset_mode=mode)
        assert_same_training(trained(RoutedPPO, native, policy), stock)


@pytest.mark.parametrize("observations", ["vector", "dict"])
def test_exploration_by_state_equals_sb3(observations: str) -> None:
    make, policy = sampled(observations, "continuous"), sb3_policy(OBSERVATIONS[observations])
    one, other = (
        trained(kind, lanes(make), policy, use_sde=True, sde_sample_freq=4)
        for kind in (RoutedPPO, PPO)
    )
    assert_same_training(one, other)


def stacked(observations: str) -> VecEnv:
    return VecFrameStack(lanes(sampled(observations)), 2)


WRAPPED: dict[str, Callable[[], VecEnv]] = {
    "frame stack": lambda: stacked("vector"),
    "frame stack of images": lambda: stacked("image, channels last"),
    "normalized": lambda: VecNormalize(lanes(sampled("doubles"))),
    "normalized keys": lambda: VecNormalize(lanes(sampled("dict")), norm_obs_keys=["vector"]),
    "one key": lambda: VecExtractDictObs(lanes(sampled("dict")), "vector"),
    "transposed": lambda: VecTransposeImage(lanes(sampled("dict, channels last"))),
    "all": lambda: VecMonitor(VecNormalize(stacked("vector"), norm_reward=False)),
    "make_vec_env": lambda: make_vec_env(sampled("dict"), n_envs=LANES),
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_training_equals_sb3_in_its_wrappers(wrapped: str) -> None:
    make = WRAPPED[wrapped]
    policy = sb3_policy(make().observation_space)
    stock, mine = (trained(kind, make(), policy) for kind in (PPO, RoutedPPO))
    assert_same_training(mine, stock)
    evaluate_policy(mine, environment(mine), n_eval_episodes=2, warn=False)


def test_frames_of_dictionaries_are_stacked() -> None:
    space = spaces.Dict({"image": IMAGE, "vector": VECTOR})
    order: Any = {"image": "first", "vector": None}

    def make() -> VecEnv:
        return VecFrameStack(lanes(lambda: Sampled(space)), 3, channels_order=order)

    one, other = (trained(kind, make(), "MultiInputPolicy") for kind in (PPO, RoutedPPO))
    assert isinstance(one.observation_space, spaces.Dict)
    assert one.observation_space["image"].shape == (9, 36, 36)
    assert_same_training(one, other)


def test_lanes_in_processes_train_as_in_one() -> None:
    processes = SubprocVecEnv([sampled("dict")] * LANES, start_method="fork")
    try:
        one = trained(RoutedPPO, processes, "MultiInputPolicy")
    finally:
        processes.close()
    assert_same_training(one, trained(RoutedPPO, lanes(sampled("dict")), "MultiInputPolicy"))


def routed_agent(observations: str, actions: str = "discrete", method: str = "routed") -> RoutedPPO:
    """Return an agent with motivation modules, after two rollouts."""
    chosen = settings_on("MotivationPolicy", policy_kwargs={"hidden_sizes": (8,)})
    env = lanes(sampled(observations, actions))
    agent = RoutedPPO("MotivationPolicy", env, method, propensity=0.5, **chosen)
    return agent.learn(2 * agent.n_steps * LANES)


@every_pair
def test_motivation_policy_acts_saves_and_is_evaluated_in_every_space(
    observations: str, actions: str, tmp_path: Path
) -> None:
    agent = routed_agent(observations, actions)
    agent.save(tmp_path / "agent.zip")
    loaded = RoutedPPO.load(tmp_path / "agent.zip", env=lanes(sampled(observations, actions)))
    seen = environment(agent).reset()
    single = Sampled(OBSERVATIONS[observations], ACTIONS[actions])
    for acting in (agent, loaded, agent.deployed(), agent.with_module("proxy")):
        chosen, _ = acting.predict(single.reset(seed=0)[0], deterministic=True)
        assert single.action_space.contains(chosen if chosen.shape else chosen[()])
        many, _ = acting.predict(seen)
        assert len(many) == LANES
        evaluate_policy(acting, environment(agent), n_eval_episodes=2, warn=False)
    mine, theirs = (each.predict(seen, deterministic=True)[0] for each in (agent, loaded))
    np.testing.assert_array_equal(mine, theirs)
    assert_same_training(agent, loaded)


OTHERS = ["imputed", "reward-map", "imputed-map", "motivated", "signed", "ipw", "placebo"]


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("observations", ["dict", "image", "table"])
def test_methods_learn_from_dictionaries_images_and_tables(method: str, observations: str) -> None:
    agent = routed_agent(observations, method=method)
    names = {ROUTES[route] for route in np.unique(agent.rollout_buffer.routes()).tolist()}
    assert "hidden" in names
    assert names & {"positive", "negative"}
    agent.deployed().predict(environment(agent).reset())


@pytest.mark.parametrize("method", ["routed", "imputed", "reward-map"])
def test_training_is_the_same_from_any_start_inside_a_dictionary(method: str) -> None:
    def trained_from(start: int) -> RoutedPPO:
        parts: dict[str, spaces.Space[Any]] = {
            "number": spaces.Discrete(3, start=start),
            "several": spaces.MultiDiscrete([2, 4], start=[0, -start]),
            "vector": VECTOR,
        }
        env = lanes(lambda: Sampled(spaces.Dict(parts)))
        chosen = settings_on("MotivationPolicy", policy_kwargs={"hidden_sizes": (8,)})
        return RoutedPPO("MotivationPolicy", env, method, **chosen).learn(64)

    assert_same_training(trained_from(5), trained_from(0))


class WithoutOptions(Sampled):
    """Its `reset` takes a seed and nothing else, as that of older environments."""

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Start an episode."""
        return super().reset(seed=seed)


def test_reset_may_take_no_options() -> None:
    agent = trained(RoutedPPO, WithoutOptions(), "MlpPolicy")
    assert_same_training(agent, trained(PPO, WithoutOptions(), "MlpPolicy"))
    overseen = SyncVectorEnv([lambda: PartialOversight(WithoutOptions())] * LANES)
    assert trained(RoutedPPO, overseen, "MlpPolicy").num_timesteps > 0


def test_lanes_are_found_as_in_dummy_vec_env() -> None:
    single: Any = environment(trained(RoutedPPO, Sampled(), "MlpPolicy"))
    native = VectorEnvAdapter(SyncVectorEnv([Sampled] * LANES))
    several: Any = VecMonitor(native)
    for env, count in ((single, 1), (several, LANES)):
        assert [type(each.unwrapped) for each in env.envs] == [Sampled] * count
    assert not hasattr(VectorEnvAdapter(partial_grid_vec(LANES)), "envs")


@pytest.mark.parametrize("space", ["dict", "vector"])
def test_flag_is_seen_in_an_observation_of_any_kind(space: str) -> None:
    def overseen() -> gym.Env[Any, Any]:
        return PartialOversight(Sampled(OBSERVATIONS[space]), flag="visible")

    settings = settings_on("MotivationPolicy", policy_kwargs={"hidden_sizes": (8,)})
    agent = RoutedPPO("MotivationPolicy", lanes(overseen), **settings).learn(64)
    shown: Any = environment(agent).reset()
    flags = shown["observed"] if isinstance(shown, dict) else shown[:, -1]
    assert set(flags.ravel().tolist()) <= {0, 1}


@pytest.mark.parametrize(
    ("given", "message", "kind"),
    [
        ({"clip_range_vf": -0.2}, "clip_range_vf -0.2 was given", AssertionError),
        ({"n_steps": 1, "batch_size": 2}, "must be greater than 1", AssertionError),
        ({"policy": "CnnPolicy"}, "You should use NatureCNN only with images", AssertionError),
        ({"policy": "MultiInputPolicy"}, "reads observations of a Dict", ValueError),
        ({"env": Sampled(OBSERVATIONS["dict"])}, "must use `MultiInputPolicy`", ValueError),
        (
            {"env": Sampled(OBSERVATIONS["dict"]), "policy": ActorCriticPolicy},
            "use MultiInputPolicy or MotivationPolicy",
            ValueError,
        ),
    ],
)
def test_what_sb3_refuses_is_refused_in_one_line(
    given: dict[str, Any], message: str, kind: type[Exception]
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        RoutedPPO(**{"policy": "MlpPolicy", "env": "CartPole-v1", "method": "naive", **given})
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, kind)  # SB3's own, which its users catch


def test_environment_of_another_number_of_lanes_is_refused_as_in_sb3() -> None:
    agent = trained(RoutedPPO, Sampled(), "MlpPolicy")
    with pytest.raises(AssertionError, match="number of environments to be set is different"):
        agent.set_env(lanes(Sampled))


class Silent(VecEnv):
    """Gives an info to each lane at the end of an episode, and no infos elsewhere."""

    render_mode = None

    def __init__(self) -> None:
        self.steps = 0
        super().__init__(LANES, VECTOR, ACTIONS["discrete"])

    def reset(self) -> Any:  # noqa: ANN401
        """Start an episode of 5 steps."""
        return np.zeros((LANES, 3), np.float32)

    def step_async(self, actions: Any) -> None:  # noqa: ANN401
        """Take no notice of the actions."""

    def step_wait(self) -> Any:  # noqa: ANN401
        """Go on."""
        self.steps += 1
        done = self.steps % 5 == 0
        infos = [{"TimeLimit.truncated": True} for _ in range(LANES)] if done else []
        return self.reset(), np.ones(LANES, np.float32), np.full(LANES, done), infos

    def close(self) -> None:
        """Close nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ANN401
        """Return an attribute."""
        return [getattr(self, attr_name)] * LANES

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ANN401
        """Set nothing."""

    def env_method(self) -> list[Any]:  # type: ignore[override]
        """Call nothing, as VecEnvs do that never have to."""
        return []

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:  # noqa: ANN401
        """Return that no lane is wrapped."""
        return [False] * LANES


def test_vec_env_may_give_no_infos_where_nothing_happened() -> None:
    one, other = (trained(kind, VecMonitor(Silent()), "MlpPolicy") for kind in (PPO, RoutedPPO))
    assert_same_training(one, other)


@pytest.mark.filterwarnings("error")
def test_plain_ppo_warns_of_nothing() -> None:
    agent = trained(RoutedPPO, VecMonitor(lanes(lambda: gym.make("CartPole-v1"))), "MlpPolicy")
    evaluate_policy(agent, environment(agent), n_eval_episodes=1)


def test_advice_for_tuples_works() -> None:
    inside = Sampled(spaces.Tuple([VECTOR, spaces.Discrete(3)]))
    with pytest.raises(ValueError, match=r"in a Dict with gymnasium.wrappers.TransformObservation"):
        trained(RoutedPPO, inside, "MlpPolicy")
    named = spaces.Dict({"first": VECTOR, "second": spaces.Discrete(3)})
    env = gym.wrappers.TransformObservation(
        inside, lambda seen: dict(zip(named, seen, strict=True)), named
    )
    assert trained(RoutedPPO, env, "MultiInputPolicy").num_timesteps > 0


def test_lanes_of_gymnasium_are_evaluated_whatever_they_show() -> None:
    agent = routed_agent("dict")
    for mode in AutoresetMode:
        native = SyncVectorEnv([sampled("dict")] * LANES, autoreset_mode=mode)
        _, lengths = agents.evaluate_policy(
            agent, native, n_eval_episodes=4, return_episode_rewards=True, warn=False
        )
        assert all(3 <= length <= 9 for length in lengths)
