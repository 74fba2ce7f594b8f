"""The grid's own oversight, as an observer and a proxy, gives the grid's rewards and infos."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs import GridEnv, GridVectorEnv, PartialOversight
from envs.gridworld import OVERSEEN, any_terminal
from envs.wrappers import vector
from tests.envs.same import assert_same
from tests.envs.wrappers.games import frozen, play

RULES: dict[str, Any] = {"size": 4, "horizon": 20, "oversight_probability": 0.4}
WATCHED: dict[str, Any] = {"observer": OVERSEEN, "proxy": any_terminal}


@pytest.mark.parametrize("reward", ["observed", "proxy"])
def test_the_single_wrapper_equals_the_grid(reward: Any) -> None:  # noqa: ANN401
    ours = PartialOversight(GridEnv(**RULES, reward="true"), **WATCHED, reward=reward)
    given = play(ours, 4000)
    assert frozen(given) == frozen(play(GridEnv(**RULES, reward=reward), 4000))
    paid = {(step[1], step[4]["observed"]) for step in given if len(step) == 5}
    punished = (1.0 if reward == "proxy" else -1.0, True)
    assert paid == {(0.0, False), (1.0, False), (1.0, True), punished}


@pytest.mark.parametrize("reward", ["observed", "proxy"])
def test_the_native_vector_wrapper_equals_the_grid(reward: Any) -> None:  # noqa: ANN401
    inner = GridVectorEnv(32, **RULES, reward="true")
    ours = vector.PartialOversight(inner, **WATCHED, reward=reward)
    theirs = GridVectorEnv(32, **RULES, reward=reward)
    assert frozen(ours.reset(seed=5)) == frozen(theirs.reset(seed=5))
    for actions in np.random.default_rng(0).integers(4, size=(2000, 32)):
        assert frozen(ours.step(actions)) == frozen(theirs.step(actions))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vectors_of_singles_equal_the_grid_in_every_mode(mode: AutoresetMode) -> None:
    def lanes(reward: Any) -> SyncVectorEnv:  # noqa: ANN401
        return SyncVectorEnv([lambda: GridEnv(**RULES, reward=reward)] * 4, autoreset_mode=mode)

    ours, theirs = vector.PartialOversight(lanes("true"), **WATCHED), lanes("observed")
    assert_same(ours.reset(seed=5), theirs.reset(seed=5))
    for actions in np.random.default_rng(0).integers(4, size=(1000, 4)):
        given = ours.step(actions)
        assert_same(given, theirs.step(actions))
        if mode is AutoresetMode.DISABLED and (ended := given[2] | given[3]).any():
            masks = [{"reset_mask": ended.copy()} for _ in range(2)]
            assert_same(ours.reset(options=masks[0]), theirs.reset(options=masks[1]))


def test_observations_of_another_game_are_refused() -> None:
    env = PartialOversight(gym.make("CartPole-v1"), **WATCHED)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="OVERSEEN reads planes"):
        env.step(0)
