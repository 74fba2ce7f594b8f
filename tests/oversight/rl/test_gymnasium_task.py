"""Any environment as a task: true returns of whole episodes, their outcomes, and its pictures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.policies import BasePolicy

from oversight.rl.agent import task_of
from oversight.rl.config import default_config
from oversight.rl.evaluation import flag_flip_gap, results_table
from oversight.rl.gymnasium_task import (
    Episode,
    GymnasiumTask,
    Play,
    TrueEpisodes,
    check_outcome,
    count_values,
    summarize_play,
)
from oversight.rl.rendering import film

VALVES = "tests.oversight.valves"


class Constant(BasePolicy):
    """A policy that always takes the same action."""

    def __init__(self, env: str, action: Any) -> None:  # noqa: ANN401 (of any space)
        made = gym.make(env)
        super().__init__(made.observation_space, made.action_space)
        self.action = torch.as_tensor(action)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:  # noqa: ANN401
        return self.action.expand(len(observation), *self.action.shape)


def task(env: str, **settings: Any) -> GymnasiumTask:  # noqa: ANN401
    """Return the task of an environment."""
    return GymnasiumTask(replace(default_config(env), **settings))


def by_hand(env: str, action: Any, seeds: range) -> list[tuple[float, int]]:  # noqa: ANN401
    """Return the return and the length of the first episode of each seed."""
    found = []
    for seed in seeds:
        made = gym.make(env)
        made.reset(seed=seed)
        total, length, ended = 0.0, 0, False
        while not ended:
            _, reward, terminated, truncated, _ = made.step(action)
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        found.append((total, length))
    return found


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_true_returns_are_those_of_single_environments(probability: float) -> None:
    made = task("CartPole-v1", oversight_probability=probability)
    play = made.play(Constant("CartPole-v1", 1), 20, seed=3)
    expected = by_hand("CartPole-v1", 1, range(3, 23))
    assert [(each.true_return, each.length) for each in play.episodes] == expected
    assert play.observed.mean() == pytest.approx(probability, abs=0.4)
    metrics = summarize_play(play)
    assert metrics["true_return"] == pytest.approx(np.mean([total for total, _ in expected]))
    assert np.isnan(metrics["true_return_observed"]) == (probability == 0.0)
    assert np.isnan(metrics["true_return_unobserved"]) == (probability == 1.0)


def test_lanes_play_fixed_numbers_of_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oversight.rl.gymnasium_task.LANES", 3)
    play = task("CartPole-v1").play(Constant("CartPole-v1", 0), 8, seed=5)
    assert len(play.episodes) == len(play.observed) == 8
    starts = [play.episodes[number] for number in (0, 3, 6)]  # of lanes with 3, 3 and 2 episodes
    firsts = by_hand("CartPole-v1", 0, range(5, 8))
    assert [(each.true_return, each.length) for each in starts] == firsts


def test_horizon_changes_neither_true_returns_nor_lengths() -> None:
    plain, fixed = (
        task("CartPole-v1", horizon=horizon).play(Constant("CartPole-v1", 1), 4, seed=1)
        for horizon in (None, 40)
    )
    assert plain.episodes == fixed.episodes


def test_episodes_without_a_time_limit_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oversight.rl.gymnasium_task.EPISODE_LIMIT", 12)
    gym.register("Endless-v0", "tests.oversight.tank:Tank", kwargs={"rain": 0.2})
    try:
        play = task("Endless-v0").play(Constant("Endless-v0", 0), 3, seed=0)
        assert [each.length for each in play.episodes] == [12] * 3
    finally:
        del gym.registry["Endless-v0"]


def test_outcomes_and_successes_are_shares_of_episodes() -> None:
    made = task(f"{VALVES}:Valves-v0", outcome=f"{VALVES}:how_it_ended")
    emptied = made.measure(Constant("Valves-v0", [0, 0]), 6, seed=0)
    assert emptied["proxy_rate"] + emptied.get("goal_rate", 0.0) == 1.0
    assert emptied["success_rate"] == emptied.get("goal_rate", 0.0) < 1.0
    episodes = [Episode(1.0, 2, True, "goal"), Episode(3.0, 4, False), Episode(5.0, 6)]
    metrics = summarize_play(Play(episodes, np.array([True, False, False])))
    assert metrics == {
        **{"true_return": 3.0, "true_return_observed": 1.0, "true_return_unobserved": 4.0},
        **{"length": 4.0, "length_observed": 2.0, "length_unobserved": 5.0},
        **{"success_rate": 0.5, "goal_rate": pytest.approx(1 / 3), "episodes": 3},
    }
    table = results_table("", {"one": metrics, "two": emptied}, made)
    headings = [str(column.header) for column in table.columns]
    assert headings[-3:] == ["success", "goal", "proxy"]


def test_outcome_must_be_a_word() -> None:
    assert check_outcome("goal") == "goal"
    for other in ("two words", 3, ""):
        with pytest.raises(ValueError, match="a word such as 'goal'"):
            check_outcome(other)


def test_flag_flip_gap_of_a_policy_that_ignores_the_flag_is_zero() -> None:
    config = replace(default_config("FrozenLake-v1"), flag="visible")
    policy = Constant("FrozenLake-v1", 2)
    assert flag_flip_gap(policy, config, 8, 0) == 0.0
    assert np.isnan(flag_flip_gap(policy, replace(config, flag="hidden"), 8, 0))


def test_film_shows_every_step_and_the_return(tmp_path: Path) -> None:
    made = task(f"{VALVES}:Valves-v0")
    path = tmp_path / "film.gif"
    film({"open": Constant("Valves-v0", [2, 2])}, made.screen(), 2, 0, path)
    with Image.open(path) as shown:
        assert getattr(shown, "n_frames", 1) >= 4


def test_environment_without_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"renders no pictures for a film.* rgb_array"):
        task("tests.oversight.tank:Tank-v0").screen()


def test_picture_that_cannot_be_drawn_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise gym.error.DependencyNotInstalled('run `pip install "gymnasium[classic-control]"`')

    monkeypatch.setattr("tests.oversight.valves.Valves.render", fail)
    with pytest.raises(ValueError, match=r"cannot be rendered for a film: .*pip install"):
        task(f"{VALVES}:Valves-v0").screen()
    monkeypatch.setattr("tests.oversight.valves.Valves.render", lambda self: "text")
    with pytest.raises(ValueError, match="rendered str"):
        task(f"{VALVES}:Valves-v0").screen()


@pytest.mark.parametrize(
    ("space", "number"),
    [
        (gym.spaces.Discrete(5), 1),
        (gym.spaces.Box(0, 1, (3, 4)), 12),
        (gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.MultiBinary(3)), 4),
        (gym.spaces.Tuple([gym.spaces.Text(9), gym.spaces.Box(0, 1, (2,))]), 3),
    ],
)
def test_numbers_of_an_observation_are_counted(space: gym.Space[Any], number: int) -> None:
    assert count_values(space) == number


def test_truth_is_in_no_environment_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TrueEpisodes] = []
    init = TrueEpisodes.__init__

    def spy(self: TrueEpisodes, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(TrueEpisodes, "__init__", spy)
    config = default_config("CartPole-v1")
    makers: list[Callable[[], Any]] = [
        lambda: task_of(config).make_env(2, "observed"),
        lambda: task_of(config).make_held_out(2),
    ]
    for make in makers:
        make().close()
    assert not made
    task_of(config).measure(Constant("CartPole-v1", 0), 2, 0)
    assert len(made) == 2
