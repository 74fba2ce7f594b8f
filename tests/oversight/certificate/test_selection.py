"""KeepBest against a choice by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from oversight.callbacks.selection import KeepBest

Seen = tuple[float | None, bool]
"""What a step of a lane showed of its reward, None where it was hidden, and whether it ended."""


class Run:
    """As much of a training run as a choice of checkpoints reads; the weight is the rollout."""

    def __init__(self, choice: KeepBest, lanes: int) -> None:
        self.choice = choice
        self.policy = nn.Linear(1, 1, bias=False)
        env = SimpleNamespace(num_envs=lanes)
        choice.model = SimpleNamespace(policy=self.policy, get_env=lambda: env)  # type: ignore[assignment]
        choice._on_training_start()

    def step(self, *lanes: Seen) -> None:
        """Take one step of every lane."""
        infos: list[dict[str, Any]] = [
            {"observed": False, "observed_reward": np.nan} if reward is None else
            {"observed": True, "observed_reward": reward}
            for reward, _ in lanes
        ]  # fmt: skip
        self.choice.locals = {"infos": infos, "dones": np.array([done for _, done in lanes])}
        self.choice.num_timesteps += len(lanes)
        assert self.choice._on_step()

    def end_rollout(self, weight: float) -> None:
        """End a rollout that was played with this weight."""
        with torch.no_grad():
            self.policy.weight.fill_(weight)
        self.choice._on_rollout_end()

    def kept(self) -> tuple[int, float, float | None]:
        """Return the step, the score and the weight that are kept."""
        weight = self.choice.weights.get("weight")
        return self.choice.step, float(self.choice.score), None if weight is None else float(weight)


def test_the_best_mean_of_observed_returns_is_kept() -> None:
    run = Run(KeepBest(), lanes=2)
    run.step((1.0, False), (None, False))
    run.step((2.0, True), (None, True))  # lane 0 returned 3, lane 1 was hidden
    run.end_rollout(0.5)
    assert run.kept() == (4, 3.0, 0.5)
    run.step((-1.0, True), (None, False))
    run.end_rollout(1.5)  # (3 - 1) / 2
    assert run.kept() == (4, 3.0, 0.5)
    run.step((None, False), (7.0, True))
    run.end_rollout(2.5)  # (3 - 1 + 7) / 3, and equal is as good
    assert run.kept() == (8, 3.0, 2.5)
    run.step((8.0, True), (None, False))
    run.end_rollout(3.5)  # (3 - 1 + 7 + 8) / 4
    assert run.kept() == (10, 4.25, 3.5)


def test_an_episode_goes_on_over_rollouts_and_counts_where_it_ends() -> None:
    run = Run(KeepBest(), lanes=1)
    run.step((4.0, False))
    run.end_rollout(1.0)
    assert run.kept() == (0, -np.inf, None)
    run.step((None, False))
    run.step((1.0, False))
    run.step((None, True))
    run.end_rollout(2.0)
    assert run.kept() == (4, 5.0, 2.0)


def test_nothing_of_an_episode_is_left_for_the_next_one() -> None:
    run = Run(KeepBest(), lanes=1)
    run.step((4.0, True))
    run.step((None, True))
    run.step((-2.0, True))
    run.end_rollout(1.0)
    assert run.kept() == (3, 1.0, 1.0)


def test_only_the_last_episodes_count() -> None:
    run = Run(KeepBest(episodes=2), lanes=1)
    for reward in (9.0, 1.0, 2.0):
        run.step((reward, True))
    run.end_rollout(1.0)
    assert run.kept() == (3, 1.5, 1.0)


def test_without_observed_episodes_nothing_is_kept() -> None:
    run = Run(KeepBest(), lanes=1)
    run.step((None, True))
    run.end_rollout(1.0)
    assert run.kept() == (0, -np.inf, None)


def test_a_lane_without_info_was_not_observed() -> None:
    run = Run(KeepBest(), lanes=1)
    run.choice.locals = {"infos": [{}], "dones": np.array([True])}
    run.choice._on_step()
    run.end_rollout(1.0)
    assert run.kept() == (0, -np.inf, None)


def test_what_is_kept_does_not_learn_on() -> None:
    run = Run(KeepBest(), lanes=1)
    run.step((1.0, True))
    run.end_rollout(1.0)
    with torch.no_grad():
        run.policy.weight.fill_(9.0)
    assert run.kept() == (1, 1.0, 1.0)
