"""NormalizeObservedReward for vector environments: one scale for all lanes, in every mode."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import NormalizeReward
from numpy.typing import NDArray

from envs import EpisodeCoin, NormalizeObservedReward, partial_grid_vec
from envs.observers import StepCoin
from envs.wrappers import vector
from tests.envs.wrappers.environment_factories import GAMES
from tests.envs.wrappers.test_normalize_observed_reward import GAMMA, make_overseen, slow_scale

LANES = 5
SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED


def one_lane(game: str, mode: AutoresetMode, inside: bool) -> VectorEnv[Any, Any, Any]:
    if inside:
        return SyncVectorEnv([lambda: make_overseen(game)], autoreset_mode=mode)
    lanes = SyncVectorEnv([GAMES[game]], autoreset_mode=mode)
    return vector.PartialOversight(lanes, observer=EpisodeCoin(0.5) & StepCoin(0.7))


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("game", ["CartPole", "FrozenLake"])
def test_one_lane_equals_the_single_wrapper(game: str, mode: AutoresetMode, inside: bool) -> None:
    single = NormalizeObservedReward(make_overseen(game), gamma=GAMMA)
    lanes = vector.NormalizeObservedReward(one_lane(game, mode, inside), gamma=GAMMA)
    single.reset(seed=1)
    lanes.reset(seed=1)
    single.action_space.seed(0)
    for _ in range(200):
        action = single.action_space.sample()
        _, reward, terminated, truncated, _ = single.step(action)
        rewards = lanes.step(np.array([action]))[1]
        assert (rewards[0], lanes.scale) == (reward, single.scale)
        if terminated or truncated:
            single.reset()
            if mode is NEXT:
                assert lanes.step(np.array([action]))[1] == [0.0]
            elif mode is DISABLED:
                lanes.reset(options={"reset_mask": np.array([True])})
    np.testing.assert_equal(vars(lanes.returns), vars(single.returns))


def test_all_lanes_share_one_scale() -> None:
    def make() -> VectorEnv[Any, Any, Any]:
        lanes = SyncVectorEnv([GAMES["CartPole"]] * 3, autoreset_mode=DISABLED)
        return vector.PartialOversight(lanes, observer=StepCoin(0.5))

    env, raw = vector.NormalizeObservedReward(make(), gamma=GAMMA), make()
    env.reset(seed=0), raw.reset(seed=0)
    total, sums = [0.0] * 3, list[float]()
    for row in np.random.default_rng(0).integers(2, size=(100, 3)):
        ours, theirs = env.step(row), raw.step(row)
        for lane in np.flatnonzero(theirs[4]["observed"]):
            total[lane] = GAMMA * total[lane] + theirs[4]["observed_reward"][lane]
            sums.append(total[lane])
        np.testing.assert_allclose(ours[1], theirs[1] / slow_scale(sums))
        if (ended := theirs[2] | theirs[3]).any():
            total = [0.0 if over else sum_ for over, sum_ in zip(ended, total, strict=True)]
            for each in (env, raw):
                each.reset(options={"reset_mask": ended.copy()})


def pendulums(probability: float) -> VectorEnv[Any, Any, Any]:
    lanes = SyncVectorEnv([GAMES["Pendulum"]] * 16, autoreset_mode=SAME)
    return vector.PartialOversight(lanes, observed_probability=probability)


def played(env: Any, steps: int = 1000) -> Any:  # noqa: ANN401
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-2, 2, (steps, 16, 1)).astype(np.float32)
    for row in actions:
        env.step(row)
    return env


def test_scale_does_not_depend_on_how_much_is_observed() -> None:
    ours = {p: played(vector.NormalizeObservedReward(pendulums(p))).scale for p in (0.1, 1.0)}
    theirs = {
        p: float(np.sqrt(played(NormalizeReward(pendulums(p))).return_rms.var)) for p in (0.1, 1.0)
    }
    # of 640 episodes a tenth is observed; a deviation of 64 has an error of 1 / sqrt(128), or 9%
    assert ours[0.1] == pytest.approx(ours[1.0], rel=0.2)
    assert theirs[0.1] < 0.7 * theirs[1.0]
    assert ours[1.0] == pytest.approx(theirs[1.0], rel=0.01)


def walk(env: Any, seed: int) -> list[NDArray[np.float64]]:  # noqa: ANN401
    actions = np.random.default_rng(seed).integers(4, size=(100, LANES))
    return [env.step(row)[1] for row in actions]


def test_environment_continues_when_its_state_is_restored() -> None:
    def make() -> vector.NormalizeObservedReward:
        return vector.NormalizeObservedReward(partial_grid_vec(LANES, oversight_probability=0.5))

    env, other = make(), make()
    env.reset(seed=0)
    walk(env, 0)
    state = env.get_state()
    expected = walk(env, 1)
    other.reset(seed=9)
    other.set_state(state)
    np.testing.assert_array_equal(walk(other, 1), expected)
    assert env.scale != 1.0
    with pytest.raises(ValueError, match=r"observed_return.* of shape \(5,\)"):
        other.set_state({**state, "observed_return": np.zeros(2)})
