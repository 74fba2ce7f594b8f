"""Tests of a run: how it resumes and reuses models, and which labels its training gets."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lm.attacks.config import AttackConfig, GCGConfig, GridConfig, LoRAConfig, ProbeConfig
from lm.attacks.relearning import ATTACKS
from lm.attacks.suite import SUITES
from lm.config import RunConfig
from lm.corpus import StoryDistribution
from lm.data.task import StoryRows, Task, TaskConfig
from lm.evaluation.exam import ExamConfig
from lm.evaluation.likelihoods import Losses, losses
from lm.evaluation.topic_exam import examine_topics, make_topic_exam
from lm.labels import LabelConfig
from lm.methods import METHODS, begins_with
from lm.models import files
from lm.models.language_model import LanguageModel
from lm.models.shapes import SIZES, GPTConfig
from lm.posthoc import CIR, NPO, RMU, GradDiff, LayeredRMU, MaxEnt, PostHocSettings, SimNPO
from lm.pretraining import Training
from lm.repair import RepairConfig, RepairLabels, repair
from lm.report import FACTS_CURVE, LOSS_CURVE, worst_curve
from lm.run import Run, require_finite, run_method, train
from lm.serving import subsets
from lm.stages import Stages
from lm.training.batches import Batch
from lm.training.loop import LoopConfig, step_optimizer
from lm.training.profiles import GramConfig
from lm.training.route_tables import FORGET, RETAIN
from lm.training_data import make_training_data
from oversight.routing import RouteTable
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import random_model, tiny_task

CONFIG = RunConfig(
    task=TaskConfig(stories=24),
    expansion=2,
    batch_size=8,
    loop=LoopConfig(steps=3, warmup=1, checkpoint_every=2),
    posthoc=PostHocSettings(
        rmu=RMU(layer=1, steps=1),
        graddiff=GradDiff(steps=1),
        npo=NPO(steps=1),
        simnpo=SimNPO(steps=1),
        maxent=MaxEnt(steps=1),
        cir=CIR(layers=(1,), components=2, refresh=1, steps=2),
        layered_rmu=LayeredRMU(layer=1, folds=2, steps=1),
    ),
    repair=RepairConfig(steps=1, stories=8),
    exam=ExamConfig(stories=4, rounds=1),
    attack=AttackConfig(learning_rates=(1e-2,), num_examples=(2,), steps=1),
)


FOLLOWED = [name for name in METHODS if begins_with(name)]


@pytest.fixture(autouse=True, scope="module")
def tiny_size() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "nano", GPTConfig(width=8, num_layers=2, num_heads=2))
        yield


def run(name: str, folder: Path, config: RunConfig = CONFIG) -> dict[str, Any]:
    return run_method(config, tiny_task(), name, 1, folder, lambda stage, share: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a method to the folder of its finished run in a shared study."""
    study = tmp_path_factory.mktemp("study")

    @cache
    def folder_of(name: str) -> Path:
        run(name, study / f"{name}-seed1")
        return study / f"{name}-seed1"

    return folder_of


def test_run_method_returns_the_measures_that_reports_read(tmp_path: Path) -> None:
    shares: list[float] = []
    result = run_method(
        CONFIG, tiny_task(), "parameters", 1, tmp_path, lambda stage, share: shares.append(share)
    )
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert shares == sorted(shares)
    for name in ("forget_loss", "retain_loss", "mcq_forget", "mcq_retain"):
        assert list(result[name]) == ["before", "after", "repaired"]
    assert all(worst_curve(result, shown) is not None for shown in (LOSS_CURVE, FACTS_CURVE))
    assert result["gradient_shares"]["forget"]["original_parameters"] == 0
    assert [step for step, _ in result["training"]["loss"]] == [0, 2]
    assert set(result["samples"]) == {"before", "after", "repaired"}
    assert result["wall_seconds"] == sum(result["seconds"].values())
    assert set(result["seconds"]) > {"trained", "before", "ablated", "model", "attack-same"}


def test_run_with_profiles_examines_each_and_elicits_what_is_off(tmp_path: Path) -> None:
    config = replace(CONFIG, profiles=True)
    found = run("modules", tmp_path / "modules", config)
    assert [each["on"] for each in found["profiles"]] == [[], ["expansion"]]
    assert [each["kept"] for each in found["profiles"]] == [[], ["wood"]]
    trained = files.load(tmp_path / "modules" / "trained.safetensors")
    exam = make_topic_exam(tiny_task(), 1, config.exam)
    none, everything = (each["topics"] for each in found["profiles"])
    assert everything["core"] == examine_topics(trained, exam)["core"]
    assert set(everything["wood"]) == {"loss", "facts", "localized"}
    assert none["core"] == examine_topics(trained.ablated(), exam)["core"]
    assert set(none["wood"]) == {"loss", "facts", "elicited_loss", "elicited_facts"}
    assert "validation" not in found
    assert {"profiles", "elicited"} <= set(found["seconds"])
    again = run("modules", tmp_path / "modules", config)
    assert again["profiles"] == found["profiles"]


def test_all_profiles_of_gram_are_examined(tmp_path: Path) -> None:
    task = tiny_task("wood", "lake")
    of_topics = replace(CONFIG.task, forget=("wood", "lake"))
    config = replace(CONFIG, task=of_topics, profiles=True)
    found = run_method(config, task, "gram", 1, tmp_path, lambda stage, share: None)
    on = [each["on"] for each in found["profiles"]]
    assert on == [[], ["wood"], ["lake"], ["wood", "lake"]]
    assert on == [each["kept"] for each in found["profiles"]]
    trained = files.load(tmp_path / "trained.safetensors")
    exam = make_topic_exam(task, 1, config.exam)
    expected = examine_topics(trained.profile("wood", "lake"), exam)
    assert found["profiles"][3]["topics"] == expected
    elicited = {"elicited_loss", "elicited_facts"}
    of_none = found["profiles"][0]["topics"]
    assert [name for name in of_none if elicited <= set(of_none[name])] == ["wood", "lake"]


@pytest.mark.parametrize("topics", [("wood",), ("wood", "lake")])
def test_demix_serves_all_profiles_and_resumes_to_the_same_bits(
    topics: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task(*topics)
    labels = replace(CONFIG.labels, recall=0.5)
    of_topics = replace(CONFIG.task, forget=topics, stories=48)
    config = replace(CONFIG, task=of_topics, labels=labels, profiles=True)
    found = run_method(config, task, "demix", 1, tmp_path / "whole", lambda stage, share: None)
    on = [each["on"] for each in found["profiles"]]
    assert on == [list(each) for each in subsets(topics)]
    trained = files.load(tmp_path / "whole" / "trained.safetensors")
    exam = make_topic_exam(task, 1, config.exam)
    assert found["profiles"][-1]["topics"]["core"] == examine_topics(trained, exam)["core"]
    assert found["profiles"][0]["topics"]["core"] == examine_topics(trained.profile(), exam)["core"]
    shares = found["gradient_shares"]
    assert shares["retain"]["wood_parameters"] == shares["wood"]["core_parameters"] == 0.0
    assert {"retain", "unlabeled", *topics} == set(shares)

    taken = 0

    def killed_in_step_3(*given: Any) -> tuple[str, ...]:  # noqa: ANN401
        nonlocal taken
        taken += 1
        if taken == 3:
            raise KeyboardInterrupt
        return step_optimizer(*given)

    data = make_training_data(config, task, "demix", 1)
    (tmp_path / "cut").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("lm.training.loop.step_optimizer", killed_in_step_3)
        with pytest.raises(KeyboardInterrupt):
            Training(config, task, "demix", 1, data).run(tmp_path / "cut", lambda share: None)
    assert (tmp_path / "cut" / "training.pt").exists()
    resumed = Training(config, task, "demix", 1, data).run(tmp_path / "cut", lambda share: None)
    assert same(weights(resumed), weights(trained))


def test_baseline_serves_all_topics_and_has_a_validation_curve(tmp_path: Path) -> None:
    config = replace(CONFIG, profiles=True)
    found = run("unrouted", tmp_path, config)
    (alone,) = found["profiles"]
    assert (alone["on"], alone["kept"]) == (["wood"], ["wood"])
    last = {section: curve[-1] for section, curve in found["validation"].items()}
    assert last == {name: [3, each["loss"]] for name, each in alone["topics"].items()}
    plain = run("unrouted", tmp_path / "plain")
    assert not {"profiles", "validation"} & set(plain)
    assert plain["curves"] == found["curves"]


def test_attack_curves_measure_what_is_to_be_retained(finished: Callable[[str], Path]) -> None:
    for curve in json.loads((finished("parameters") / "result.json").read_text())["curves"]:
        assert len(curve["values"]["retain_loss"]) == len(curve["steps"])


def test_resumed_run_ends_with_the_same_weights(
    finished: Callable[[str], Path], tmp_path: Path
) -> None:
    whole, folder = finished("parameters"), tmp_path / "cut"
    shutil.copytree(whole, folder)
    for name in ("trained.safetensors", "model.safetensors", "repaired.json", "result.json"):
        (folder / name).unlink()
    run("parameters", folder)
    for name in ("trained", "ablated", "model"):
        one, other = ((each / f"{name}.safetensors").read_bytes() for each in (whole, folder))
        assert one == other


@pytest.mark.parametrize(
    ("module", "filter_"), [("modules", "gold"), ("modules-classified", "filtered-classified")]
)
def test_ablated_module_equals_filtering_by_the_same_labels(
    module: str, filter_: str, tmp_path: Path
) -> None:
    recall = 1.0 if module == "modules" else 0.5
    config, task = replace(CONFIG, labels=LabelConfig(recall=recall)), tiny_task()
    trained = {}
    for name in (module, filter_):
        (tmp_path / name).mkdir()
        data = make_training_data(config, task, name, 1)
        training = Training(config, task, name, 1, data)
        trained[name] = training.run(tmp_path / name, lambda share: None)
    assert same(weights(trained[module].ablated()), weights(trained[filter_]))
    assert trained[module].expanded


def trained_by(name: str, config: RunConfig, folder: Path) -> LanguageModel:
    """Return the model of a method after training."""
    folder.mkdir()
    task = tiny_task(*config.topics)
    data = make_training_data(config, task, name, 1)
    return Training(config, task, name, 1, data).run(folder, lambda share: None)


def test_gram_without_probabilities_equals_modules_after_the_cut(tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        task=replace(CONFIG.task, forget=("wood",)),
        gram=GramConfig(core_learns=0.0, core_robustness=0.0),
    )
    gram, modules = (trained_by(each, config, tmp_path / each) for each in ("gram", "modules"))
    assert (gram.module_names, modules.module_names) == (("wood",), ("expansion",))
    assert same(weights(gram.ablated()), weights(modules.ablated()))


def test_filtered_keeps_the_texts_that_are_labeled_with_a_kept_topic(tmp_path: Path) -> None:
    config = replace(CONFIG, task=replace(CONFIG.task, forget=("wood", "lake")))
    task = tiny_task("wood", "lake")
    given = {
        name: make_training_data(config, task, name, 1)
        for name in ("unrouted", "filtered", "filtered+wood", "filtered+lake+wood", "gram")
    }
    names = task.grammar.world.topics
    topics = given["unrouted"].texts.topics
    wood, lake = (topics == names.index(topic) for topic in ("wood", "lake"))
    assert torch.equal(given["filtered"].labels == FORGET, wood | lake)
    assert torch.equal(given["filtered+wood"].labels == FORGET, lake)
    assert (given["filtered+lake+wood"].labels == RETAIN).all()
    assert torch.equal(given["gram"].labels == FORGET + 1, lake)
    assert torch.equal(given["gram"].labels == FORGET, wood)
    kept = given["filtered+wood"]
    assert torch.equal(kept.retain.read().tokens, kept.texts.read().tokens[~lake])
    everything, all_kept = (
        trained_by(name, config, tmp_path / name) for name in ("unrouted", "filtered+lake+wood")
    )
    assert same(weights(everything), weights(all_kept))


@pytest.mark.parametrize("name", FOLLOWED)
def test_posthoc_method_reuses_the_model_of_its_study(
    name: str, finished: Callable[[str], Path]
) -> None:
    base = begins_with(name)
    assert base is not None
    folders = [finished(base), finished(name)]
    assert len({(folder / "training.json").read_text() for folder in folders}) == 1
    for file, count in (("trained", 1), ("ablated", 2)):
        assert len({(folder / f"{file}.safetensors").read_bytes() for folder in folders}) == count


def test_reused_model_ends_bit_equal_to_one_trained_anew(
    finished: Callable[[str], Path], tmp_path: Path
) -> None:
    folders = [finished("unrouted"), finished("npo"), tmp_path / "alone" / "npo"]
    run("npo", folders[2])
    notes = [(folder / "training.json").read_text() for folder in folders]
    assert notes[0] == notes[1] != notes[2]
    for name in ("trained", "model"):
        one, other = (folder / f"{name}.safetensors" for folder in folders[1:])
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("other_run", "recall", "reused"),
    [
        ("modules-classified-recall0.5-seed1", 0.5, True),
        ("modules-classified-seed1", 1.0, False),
    ],
)
def test_train_reuses_a_classified_model_only_when_labels_are_the_same(
    other_run: str, recall: float, reused: bool, tmp_path: Path
) -> None:
    task, notes = tiny_task(), []
    for folder, label_recall in (
        (tmp_path / other_run, recall),
        (tmp_path / "modules-rmu-recall0.5-seed1", 0.5),
    ):
        config = replace(CONFIG, labels=LabelConfig(recall=label_recall))
        name = "modules-rmu" if "rmu" in folder.name else "modules-classified"
        folder.mkdir()
        training = Training(config, task, name, 1, make_training_data(config, task, name, 1))
        report = partial(train, training, folder, lambda share: None)
        Stages(folder, {}).model("trained", report)
        notes.append((folder / "training.json").read_text())
    assert (notes[0] == notes[1]) == reused


@pytest.mark.parametrize("name", METHODS)
def test_training_data_depend_on_the_truth_only_through_labels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task()
    labeled = torch.arange(32) % 3 == 0
    configs = []

    def labels(task: Task, rows: StoryRows, config: LabelConfig, seed: int) -> torch.Tensor:
        configs.append(config)
        return labeled

    monkeypatch.setattr("lm.training_data.story_labels", labels)
    config = replace(CONFIG, labels=LabelConfig(recall=0.5))
    data = make_training_data(config, task, name, seed=1)
    assert configs == [LabelConfig() if name == "gold" else config.labels]
    other = make_training_data(config, task, "unrouted", seed=1)
    assert torch.equal(data.texts.read().tokens, other.texts.read().tokens)
    if not METHODS[name].labels.classified:
        assert torch.equal(data.labels == FORGET, labeled[:24])
        assert len(data.retain) + len(data.forget) == 24 or METHODS[name].labels.retain_checked


FULL = replace(
    CONFIG,
    suite="full",
    grid=GridConfig(
        lora=LoRAConfig(rank=1, learning_rates=(1e-2,)),
        shots=(0, 1),
        bits=(4,),
        probe=ProbeConfig(ridge=1.0, rounds=1),
        gcg=GCGConfig(tokens=2, steps=1, candidates=2, top=2),
    ),
)


def test_full_suite_adds_attacks_and_keeps_other_results(tmp_path: Path) -> None:
    config = replace(FULL, suite="relearning")
    plain, again = (run("gold", tmp_path / "grown", config) for _ in range(2))
    assert "grid" not in plain
    assert plain == again
    grown = run("gold", tmp_path / "grown", FULL)
    timed = ("seconds", "wall_seconds")
    for name in set(plain) - {*timed, "curves"}:
        assert plain[name] == grown[name]
    assert grown["curves"][: len(plain["curves"])] == plain["curves"]
    assert {row["attack"] for row in grown["grid"]} == set(SUITES["full"])
    assert {curve["attack"] for curve in grown["curves"]} == set(ATTACKS)
    half = next(curve for curve in grown["curves"] if curve["attack"] == "half")
    at = {"learning_rate": 1e-2, "num_examples": 2, "step": 1}
    known = half["values"]["mcq_forget_second"][-1]
    assert {"attack": "half", "setting": at, "figure": "facts", "value": known} in grown["grid"]
    kept = (tmp_path / "grown" / "attack-probe.json").stat().st_mtime_ns
    for name in ("attack-gcg", "attack-lora-half", "attack-few-shot", "result"):
        (tmp_path / "grown" / f"{name}.json").unlink()
    assert run("gold", tmp_path / "grown", FULL)["grid"] == grown["grid"]
    assert (tmp_path / "grown" / "attack-probe.json").stat().st_mtime_ns == kept


def test_run_config_refuses_invalid_settings() -> None:
    with pytest.raises(ValueError, match="a batch of at most 24"):
        replace(CONFIG, batch_size=25)
    with pytest.raises(ValueError, match="unknown size"):
        replace(CONFIG, size="giant")


def test_repair_lowers_the_held_out_loss_of_a_copy() -> None:
    task = tiny_task()
    model = random_model(task, torch.float32)
    retain, held_out = (
        task.sample(8, [seed], StoryDistribution(topics=task.splits.retain)) for seed in (1, 2)
    )
    before = weights(model)
    config = RepairConfig(steps=6, every=2, learning_rate=1e-2)
    repaired = repair(model, retain, held_out, config, batch_size=4, seed=0)
    assert same(weights(model), before)
    assert losses(repaired, held_out).loss < losses(model, held_out).loss
    assert same(weights(repaired), weights(repair(model, retain, held_out, config, 4, seed=0)))


@pytest.mark.parametrize("count", [0, 8])
def test_repair_returns_the_model_unchanged_when_training_does_not_help(count: int) -> None:
    task = tiny_task()
    model = random_model(task, torch.float32)
    rows = task.sample(8, [1])
    config = RepairConfig(steps=4, every=4, learning_rate=1.0)
    retain = rows.take(torch.arange(8) < count)
    assert same(weights(repair(model, retain, rows, config, 4, 0)), weights(model))


MISSED = replace(
    CONFIG,
    task=TaskConfig(stories=96),
    labels=LabelConfig(recall=0.5),
    repair=RepairConfig(steps=12, every=6, stories=32),
)
"""Half of the stories to forget are labeled, and the repair reads an epoch or more."""
REPAIRED = ("gold", "filtered", "parameters", "parameters-checked", "modules-classified", "rmu")


def with_repair_by(labels: RepairLabels, config: RunConfig) -> RunConfig:
    return replace(config, repair=replace(config.repair, labels=labels))


def stories_of(inputs: Tensor, targets: Tensor) -> set[tuple[int, ...]]:
    """Return the tokens of each row without its padding."""
    return {tuple(row[goal >= 0].tolist()) for row, goal in zip(inputs, targets, strict=True)}


def read_by_repair(config: RunConfig, name: str, folder: Path) -> set[tuple[int, ...]]:
    """Return the stories that the repair of a run trains on, or chooses the best step by."""
    read = set[tuple[int, ...]]()

    def noted(model: LanguageModel, table: RouteTable, batch: Batch, *rest: object) -> None:
        read.update(stories_of(batch.inputs, batch.targets))

    def measured(model: LanguageModel, held_out: StoryRows) -> Losses:
        read.update(stories_of(held_out.inputs, held_out.targets))
        return Losses(1.0, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.repair.update", noted)
        patch.setattr("lm.repair.losses", measured)
        folder.mkdir()
        Run(config, tiny_task(), name, 1, folder).repair(random_model(tiny_task(), torch.float32))
    return read


@pytest.mark.parametrize("name", REPAIRED)
def test_repair_reads_no_missed_story(name: str, tmp_path: Path) -> None:
    task = tiny_task()
    drawn = make_training_data(with_repair_by("given", MISSED), task, "unrouted", 1)
    missed = drawn.repair.read().take(task.to_forget(drawn.repair.topics))
    unlabeled = stories_of(missed.inputs, missed.targets)
    assert len(missed) > 10
    assert not task.to_forget(make_training_data(MISSED, task, name, 1).held_out.topics).any()
    given = with_repair_by("given", MISSED)
    checked, other, trusting = (
        read_by_repair(config, method, tmp_path / f"{number}")
        for number, (config, method) in enumerate(
            ((MISSED, name), (MISSED, "unrouted"), (given, name))
        )
    )
    assert not checked & unlabeled
    assert checked == other
    if not METHODS[name].labels.classified:  # classifiers find some of the missed stories
        assert bool(trusting & unlabeled) is (name in ("filtered", "parameters", "rmu"))


@pytest.mark.parametrize("name", REPAIRED)
def test_repair_by_checked_labels_changes_nothing_when_all_are_labeled(
    name: str, tmp_path: Path
) -> None:
    task, config = tiny_task(), replace(MISSED, labels=LabelConfig(recall=1.0))
    model, found = random_model(task, torch.float32), []
    choices: tuple[RepairLabels, ...] = ("checked", "given")
    for labels in choices:
        (tmp_path / labels).mkdir()
        run = Run(with_repair_by(labels, config), task, name, 1, tmp_path / labels)
        found.append(weights(run.repair(model)))
    assert same(*found)
    assert not same(found[0], weights(model))


def test_repair_config_refuses_settings_that_are_not_positive() -> None:
    with pytest.raises(ValueError, match="every 0 was given: give 1 or more"):
        RepairConfig(every=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_exam_of_a_model_that_diverged_is_refused(value: float) -> None:
    require_finite({"forget_loss": 9.0, "retain_loss": 3.0, "mcq_forget": float("nan")})
    with pytest.raises(ValueError, match=r"retain_loss of the model is .*, as its training div"):
        require_finite({"forget_loss": 9.0, "retain_loss": value})


@pytest.mark.parametrize(
    ("name", "steps", "examined"), [("unrouted", 0, 1), ("unrouted", 1, 2), ("modules", 0, 2)]
)
def test_equal_weights_are_examined_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, steps: int, examined: int
) -> None:
    """Nothing is cut from `unrouted`, and a repair without steps changes nothing."""
    read = []
    plain = Run.examine

    def counted(run: Run, model: LanguageModel) -> dict[str, Any]:
        read.append(model)
        return plain(run, model)

    monkeypatch.setattr(Run, "examine", counted)
    repair = RepairConfig(steps=steps, stories=8, learning_rate=1e-3)
    config = replace(CONFIG, repair=repair)
    result = run_method(config, tiny_task(), name, 0, tmp_path / name, lambda *_: None)
    assert len(read) == examined
    losses_of = result["forget_loss"]
    assert (losses_of["before"] == losses_of["after"]) == (name == "unrouted")
    assert (losses_of["after"] == losses_of["repaired"]) == (steps == 0)
    assert result["samples"]["before"].keys() == result["samples"]["repaired"].keys()
