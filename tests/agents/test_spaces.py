"""Spaces: what reaches the environment, what the policy reads, and which spaces are refused."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import METHODS, MotivationPolicy, RoutedPPO
from agents.spaces import lane_of
from tests.agents.factories import assert_same_training, small_agent

VECTOR = spaces.Box(-1, 1, (3,), np.float32)


class Recorder(gym.Env[Any, Any]):
    """Records actions; observations are drawn from a seed, and all ends are observed."""

    def __init__(self, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observations, actions
        self.taken: list[Any] = []
        observations.seed(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode of 5 steps."""
        self.left = 5
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Pay by the number of the action, counted from the lowest."""
        self.taken.append(action)
        self.left -= 1
        start = getattr(self.action_space, "start", 0)
        pays = float(np.sum(action) - np.sum(start))
        info = {"observed": self.left == 0, "observed_reward": pays}
        return self.observation_space.sample(), pays, self.left == 0, False, info


def agent_on(env: Any, method: str = "routed", **settings: Any) -> RoutedPPO:  # noqa: ANN401
    return small_agent(method, env, n_steps=32, batch_size=32, **settings)


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: DummyVecEnv([lambda: env])])
def test_environment_gets_actions_from_the_start_of_a_discrete_space(wrap: Any) -> None:  # noqa: ANN401
    env = Recorder(VECTOR, spaces.Discrete(2, start=10))
    agent = agent_on(wrap(env)).learn(64)
    assert {int(action) for action in env.taken} == {10, 11}
    assert all(env.action_space.contains(action) for action in env.taken)
    observations = np.zeros((8, 3), np.float32)
    for acting in (agent, agent.policy, agent.deployed()):
        for deterministic in (False, True):
            actions, _ = acting.predict(observations, deterministic=deterministic)
            assert set(actions.tolist()) <= {10, 11}
            assert actions.dtype == np.int64
            assert acting.predict(observations[0])[0].tolist() in (10, 11)


@pytest.mark.parametrize(
    "method",
    [
        name
        for name, each in METHODS.items()
        if each.reward == "observed" and not each.network.score_maps
    ],
)
def test_training_is_the_same_from_any_start(method: str) -> None:
    def trained(start: int) -> RoutedPPO:
        env = Recorder(spaces.Discrete(4, start=5 * start), spaces.Discrete(3, start=-start))
        return agent_on(env, method).learn(64)

    assert_same_training(trained(1), trained(0))


def test_training_is_the_same_from_any_start_of_several_numbers() -> None:
    def trained(start: list[int]) -> RoutedPPO:
        env = Recorder(spaces.MultiDiscrete([4, 3], start=start), spaces.Discrete(2))
        return agent_on(env).learn(64)

    assert_same_training(trained([5, -1]), trained([0, 0]))


@pytest.mark.parametrize("policy", ["MotivationPolicy", "MlpPolicy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_integer_actions_are_rounded_to_the_dtype_of_the_space(policy: str, dtype: Any) -> None:  # noqa: ANN401
    env = Recorder(VECTOR, spaces.Box(0, 3, (2,), dtype))
    settings: dict[str, Any] = {"n_steps": 32, "batch_size": 32, "seed": 0, "device": "cpu"}
    agent = RoutedPPO(policy, env, "naive", **settings).learn(64)
    assert {action.dtype for action in env.taken} == {np.dtype(dtype)}
    assert {int(number) for action in env.taken for number in action} >= {0, 1, 2}
    assert agent.predict(np.zeros(3, np.float32))[0].dtype == dtype
    stored = agent.rollout_buffer.actions  # as they were drawn, since the loss reads them
    assert stored.dtype == np.float32
    assert (stored != np.rint(stored)).any()
    clipped: NDArray[Any] = np.rint(np.clip(stored[-1, 0], 0, 3))
    np.testing.assert_array_equal(env.taken[-1], clipped)


def test_switches_get_the_dtype_of_the_space() -> None:
    env = Recorder(VECTOR, spaces.MultiBinary(2))
    RoutedPPO("MlpPolicy", env, "naive", n_steps=32, batch_size=32, device="cpu").learn(32)
    assert {action.dtype for action in env.taken} == {np.dtype(np.int8)}


@pytest.mark.parametrize("policy", ["MotivationPolicy", "MlpPolicy"])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_continuous_actions_get_the_dtype_of_the_space(policy: str, dtype: Any) -> None:  # noqa: ANN401
    env = Recorder(VECTOR, spaces.Box(-0.1, 0.1, (2,), dtype))
    agent = RoutedPPO(policy, env, "naive", n_steps=32, batch_size=32, device="cpu").learn(32)
    assert all(env.action_space.contains(action) for action in env.taken)
    assert agent.predict(np.zeros(3, np.float32))[0].dtype == dtype


EMPTY = [spaces.Box(-1, 1, ()), spaces.Box(-1, 1, (0,)), spaces.Box(-1, 1, (2, 0))]
TABLE = spaces.MultiDiscrete(np.full((2, 2), 2))
NAMED = spaces.Dict({"mission": spaces.Text(3), "image": VECTOR})
GRAPH = spaces.Graph(VECTOR, None)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        *((space, "at least one axis and one value.*ReshapeObservation") for space in EMPTY),
        (spaces.Discrete(2**40), "at most 67,108,864 values.*Discrete.1099511627776.*use a Box"),
        (spaces.MultiDiscrete([2, 2**40]), "discrete observations may have at most"),
        (TABLE, r"MultiDiscrete space must have one axis.*FlattenObservation"),
        (spaces.Tuple([VECTOR]), "must be arrays.*FlattenObservation"),
        (NAMED, "must be arrays.*minigrid.wrappers.FlatObsWrapper"),
        (GRAPH, "must be arrays.*ObservationWrapper"),
        (spaces.Sequence(VECTOR), "must be arrays.*ObservationWrapper"),
    ],
    ids=str,
)
def test_observations_are_refused_in_one_line(space: spaces.Space[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        agent_on(Recorder(space, spaces.Discrete(2)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        *((space, "at least one axis and one value.*TransformAction") for space in EMPTY),
        (TABLE, "MultiDiscrete space must have one axis.*TransformAction"),
        (spaces.MultiBinary((2, 2)), "MultiBinary space must have one axis"),
        (spaces.Box(-np.inf, 1, (2,)), "finite bounds"),
        (spaces.Dict({"a": VECTOR}), "actions must lie in"),
        (spaces.Text(3), "actions must lie in"),
        (spaces.Discrete(2**40), "discrete actions may have at most 67,108,864 values"),
    ],
    ids=str,
)
@pytest.mark.parametrize("policy", ["MotivationPolicy", "MlpPolicy"])
def test_actions_are_refused_in_one_line(
    space: spaces.Space[Any], message: str, policy: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        RoutedPPO(policy, Recorder(VECTOR, space), "naive", n_steps=8, batch_size=8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "env",
    [
        Recorder(VECTOR, spaces.Discrete(2, start=10)),
        Recorder(VECTOR, spaces.MultiDiscrete([2, 2], start=[0, 1])),
        Recorder(spaces.Discrete(4, start=5), spaces.Discrete(2)),
    ],
)
def test_policies_of_sb3_are_refused_where_they_would_count_from_0(env: Recorder) -> None:
    with pytest.raises(ValueError, match=r"from 0, the environment has .*use MotivationPolicy"):
        RoutedPPO("MlpPolicy", env, "naive", n_steps=8, batch_size=8)


def test_loaded_agent_counts_from_the_start(tmp_path: Any) -> None:  # noqa: ANN401
    env = Recorder(spaces.Discrete(4, start=5), spaces.Discrete(2, start=10))
    agent = agent_on(env).learn(32)
    agent.save(tmp_path / "agent")
    loaded = RoutedPPO.load(tmp_path / "agent")
    assert isinstance(loaded.policy, MotivationPolicy)
    seen = np.array([5, 8])
    expected = agent.predict(seen, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(seen, deterministic=True)[0], expected)


def test_a_lane_is_copied_from_arrays_and_from_arrays_of_dictionaries() -> None:
    batched: dict[str, Any] = {"a": np.arange(6.0).reshape(3, 2), "b": {"c": np.arange(3)}}
    listed = np.empty(3, dtype=object)
    listed[1] = {"a": np.array([2.0, 3.0]), "b": {"c": 1}}
    for given in (batched, listed):
        one = lane_of(given, 1)
        assert one["a"].tolist() == [2.0, 3.0]
        assert int(one["b"]["c"]) == 1
        one["a"][:] = 9.0
    assert batched["a"][1].tolist() == listed[1]["a"].tolist() == [2.0, 3.0]
    assert lane_of(np.arange(3), 1).tolist() == 1
