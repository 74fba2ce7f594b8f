"""The adapter in the three autoreset modes: the same episodes, and no data where there is none."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

import envs
from agents import VectorEnvAdapter
from envs.observers import StepCoin
from envs.wrappers import vector

LANES, STEPS = 4, 150
SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED
Make = Callable[[AutoresetMode], VectorEnv[Any, Any, Any]]
Transition = tuple[Any, float, bool, dict[str, Any]]


def grid() -> gym.Env[Any, Any]:
    return gym.make("PartialGrid-v0", horizon=12)


SINGLES: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "CartPole": lambda: gym.make("CartPole-v1"),
    "FrozenLake": lambda: gym.make("FrozenLake-v1"),
    "PartialGrid": grid,
}


def lanes_of_singles(name: str) -> Make:
    def single() -> gym.Env[Any, Any]:
        return envs.PartialOversight(SINGLES[name](), observer=StepCoin(0.3))

    return lambda mode: SyncVectorEnv([single] * LANES, autoreset_mode=mode)


def overseen_lanes(name: str) -> Make:
    def make(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
        lanes = SyncVectorEnv([SINGLES[name]] * LANES, autoreset_mode=mode)
        return vector.PartialOversight(lanes, observer=StepCoin(0.3))

    return make


CASES = {name: lanes_of_singles(name) for name in SINGLES} | {
    f"{name}, overseen as a vector": overseen_lanes(name) for name in SINGLES
}


def started(make: Make, mode: AutoresetMode) -> tuple[VectorEnvAdapter, Any]:
    env = VectorEnvAdapter(make(mode))
    env.seed(4)
    return env, env.reset()


@pytest.mark.parametrize("case", CASES)
def test_autoreset_disabled_equals_same_step(case: str) -> None:
    (ours, first), (theirs, expected) = (started(CASES[case], m) for m in (DISABLED, SAME))
    np.testing.assert_array_equal(first, expected)
    actions = np.random.default_rng(0).integers(2, size=(STEPS, LANES))
    ended = watched = 0
    for row in actions:
        one, other = ours.step(row), theirs.step(row)
        np.testing.assert_equal(one, other)
        assert one[1].dtype == other[1].dtype == np.float32
        ended += int(one[2].sum())
        watched += sum("episode" not in info for info in one[3] if info)
    assert min(ended, watched) > 10


def lane_by_lane(make: Make, mode: AutoresetMode, steps: int) -> list[list[Transition]]:
    """Return the real transitions of each lane, whose actions come from a stream of its own."""
    env, observations = started(make, mode)
    actions = np.random.default_rng(0).integers(2, size=(LANES, steps)).tolist()
    taken: list[list[Transition]] = [[] for _ in range(LANES)]
    for _ in range(steps):
        row = np.array([actions[lane][len(taken[lane])] for lane in range(LANES)])
        before = observations
        observations, rewards, dones, infos = env.step(row)
        for lane, info in enumerate(infos):
            if "resetting" in info:
                assert info == {"resetting": True}
                assert (rewards[lane], dones[lane]) == (0.0, False)
            else:
                taken[lane].append((before[lane], float(rewards[lane]), bool(dones[lane]), info))
    return taken


@pytest.mark.parametrize("case", CASES)
def test_next_step_has_the_same_steps_beside_those_that_reset(case: str) -> None:
    ours = lane_by_lane(CASES[case], NEXT, STEPS)
    theirs = lane_by_lane(CASES[case], SAME, STEPS)
    for one, other in zip(ours, theirs, strict=True):
        ends = sum(done for _, _, done, _ in one)
        assert ends > 1
        assert len(one) in (STEPS - ends, STEPS - ends + 1)
        np.testing.assert_equal(one, other[: len(one)])


def test_a_reset_forgets_that_lanes_were_to_be_reset() -> None:
    env, _ = started(CASES["FrozenLake"], NEXT)
    while not env.step(np.full(LANES, 2))[2].any():
        pass
    env.reset()
    assert not any("resetting" in info for info in env.step(np.zeros(LANES, int))[3])


def test_native_vector_environments_of_gymnasium_reset_in_the_next_step() -> None:
    venv = gym.make_vec("CartPole-v1", LANES, vectorization_mode="vector_entry_point")
    assert venv.metadata["autoreset_mode"] is NEXT
    env = VectorEnvAdapter(venv)
    env.reset()
    lengths: list[int] = []
    steps: NDArray[np.int64] = np.zeros(LANES, dtype=np.int64)
    for _ in range(STEPS):
        _, rewards, _, infos = env.step(np.zeros(LANES, dtype=np.int64))
        for lane, info in enumerate(infos):
            reset = "resetting" in info
            assert rewards[lane] == (not reset)
            steps[lane] = 0 if reset else steps[lane] + 1
            if "episode" in info:
                assert info["episode"] == {"r": float(steps[lane]), "l": steps[lane]}
                lengths.append(info["episode"]["l"])
    assert len(lengths) > 20


def test_observations_that_are_overwritten_do_not_change_the_last_one() -> None:
    def shared(mode: AutoresetMode) -> SyncVectorEnv:
        return SyncVectorEnv([SINGLES["CartPole"]] * LANES, autoreset_mode=mode, copy=False)

    env, _ = started(shared, DISABLED)
    pole_has_fallen = 0.2
    last: list[Any] = []
    for _ in range(STEPS):
        _, _, dones, infos = env.step(np.zeros(LANES, int))
        last += [infos[lane]["terminal_observation"] for lane in np.flatnonzero(dones)]
    assert len(last) > 10
    assert all(abs(observation[2]) > pole_has_fallen for observation in last)


def test_an_environment_must_say_when_it_resets() -> None:
    venv = CASES["CartPole"](SAME)
    venv.metadata = {**venv.metadata, "autoreset_mode": "same"}
    with pytest.raises(ValueError, match=r"must be one of .*SAME_STEP.*, got 'same'"):
        VectorEnvAdapter(venv)


@pytest.mark.parametrize(
    "space",
    [gym.spaces.Dict({"a": gym.spaces.Discrete(2)}), gym.spaces.Tuple([gym.spaces.Discrete(2)])],
)
def test_observations_that_are_not_arrays_are_refused(space: gym.spaces.Space[Any]) -> None:
    class Nested(gym.Env[Any, Any]):
        observation_space, action_space = space, gym.spaces.Discrete(2)

    with pytest.raises(ValueError, match=r"must be arrays.*FlattenObservation"):
        VectorEnvAdapter(SyncVectorEnv([Nested], autoreset_mode=SAME))
