"""Tests of training: it is deterministic, and runs with different settings never mix."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm.data.task import TaskConfig
from lm.evaluation.topic_exam import TopicExam, make_topic_exam, section_losses
from lm.labels import LabelConfig
from lm.methods import METHODS
from lm.models.files import save
from lm.models.language_model import LanguageModel
from lm.models.shapes import SIZES, GPTConfig
from lm.pretraining import CHECKPOINT, NOTES, Training
from lm.run import ablate, run_method, train
from lm.stages import Stages
from lm.training import checkpoints
from lm.training.assignment import AssignmentConfig
from lm.training.log import validation_steps
from lm.training.loop import LoopConfig
from lm.training.profiles import GramConfig
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from lm.training_data import make_training_data
from oversight.runs.folder import read_json
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import tiny_task
from tests.lm.test_run import CONFIG, FOLLOWED

ROUTED = [
    name
    for name, each in METHODS.items()
    if each.kind in ("units", "experts") and name not in FOLLOWED
]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "nano", GPTConfig(width=8, num_layers=2, num_heads=2))


def models(
    name: str, folder: Path, seed: int = 1, recall: float = 0.5
) -> tuple[LanguageModel, LanguageModel]:
    """Return the model of a method after training, and after the ablation."""
    folder.mkdir(exist_ok=True)
    config, task = replace(CONFIG, labels=LabelConfig(recall=recall)), tiny_task()
    data = make_training_data(config, task, name, seed)
    training = Training(config, task, name, seed, data)
    trained = train(training, folder, lambda share: None)
    return trained, ablate(config, name, trained, data, seed)


@pytest.mark.parametrize("name", [*ROUTED, "filtered-classified", "filtered-em", *FOLLOWED])
def test_training_and_ablation_are_deterministic_for_a_seed(name: str, tmp_path: Path) -> None:
    one, two = (models(name, tmp_path / f"{k}") for k in range(2))
    assert all(same(weights(mine), weights(its)) for mine, its in zip(one, two, strict=True))
    other = models(name, tmp_path / "other", seed=2)
    assert not any(same(weights(mine), weights(its)) for mine, its in zip(one, other, strict=True))


def baseline(folder: Path, loop: LoopConfig, *, profiles: bool = True) -> LanguageModel:
    """Train the baseline in a folder, or resume its training."""
    folder.mkdir(exist_ok=True)
    config, task = replace(CONFIG, loop=loop, profiles=profiles), tiny_task()
    data = make_training_data(config, task, "unrouted", 1)
    return Training(config, task, "unrouted", 1, data).run(folder, lambda share: None)


def test_validation_curve_is_noted_and_leaves_the_weights_as_they_are(tmp_path: Path) -> None:
    loop = LoopConfig(steps=6, warmup=1, checkpoint_every=2)
    with_curve = baseline(tmp_path / "one", loop)
    without = baseline(tmp_path / "other", loop, profiles=False)
    assert same(weights(with_curve), weights(without))
    assert "validation" not in read_json(tmp_path / "other" / NOTES)
    curves = read_json(tmp_path / "one" / NOTES)["validation"]
    assert list(curves) == ["core", "wood"]
    assert [step for step, _ in curves["core"]] == list(validation_steps(6)) == list(range(7))
    exam = make_topic_exam(tiny_task(), 1, CONFIG.exam)
    assert section_losses(with_curve, exam) == {
        name: curve[-1][1] for name, curve in curves.items()
    }


def test_validation_curve_of_a_killed_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = LoopConfig(steps=6, warmup=1, checkpoint_every=2)
    expected = weights(baseline(tmp_path / "whole", loop))
    count = 0

    def killed_after_step_4(model: LanguageModel, exam: TopicExam) -> dict[str, float]:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt
        return section_losses(model, exam)

    with monkeypatch.context() as patch:
        patch.setattr("lm.pretraining.section_losses", killed_after_step_4)
        with pytest.raises(KeyboardInterrupt):
            baseline(tmp_path / "cut", loop)
    assert same(weights(baseline(tmp_path / "cut", loop)), expected)
    whole, cut = (read_json(tmp_path / name / NOTES) for name in ("whole", "cut"))
    assert cut["validation"] == whole["validation"]
    assert cut["loss"] == whole["loss"]


def test_only_the_baseline_has_a_validation_curve(tmp_path: Path) -> None:
    config, task = replace(CONFIG, profiles=True), tiny_task()
    data = make_training_data(config, task, "filtered", 1)
    Training(config, task, "filtered", 1, data).run(tmp_path, lambda share: None)
    assert "validation" not in read_json(tmp_path / NOTES)


@pytest.mark.parametrize(
    ("name", "message"),
    [("era", "raise the label recall"), *((name, "0 stories to forget") for name in FOLLOWED)],
)
def test_methods_that_need_labels_refuse_training_without_any(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        models(name, tmp_path, recall=0.0)


def test_rmu_follows_the_ablation_of_a_routed_model(tmp_path: Path) -> None:
    trained, ablated = models("modules-rmu", tmp_path)
    config = replace(CONFIG, labels=LabelConfig(recall=0.5))
    data = make_training_data(config, tiny_task(), "modules-classified", 1)
    expected = config.posthoc.method("rmu").unlearn(
        trained.ablated(), data.forget, data.retain, config.batch_size, 1
    )
    assert trained.expanded
    assert same(weights(ablated), weights(expected))


@pytest.mark.parametrize("name", [name for name in ROUTED if METHODS[name].labels.classified])
def test_classifier_labels_everything_retain_without_labels(name: str, tmp_path: Path) -> None:
    config = replace(CONFIG, labels=LabelConfig(recall=0.0))
    assert (make_training_data(config, tiny_task(), name, 1).labels == RETAIN).all()
    models(name, tmp_path, recall=0.0)


def test_parameters_checked_is_told_a_quarter_of_what_is_truly_to_be_retained() -> None:
    task = tiny_task()
    config = replace(CONFIG, task=TaskConfig(stories=900), labels=LabelConfig(recall=0.5))
    routes = {}
    for name in ("parameters", "parameters-checked", "parameters-unlabeled"):
        data = make_training_data(config, task, name, 1)
        routes[name] = Training(config, task, name, 1, data).texts.labels
    missed = task.to_forget(data.texts.topics) & (data.labels != FORGET)
    assert len({tuple((route == FORGET).tolist()) for route in routes.values()}) == 1
    given, checked, unlabeled = routes.values()
    assert 0.15 < (given[missed] == RETAIN).float().mean() < 0.35
    assert torch.equal(checked, torch.where(missed, UNLABELED, given))
    assert set(unlabeled.tolist()) == {UNLABELED, FORGET}


def test_filtered_checked_trains_on_a_share_of_what_is_truly_to_be_retained() -> None:
    task = tiny_task()
    config = replace(CONFIG, task=TaskConfig(stories=900), labels=LabelConfig(recall=0.5))
    data = make_training_data(config, task, "gram", 1)
    filtered, gram = (
        Training(config, task, name, 1, data).texts for name in ("filtered-checked", "gram")
    )
    assert not task.to_forget(filtered.texts.topics).any()
    assert set(filtered.labels.tolist()) == {RETAIN}
    retain = int((~task.to_forget(data.texts.topics)).sum())
    assert 0.4 < len(filtered) / retain < 0.6
    # a text to retain passes through the module on the last route
    told = (gram.labels == RETAIN) | (gram.labels == FORGET + 2)
    assert filtered.texts.digest == data.texts.take(told).digest  # told what gram is told


def test_parameters_checked_equals_parameters_when_all_are_labeled() -> None:
    config, task = replace(CONFIG, labels=LabelConfig(recall=1.0)), tiny_task()
    digests = {
        Training(config, task, name, 1, make_training_data(config, task, name, 1)).texts.digest
        for name in ("parameters", "parameters-checked")
    }
    assert len(digests) == 1
    assert METHODS["parameters"].table == METHODS["parameters-checked"].table


def test_training_data_refuses_a_precision_with_too_few_stories() -> None:
    config = replace(CONFIG, labels=LabelConfig(recall=1.0, precision=0.01))
    with pytest.raises(ValueError, match=r"a precision of 0\.01 needs .* raise the precision"):
        make_training_data(config, tiny_task(), "filtered", 1)


def test_training_does_not_resume_from_another_run(tmp_path: Path) -> None:
    models("parameters", tmp_path)
    with pytest.raises(ValueError, match=r"training\.json belongs to another run: remove it"):
        models("parameters", tmp_path, seed=2)
    (tmp_path / NOTES).unlink()
    for other in ({"seed": 2}, {"recall": 1.0}):
        with pytest.raises(ValueError, match=r"training\.pt belongs to another run, by its data"):
            models("parameters", tmp_path, **other)
    (tmp_path / CHECKPOINT).write_bytes(b"")
    with pytest.raises(ValueError, match=r"training\.pt is not a whole checkpoint .* remove it"):
        models("parameters", tmp_path)
    (tmp_path / CHECKPOINT).unlink()
    models("parameters", tmp_path, seed=2)


@pytest.mark.parametrize("difference", ["another seed", "another file", "no notes"])
def test_rmu_trains_anew_when_the_study_has_no_intact_model(
    difference: str, tmp_path: Path
) -> None:
    unrouted = tmp_path / "unrouted-seed1"
    other, _ = models("unrouted", tmp_path / "other", seed=2)
    trained, _ = models("unrouted", unrouted, seed=2 if difference == "another seed" else 1)
    stages = Stages(unrouted, {})
    stages.model("trained", lambda: trained)
    save(other, unrouted / "trained.safetensors")
    if difference == "no notes":
        stages.notes.unlink()
    alone, _ = models("rmu", tmp_path / "alone")
    assert same(weights(models("rmu", tmp_path / "rmu-seed1")[0]), weights(alone))


def test_gram_is_told_as_many_texts_to_retain_as_texts_to_forget() -> None:
    task, recall = tiny_task(), 0.5
    config = replace(CONFIG, task=TaskConfig(stories=600), labels=LabelConfig(recall=recall))
    config = replace(config, gram=GramConfig(core_learns=0.0, core_robustness=0.0))
    data = make_training_data(config, task, "gram", 1)
    truth = task.to_forget(data.texts.topics)
    routes = Training(config, task, "gram", 1, data).texts.labels
    assert not (truth & (routes == RETAIN)).any()
    assert (routes == RETAIN).sum() / (~truth).sum() == pytest.approx(recall, abs=0.08)
    assert (routes == FORGET).sum() / truth.sum() == pytest.approx(recall, abs=0.08)
    assert torch.equal(routes == FORGET, data.labels == FORGET)
    everything = replace(config, labels=LabelConfig())
    data = make_training_data(everything, task, "gram", 1)
    assert torch.equal(Training(everything, task, "gram", 1, data).texts.labels, data.labels)
    assert torch.equal(data.labels == FORGET, truth)


@pytest.mark.parametrize(
    ("name", "silenced"), [("gram", True), ("gram-em", True), ("lora-branch", False)]
)
def test_modules_are_silenced_in_gram_and_its_variants(
    name: str, silenced: bool, tmp_path: Path
) -> None:
    task = tiny_task()
    data = make_training_data(CONFIG, task, name, 1)

    def fitted(silence: float) -> LanguageModel:
        config = replace(CONFIG, gram=GramConfig(silence=silence))
        folder = tmp_path / f"{silence}"
        folder.mkdir()
        return Training(config, task, name, 1, data).run(folder, lambda share: None)

    plain, quiet = weights(fitted(0.0)), weights(fitted(3.0))
    assert same(plain, quiet) != silenced


def audited(name: str, folder: Path, loop: LoopConfig, until: float = 2.0) -> LanguageModel:
    """Train a method in a folder, or resume its training, until a share of it is done."""
    folder.mkdir(exist_ok=True)
    config, task = replace(HALF, loop=loop), tiny_task()

    def stop(share: float) -> None:
        if share >= until:
            raise KeyboardInterrupt

    data = make_training_data(config, task, name, 1)
    return Training(config, task, name, 1, data).run(folder, stop)


@pytest.mark.parametrize("name", ["gram-em", "era", "modules"])
def test_audited_training_has_the_weights_and_the_identity_of_one_that_is_not(
    name: str, tmp_path: Path
) -> None:
    plain = LoopConfig(steps=6, warmup=1, checkpoint_every=2)
    loop = replace(plain, audit=True, audit_every=4)
    one = audited(name, tmp_path / "audited", loop)
    other = audited(name, tmp_path / "plain", plain)
    assert same(weights(one), weights(other))
    notes, without = (read_json(tmp_path / each / NOTES) for each in ("audited", "plain"))
    assert "gradient_shares" not in without
    assert notes["identity"] == without["identity"]
    assert notes["loss"] == without["loss"]
    curves = notes["gradient_shares"]
    assert all([step for step, _ in curve] == [0, 4] for curve in curves.values())
    assert "gradient_share_original_parameters/retain" in curves


def test_result_of_an_audited_run_has_the_shares_of_gradients_in_training(tmp_path: Path) -> None:
    loop = replace(CONFIG.loop, audit=True, audit_every=2)
    task, configs = tiny_task(), (CONFIG, replace(CONFIG, loop=loop))
    plain, found = (
        run_method(config, task, "parameters", 1, tmp_path / name, lambda stage, share: None)
        for name, config in zip(("plain", "audited"), configs, strict=True)
    )
    curves = {
        f"gradient_share_{target}_parameters/{label}"
        for target in ("original", "expansion")
        for label in ("retain", "unlabeled", "forget")
    }
    assert set(found["training"]) == {"loss", *curves}
    for name in curves:
        assert [step for step, _ in found["training"][name]] == [0, 2]
    assert found["training"]["loss"] == plain["training"]["loss"]
    for each in ("gradient_shares", "forget_loss", "curves"):
        assert found[each] == plain[each]
    for stage in ("trained", "ablated", "model"):
        one, other = (tmp_path / each / f"{stage}.safetensors" for each in ("plain", "audited"))
        assert one.read_bytes() == other.read_bytes()


def test_audit_of_an_interrupted_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.training.log.LOG_EVERY", 1)
    loop = LoopConfig(steps=9, warmup=1, checkpoint_every=4, audit=True, audit_every=3)
    audited("modules", tmp_path / "whole", loop)
    with pytest.raises(KeyboardInterrupt):
        audited("modules", tmp_path / "cut", loop, until=7 / 9)  # after an audit, no checkpoint
    audited("modules", tmp_path / "cut", loop)
    whole, cut = (read_json(tmp_path / name / NOTES) for name in ("whole", "cut"))
    assert len(whole["gradient_shares"]["gradient_share_expansion_parameters/forget"]) == 3
    assert cut["gradient_shares"] == whole["gradient_shares"]


HALF = replace(CONFIG, labels=LabelConfig(recall=0.5))


def test_labeler_trains_on_the_labeled_texts_alone_and_for_its_share_of_the_steps(
    tmp_path: Path,
) -> None:
    task = tiny_task()
    data = make_training_data(HALF, task, "gram-em", 1)
    loop = LoopConfig(steps=8, warmup=1)
    training = Training(replace(HALF, loop=loop), task, "gram-em", 1, data)
    assert 0 < len(training.labeled) < len(training.texts)
    assert not (training.labeled.labels == UNLABELED).any()
    shares: list[float] = []
    training.run(tmp_path, shares.append)
    assert checkpoints.read(tmp_path / "labeler.pt")["step"] == 2
    assert checkpoints.read(tmp_path / "training.pt")["step"] == 8
    assert shares == sorted(shares)
    assert shares[:2] == pytest.approx([0.1, 0.2])  # two of ten steps are those of the labeler
    assert shares[-1] == 1


def test_filtered_em_trains_without_the_texts_that_the_labeler_of_gram_em_labels(
    tmp_path: Path,
) -> None:
    task = tiny_task()
    loop = LoopConfig(steps=8, warmup=1)
    config = replace(HALF, loop=loop, assignment=AssignmentConfig(threshold=0.0))
    routes = {}
    for name in ("gram-em", "filtered-em"):
        data = make_training_data(config, task, name, 1)
        training = Training(config, task, name, 1, data)
        (tmp_path / name).mkdir()
        model = training.run(tmp_path / name, lambda share: None)
        assert model.module_names == (config.topics if name == "gram-em" else ())
        routes[name] = training._batches(tmp_path / name, lambda share: None)(0).route
    labels = make_training_data(config, task, "gram", 1).labels
    assert (labels == FORGET).any()
    topics = len(config.topics)
    drawn = routes["gram-em"]  # topics, then topics that teach the core, then retain and a module
    forget = (drawn >= FORGET) & (drawn < FORGET + 2 * topics)
    assert torch.equal(routes["filtered-em"] == FORGET, forget)
    assert not (routes["filtered-em"] == UNLABELED).any()


def test_labeler_of_a_filter_that_keeps_a_topic_tells_the_others_apart() -> None:
    config = replace(CONFIG, task=replace(CONFIG.task, forget=("wood", "lake")))
    task = tiny_task("wood", "lake")
    labels = make_training_data(config, task, "filtered-em+wood", 1).labels
    plain = make_training_data(config, task, "filtered+wood", 1).labels
    assert torch.equal(labels == FORGET + 1, plain == FORGET)
    assert (labels > FORGET).any()
    assert not (labels == FORGET).any()


def test_interrupted_training_with_a_labeler_resumes_with_equal_bits(tmp_path: Path) -> None:
    task = tiny_task()
    data = make_training_data(HALF, task, "gram-em", 1)
    config = replace(HALF, loop=LoopConfig(steps=8, warmup=1, checkpoint_every=3))

    def fitted(name: str, until: float = 2.0) -> LanguageModel:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)

        def stop(share: float) -> None:
            if share >= until:
                raise KeyboardInterrupt

        return Training(config, task, "gram-em", 1, data).run(folder, stop)

    with pytest.raises(KeyboardInterrupt):
        fitted("killed", until=0.5)
    assert same(weights(fitted("killed")), weights(fitted("whole")))
