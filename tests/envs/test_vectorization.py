"""Vector environments of any id: episodes with seeds of their own, and states by replay."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from envs.registration import make_truthful
from envs.vectorization import (
    NOT_REPLAYED,
    Replayed,
    SeededEpisodes,
    checksum,
    restorable,
    vectorize,
)
from envs.wrappers import FixedHorizon

LANES = 3
LANES_OF: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "Discrete observations": partial(make_truthful, "FrozenLake-v1"),
    "flattened Tuples": partial(make_truthful, "Blackjack-v1"),
    "continuous actions": partial(make_truthful, "Pendulum-v1", max_episode_steps=7),
    "MultiDiscrete actions": partial(make_truthful, "tests.oversight.valves:Valves-v0"),
    "a fixed horizon": lambda: FixedHorizon(make_truthful("CartPole-v1"), 30),
    "arguments": partial(make_truthful, "FrozenLake-v1", {"map_name": "8x8"}),
}
MAKERS: dict[str, Callable[[], VectorEnv[Any, Any, Any]]] = {
    **{name: partial(vectorize, make, LANES) for name, make in LANES_OF.items()},
    "native lanes": lambda: restorable(gym.make_vec("CartPole-v1", LANES)),
    "processes": partial(vectorize, LANES_OF["Discrete observations"], 2, processes=True),
}


def play(env: VectorEnv[Any, Any, Any], actions: list[Any]) -> list[Any]:
    """Return what an environment shows and pays for some actions."""
    shown = []
    for each in actions:
        observations, rewards, terminated, truncated, _ = env.step(each)
        shown += [observations.copy(), rewards, terminated, truncated]
    return shown


@pytest.mark.parametrize("name", MAKERS)
def test_restored_lanes_go_on_as_before(name: str) -> None:
    env, other = MAKERS[name](), MAKERS[name]()
    env.action_space.seed(1)
    actions = [env.action_space.sample() for _ in range(60)]
    env.reset(seed=5)
    play(env, actions[:33])
    state = env.get_state()  # type: ignore[attr-defined]
    expected = play(env, actions[33:])
    other.reset(seed=99)
    other.set_state(state)  # type: ignore[attr-defined]
    for one, two in zip(expected, play(other, actions[33:]), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    env.close()
    other.close()


def test_state_before_the_first_step_is_that_of_the_reset() -> None:
    for make in (MAKERS["native lanes"], MAKERS["continuous actions"]):
        env, other = make(), make()
        first, _ = env.reset(seed=5)
        other.reset(seed=6)
        other.set_state(env.get_state())  # type: ignore[attr-defined]
        action = env.action_space.sample()
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])
        assert first.shape[0] == LANES


def test_lanes_reset_alone_are_restored() -> None:
    env, other = (restorable(gym.make_vec("CartPole-v1", LANES)) for _ in range(2))
    from agents.lanes import lane_by_lane  # noqa: PLC0415 (environments import no agents)

    lanes = [lane_by_lane(each) for each in (env, other)]
    assert lanes[0] is not None
    assert lanes[1] is not None
    lanes[0].reset(seed=3)
    mask = np.array([True, False, True])
    lanes[0].step(np.zeros(LANES, dtype=np.int64))
    shown, _ = lanes[0].reset(options={"reset_mask": mask.copy()})
    lanes[1].reset(seed=4)
    lanes[1].set_state(env.get_state())  # type: ignore[attr-defined]
    ones = np.ones(LANES, dtype=np.int64)
    assert shown.shape == (LANES, 4)
    np.testing.assert_array_equal(lanes[0].step(ones)[0], lanes[1].step(ones)[0])


def test_episode_is_a_function_of_its_seed_and_number() -> None:
    starts = []
    for length in (1, 5):
        env = SeededEpisodes(make_truthful("CartPole-v1"))
        shown = [env.reset(seed=7)[0]]
        for _ in range(3):
            for _ in range(length):
                env.step(0)
            shown.append(env.reset()[0])
        starts.append(np.stack(shown))
    np.testing.assert_array_equal(starts[0], starts[1])
    assert len(np.unique(starts[0], axis=0)) == 4
    np.testing.assert_array_equal(starts[0][0], gym.make("CartPole-v1").reset(seed=7)[0])


def test_environment_with_a_hidden_state_is_refused() -> None:
    class Counting(gym.ObservationWrapper[Any, Any, Any]):
        """Adds the number of steps since it was made, which no seed resets."""

        count = 0.0

        def observation(self, observation: Any) -> Any:  # noqa: ANN401
            self.count += 1
            return observation + np.float32(self.count)

    env = vectorize(lambda: Counting(make_truthful("CartPole-v1")), 2)
    env.reset(seed=0)
    env.step(np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="let it draw all random numbers from the seed of reset"):
        env.set_state(env.get_state())  # type: ignore[attr-defined]
    assert "cannot be restored" in NOT_REPLAYED


def test_environments_that_keep_their_state_are_left_alone() -> None:
    grid = gym.make_vec("PartialGrid-v0", 2)
    assert restorable(grid) is grid
    assert isinstance(restorable(gym.make_vec("CartPole-v1", 2)), Replayed)


def test_native_lanes_share_one_seed() -> None:
    env: Any = restorable(gym.make_vec("CartPole-v1", 2))
    with pytest.raises(ValueError, match="one number for all lanes"):
        env.reset(seed=[1, 2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros(2), np.ones(2)),
        ({"a": np.zeros(2), "b": "go"}, {"a": np.zeros(2), "b": "stop"}),
        ((1, np.zeros(1)), (1, np.ones(1))),
    ],
)
def test_checksum_tells_observations_of_every_kind_apart(one: Any, other: Any) -> None:  # noqa: ANN401
    assert checksum(one) == checksum(one)
    assert checksum(one) != checksum(other)
