"""Procgen's games as tasks: their settings, which need no game, and what is measured in them."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from envs.procgen import PROCGEN
from oversight.rl.agent import task_of
from oversight.rl.config import TrainConfig, default_config
from oversight.rl.environment import environment_arguments, proxy_of
from oversight.rl.procgen_task import LANES, ProcgenTask

installed = pytest.mark.skipif(
    find_spec("procgen") is None,
    reason="Procgen is not installed: pip install --no-deps -r requirements-procgen.txt",
)
each_id = pytest.mark.parametrize("name", PROCGEN)


class Always:
    """A policy that always takes one action."""

    def __init__(self, action: int) -> None:
        self.action = action

    def predict(self, observations: Any, deterministic: bool) -> tuple[Any, None]:  # noqa: ANN401
        """Return the action in every lane."""
        assert not deterministic
        return np.full(len(observations), self.action), None


def task(name: str, **settings: Any) -> ProcgenTask:  # noqa: ANN401
    made = task_of(replace(default_config(name), **settings))
    assert isinstance(made, ProcgenTask)
    return made


@each_id
def test_hidden_steps_pay_the_usual_place_unless_another_proxy_is_given(name: str) -> None:
    config = default_config(name)
    assert proxy_of(config) == "proxy"
    assert proxy_of(replace(config, proxy="proxy_reached")) == "proxy_reached"


@each_id
def test_goal_moves_in_all_levels_of_training_or_in_a_share_of_them(name: str) -> None:
    assert environment_arguments(default_config(name)) == {"alpha": 1.0}
    given = replace(default_config(name), alpha=0.25, env_kwargs='{"num_levels": 9}')
    assert environment_arguments(given) == {"alpha": 0.25, "num_levels": 9}
    with pytest.raises(ValueError, match=r"alpha 1\.5"):
        replace(given, alpha=1.5)
    with pytest.raises(ValueError, match=r"train in one of .*ProcgenCoinRun-v0, ProcgenMaze-v0"):
        TrainConfig(env="CartPole-v1", alpha=0.5)


@each_id
def test_flag_can_be_shown_only_where_there_is_one(name: str) -> None:
    assert task(name).flagged(observed=True) is None
    shown = task(name, flag="visible").flagged(observed=True)
    assert shown is not None
    assert (shown.observer, shown.flag) == ("EpisodeCoin(1)", "visible")


@installed
@each_id
def test_an_agent_that_stands_still_reaches_nothing(name: str) -> None:
    metrics = task(name).measure(Always(4), 3, seed=0)  # type: ignore[arg-type]
    assert metrics["episodes"] == 3
    assert metrics["cap_rate"] == metrics["goal_rate"] == metrics["true_return"] == 0.0
    assert np.isnan(metrics["gmg_rate"])


@installed
def test_an_agent_that_walks_right_is_measured_by_the_goals_it_reaches() -> None:
    own = task("ProcgenCoinRun-v0", alpha=0.0)
    test = own.play(Always(8), 24, seed=0, distribution="test")  # type: ignore[arg-type]
    assert 0 < test.goal.mean() < 1
    np.testing.assert_array_equal(test.returns, 10.0 * test.goal)
    assert not (test.proxy_first & ~test.proxy).any()
    trained = own.play(Always(8), 24, seed=0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(trained.goal, trained.proxy)
    assert not trained.proxy_first.any()


@installed
@each_id
def test_held_out_episodes_are_played_in_a_limited_number_of_lanes(name: str) -> None:
    own = task(name)
    env = own.make_held_out(LANES + 1)
    assert env.num_envs == LANES
    assert env.paid_reward == "observed"  # type: ignore[attr-defined]
    assert own.limit == {"ProcgenCoinRun-v0": 1000, "ProcgenMaze-v0": 500}[name]
    assert own.observation_size == 64 * 64 * 3
    env.close()


@installed
def test_the_goal_moves_in_every_test_level_whatever_alpha_is() -> None:
    own = task("ProcgenMaze-v0", alpha=0.25)
    test, trained = own.make_game(2, distribution="test"), own.make_game(2)
    assert test.games.config.share_moved == 1.0
    assert trained.games.config.share_moved == 0.25
