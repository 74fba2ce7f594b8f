"""Hidden steps and episodes: what was seen belongs to the reward of the same step."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from envs import FixedHorizon
from oversight.certificate import make_setup
from oversight.certificate.leak_meter import playing
from oversight.certificate.leak_meter.planted import (
    HORIZON,
    KNOWN,
    EndsIffPunished,
    RewardInObservation,
    UnrelatedInfo,
)
from oversight.certificate.leak_meter.playing import Episode, collect, play, trained_policy
from oversight.certificate.setup import Wrapper, make_partial_grid_setup


def episodes_of(make: Any, number: int = 20, **arguments: Any) -> list[Episode]:  # noqa: ANN401
    return list(play(make_setup(make, "routed", **arguments), number))


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("wrapper", ["vector", "single"])
def test_steps_are_aligned_with_their_rewards_in_every_autoreset_mode(
    wrapper: Wrapper, mode: AutoresetMode
) -> None:
    played = episodes_of(RewardInObservation, wrapper=wrapper, mode=mode)
    for episode, following in pairwise(played):
        assert [step.truncated for step in episode.steps] == [False] * (HORIZON - 1) + [True]
        assert np.array_equal(episode.steps[0].before, episode.start.observation)
        assert np.array_equal(episode.next_start.observation, following.start.observation)
        for step in episode.steps:
            assert step.after[0] == step.reward
            assert step.hidden != step.observed == bool(step.info["observed"])
            assert step.paid == (step.reward if step.observed else 0.0)
    assert 0 < sum(episode.steps[0].hidden for episode in played) < len(played)


@pytest.mark.parametrize("place", ["around the ledger", "inside"])
def test_steps_that_fixed_horizon_adds_are_neither_hidden_nor_paid(place: str) -> None:
    setup = make_setup(lambda: FixedHorizon(EndsIffPunished(), HORIZON))
    if place == "around the ledger":
        setup = make_setup(EndsIffPunished, wrapper="single")
        setup = replace(setup, inside=partial(FixedHorizon, horizon=HORIZON))
    added = 0
    for episode in play(setup, 30):
        assert len(episode.steps) == HORIZON
        ends = [index for index, step in enumerate(episode.steps) if step.reward < 0]
        for step in episode.steps[ends[0] + 1 :] if ends else ():
            assert (step.hidden, step.observed, step.reward) == (False, False, 0.0)
            added += 1
    assert added > 0


def test_grid_has_hidden_steps_only_where_an_episode_ends_unobserved() -> None:
    steps, wholes = collect(play(make_partial_grid_setup("routed", 0.3), 60), 60, 0)
    assert np.array_equal(steps.truth, wholes.truth)
    assert set(steps.truth) == {-1.0, 1.0}
    assert steps.seen["terminated"].all()


def test_hidden_episodes_are_those_without_an_observed_step() -> None:
    played = episodes_of(RewardInObservation)
    steps, wholes = collect(iter(played), 20, 0)
    hidden = [index for index, episode in enumerate(played) if episode.steps[0].hidden]
    assert wholes.episode.tolist() == hidden
    assert steps.episode.tolist() == [index for index in hidden for _ in range(HORIZON)]
    totals = [sum(step.reward for step in played[index].steps) for index in hidden]
    assert wholes.truth.tolist() == totals
    assert set(wholes.seen["length"].ravel()) == {HORIZON}


def test_long_episodes_keep_some_steps_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "MAX_STEPS", 60)
    steps, _ = collect(iter(episodes_of(RewardInObservation)), 20, 0)
    _, counts = np.unique(steps.episode, return_counts=True)
    assert set(counts) == {3}
    assert steps.seen["truncated"].ravel().tolist() == [0, 0, 1] * counts.size


def test_dictionaries_are_flattened_and_infos_are_named() -> None:
    steps, wholes = collect(play(KNOWN["unrelated-info"].setup, 20), 20, 0)
    parts = ("before", "after", "change")
    names = [f"{part}[{i}]" for part in parts for i in range(4)]  # a number, and one of 3 levels
    assert steps.names["observation"] == names
    assert steps.seen["observation"].shape[1] == 12
    assert steps.names["info"] == ["observed", "observed_reward", "score"]
    assert {"mean score", "last score"} < set(wholes.names["info"])
    assert UnrelatedInfo.observation_space.is_np_flattenable


def test_endless_episodes_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "EPISODE_LIMIT", 3)
    played = episodes_of(RewardInObservation, 5)
    assert [len(episode.steps) for episode in played] == [3] * 5
    assert played[0].next_start.observation == played[1].start.observation


def test_values_of_infos_are_numbers_checksums_or_left_out() -> None:
    infos = {"a": np.array([[1, 2]]), "b": np.array(["x"]), "c": np.array([object()]), "d": [True]}
    found = playing._numbers(infos)
    assert {name: found[name] for name in ("a[0]", "a[1]", "d")} == {"a[0]": 1, "a[1]": 2, "d": 1}
    assert set(found) == {"a[0]", "a[1]", "b", "d"}


def test_observations_of_no_fixed_size_are_refused() -> None:
    class Sequences(RewardInObservation):
        """Observes sequences."""

        observation_space = spaces.Sequence(spaces.Discrete(2))

    with pytest.raises(ValueError, match="needs observations and actions of a fixed number"):
        episodes_of(Sequences, wrapper="single")


def test_policy_acts_and_a_trained_one_can() -> None:
    setup = make_setup(lambda: gym.make("CartPole-v1"))
    still = next(play(setup, 1, lambda observations: np.zeros(len(observations), np.int64)))
    assert {tuple(step.action) for step in still.steps} == {(1.0, 0.0)}
    ppo = replace(setup.ppo, n_steps=8, batch_size=8)
    setup = replace(setup, steps=16, num_envs=2, ppo=ppo)
    assert next(play(setup, 1, trained_policy(setup))).steps
