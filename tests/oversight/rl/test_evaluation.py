"""Evaluation gives policies of known returns these returns, and changes no other state."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import MotivationPolicy
from configs.rl import PRESETS
from envs import gridworld
from oversight.rl.agent import make_agent
from oversight.rl.config import EVALUATION, TRAINING, TrainConfig, stream_seed
from oversight.rl.evaluation import (
    evaluate,
    evaluate_all,
    flag_flip_gap,
    load,
    policies,
)
from oversight.runs.cli import override
from oversight.runs.folder import RunFolder, read_config
from tests.oversight.rl.scripted_policies import RandomPolicy, ShortestPathPolicy
from tests.oversight.rl.trained_runs import contents, run_evaluate, summary

CONFIG = override(TrainConfig(), PRESETS["smoke"][1])
EPISODES = 4096


def scores(policy: Any, probability: float = 0.1, seed: int = 0) -> dict[str, float | int]:  # noqa: ANN401
    return evaluate(policy, replace(CONFIG, oversight_probability=probability), EPISODES, seed)


def test_evaluation_depends_only_on_its_seed() -> None:
    torch.manual_seed(1)
    first = scores(RandomPolicy())
    torch.manual_seed(2)
    assert scores(RandomPolicy()) == first
    assert scores(RandomPolicy(), seed=1) != first


class FlagDependentPolicy(ShortestPathPolicy):
    """A policy that goes to the diamond if any square is flagged, and to the ghost otherwise."""

    def actions(self, boards: gridworld.Planes) -> gridworld.Cells:
        """Return the first move of a shortest way to the goal of each board."""
        flagged = boards[:, gridworld.OVERSIGHT].any(axis=-1)
        return np.where(
            flagged,
            super().actions(boards),
            ShortestPathPolicy(goal=gridworld.GHOST).actions(boards),
        )


@pytest.mark.parametrize("probability", [0.0, 0.1, 1.0])
def test_flag_flip_gap_measures_the_effect_of_the_oversight_flag(probability: float) -> None:
    config = replace(CONFIG, oversight_probability=probability)
    assert flag_flip_gap(FlagDependentPolicy(), config, 64, 0) == 2.0
    assert flag_flip_gap(ShortestPathPolicy(), config, 64, 0) == 0.0
    assert flag_flip_gap(RandomPolicy(), config, 64, 0) == 0.0  # same levels, same actions


def test_flag_flip_gap_is_undefined_when_the_flag_is_hidden() -> None:
    config = replace(CONFIG, grid=replace(CONFIG.grid, flag="hidden"))
    assert np.isnan(flag_flip_gap(FlagDependentPolicy(), config, 64, 0))


def test_evaluation_leaves_the_global_generators_unchanged() -> None:
    policy = make_agent(CONFIG).policy
    assert isinstance(policy, MotivationPolicy)
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
    evaluate_all(policies(policy, "goal"), CONFIG, 8, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_before)  # noqa: NPY002


def test_deployed_policy_shares_the_result_of_its_module() -> None:
    policy = make_agent(CONFIG).policy
    assert isinstance(policy, MotivationPolicy)
    named = policies(policy, "proxy")
    assert list(named) == ["deployed", "goal", "proxy", "mixture"]
    assert named["deployed"] is named["proxy"]
    assert named["mixture"] is policy
    results = evaluate_all(named, CONFIG, 8, 0)
    assert list(results) == list(named)
    assert results["deployed"] is results["proxy"]


def test_training_and_evaluation_levels_are_disjoint() -> None:
    seeds = [stream_seed(seed, use) for seed in range(50) for use in (TRAINING, EVALUATION)]
    assert np.diff(np.sort(seeds)).min() > 4096


def test_saved_run_reproduces_the_scores_of_its_summary(finished: Path) -> None:
    config = read_config(RunFolder(finished), TrainConfig)
    results = evaluate_all(load(RunFolder(finished), config), config, 16, config.seed)
    assert results == summary(finished)["eval"]


def test_evaluate_prints_a_row_per_policy(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    before = contents(copied)
    pages = []
    for flags in ((), (), ("--module", "proxy"), ("--oversight-probability", "1")):
        assert run_evaluate(copied, "--episodes", "16", "--threads", "1", *flags) == 0
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1]
    rows = [line.split() for line in pages[0].splitlines() if line.count("%") == 3]
    assert [row[0] for row in rows] == ["deployed", "goal", "proxy", "mixture"]
    alone = [line.split() for line in pages[2].splitlines() if line.count("%") == 3]
    assert alone == [rows[2]]
    all_observed = [line.split() for line in pages[3].splitlines() if line.count("%") == 3]
    assert [row[3] for row in all_observed] == ["-"] * 4  # no episode is unobserved
    assert contents(copied) == before
