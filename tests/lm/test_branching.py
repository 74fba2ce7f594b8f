"""Tests of trainings in two steps: the core stays as it is, and topics are learned beside it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm.branching import CORE, make_training
from lm.config import RunConfig
from lm.models.language_model import LanguageModel
from lm.models.shapes import SIZES, GPTConfig
from lm.pretraining import NOTES
from lm.run import run_method, train
from lm.stages import Stages
from lm.training.branches import BranchConfig
from lm.training.route_tables import FORGET
from lm.training_data import make_training_data
from oversight.runs.folder import read_json
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import tiny_task
from tests.lm.test_run import CONFIG

TWO = replace(
    CONFIG,
    task=replace(CONFIG.task, forget=("wood", "lake"), stories=48),
    branch=BranchConfig(steps=2, warmup=1),
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "nano", GPTConfig(width=8, num_layers=2, num_heads=2))


def trained(name: str, folder: Path, config: RunConfig = TWO) -> LanguageModel:
    """Return the model of a method after training, as its run does."""
    folder.mkdir(parents=True)
    task = tiny_task(*config.topics)
    data = make_training_data(config, task, name, 1)
    training = make_training(config, task, name, 1, data)
    return Stages(folder, {}).model("trained", lambda: train(training, folder, lambda share: None))


def test_core_of_modules_that_follow_is_that_of_filtered_by_every_bit(tmp_path: Path) -> None:
    core = trained("filtered", tmp_path / "filtered-seed1")
    branches = trained("lora-branch", tmp_path / "lora-branch-seed1")
    alone = trained("lora-branch", tmp_path / "alone" / "lora-branch-seed1")
    assert branches.module_names == ("wood", "lake")
    assert same(weights(branches.ablated()), weights(core))
    assert same(weights(branches), weights(alone))  # whether or not the core is reused
    assert not (tmp_path / "lora-branch-seed1" / CORE).exists()
    assert (tmp_path / "alone" / "lora-branch-seed1" / CORE).exists()
    seconds = [
        read_json(tmp_path / f"{name}-seed1" / NOTES)["seconds"]
        for name in ("filtered", "lora-branch")
    ]
    assert seconds[0] < seconds[1]


def test_each_module_learns_and_only_what_serves_a_profile_changes_it(tmp_path: Path) -> None:
    model = trained("lora-branch", tmp_path / "lora-branch-seed1")
    tokens = torch.arange(12).view(1, 12)
    with torch.no_grad():
        logits = {on: model.profile(*on)(tokens) for on in ((), ("wood",), ("lake",))}
    assert not torch.equal(logits[()], logits["wood",])
    assert not torch.equal(logits["wood",], logits["lake",])


def test_copy_starts_from_the_core_and_learns_a_topic(tmp_path: Path) -> None:
    core = trained("filtered", tmp_path / "filtered-seed1")
    copy = trained("finetune-branch+wood", tmp_path / "finetune-branch+wood-seed1")
    assert not copy.expanded
    assert not same(weights(core), weights(copy))
    still = replace(TWO, branch=BranchConfig(steps=0))
    same_core = trained("finetune-branch+wood", tmp_path / "still" / "x-seed1", still)
    assert same(weights(core), weights(same_core))
    assert same(weights(core), weights(trained("finetune-branch", tmp_path / "y-seed1")))


def test_copy_is_told_the_topic_and_the_core_is_not_taught_it() -> None:
    task = tiny_task(*TWO.topics)
    data = make_training_data(TWO, task, "finetune-branch+lake", 1)
    training = make_training(TWO, task, "finetune-branch+lake", 1, data)
    numbers = task.forget_numbers(training.texts.texts.topics)
    assert set(numbers.tolist()) == {-1, 1}
    assert (numbers == 1).sum() == (data.labels == FORGET + 1).sum()


def test_run_of_modules_that_follow_has_all_results_and_leaves_no_core(tmp_path: Path) -> None:
    folder = tmp_path / "lora-branch-seed1"
    task = tiny_task(*TWO.topics)
    result = run_method(TWO, task, "lora-branch", 1, folder, lambda stage, share: None)
    shares = result["gradient_shares"]
    assert {row["original_parameters"] for row in shares.values()} == {0.0}
    assert shares["wood"]["lake_parameters"] == shares["retain+wood"]["lake_parameters"] == 0.0
    assert not (folder / CORE).exists()
