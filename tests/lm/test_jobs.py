"""Tests of the runs of a study: which there are, their names, settings and identities."""

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from lm.config import RunConfig, StudyConfig, Variation
from lm.data.task import TaskConfig
from lm.jobs import jobs_of, key_of, results_of
from lm.labels import LabelConfig
from lm.run import run_identity
from tests.lm.result_factories import result, retained, write_result

FOUR = RunConfig(task=TaskConfig(forget=("forest", "garden", "sea", "river")))


def test_jobs_have_a_folder_for_each_method_and_seed(tmp_path: Path) -> None:
    study = StudyConfig(method=("gold", "era"), seeds=(3, 5))
    jobs = jobs_of(study, tmp_path)
    assert [job.id for job in jobs] == ["gold-seed3", "gold-seed5", "era-seed3", "era-seed5"]
    assert [(job.method, job.seed) for job in jobs][1] == ("gold", 5)
    assert {job.variation.recall for job in jobs} == {0.9}
    assert jobs[0].folder == tmp_path / "runs" / "gold-seed3"


def test_jobs_order_methods_after_those_they_start_from(tmp_path: Path) -> None:
    named = ("rmu", "lora-branch", "gold", "modules-rmu", "modules-classified", "filtered")
    study = StudyConfig(method=(*named, "unrouted"))
    methods = [job.method for job in jobs_of(study, tmp_path)]
    assert methods[:4] == ["unrouted", "gold", "modules-classified", "filtered"]
    assert methods[4:] == ["rmu", "lora-branch", "modules-rmu"]


def test_profile_of_the_only_topic_is_served_by_the_unrouted_model(tmp_path: Path) -> None:
    study = StudyConfig(method=("filtered", "unrouted"), run=RunConfig(profiles=True))
    assert [job.id for job in jobs_of(study, tmp_path)] == ["unrouted-seed0", "filtered-seed0"]


def test_jobs_of_a_sweep_run_references_once_and_methods_at_each_recall(tmp_path: Path) -> None:
    study = StudyConfig(method=("era",), seeds=(0,), sweep="labels", recalls=(0.5, 1.0))
    assert [(job.id, job.variation.recall) for job in jobs_of(study, tmp_path)] == [
        ("unrouted-seed0", 1.0),
        ("gold-seed0", 1.0),
        ("era-recall0.5-seed0", 0.5),
        ("era-recall1-seed0", 1.0),
    ]


def test_jobs_with_profiles_train_filtering_for_each_that_it_serves(tmp_path: Path) -> None:
    run = RunConfig(task=TaskConfig(forget=("forest", "sea")), profiles=True)
    methods = ("filtered", "gram", "unrouted", "filtered+sea")
    study = StudyConfig(method=methods, run=run)
    names = [job.id for job in jobs_of(study, tmp_path)]
    assert names == [
        *("unrouted-seed0", "filtered-seed0", "filtered+forest-seed0", "filtered+sea-seed0"),
        "gram-seed0",
    ]
    without = replace(study, run=replace(run, profiles=False))
    assert len(jobs_of(without, tmp_path)) == len(without.trainings) == len(methods)


def swept(**settings: object) -> StudyConfig:
    """Return a sweep over the tax of two routed methods, one that filters and one that adapts."""
    methods = ("modules", "filtered", "gram", "filtered-em")
    given = {"method": methods, "expansions": (4, 8), "run": FOUR, **settings}
    return StudyConfig(sweep="tax", **given)  # type: ignore[arg-type]


def test_sweep_over_tax_varies_the_expansion_of_methods_that_have_one(tmp_path: Path) -> None:
    assert [job.id for job in jobs_of(swept(), tmp_path)] == [
        *("unrouted-seed0", "gold-seed0"),
        *("modules-expansion4-seed0", "modules-expansion8-seed0", "filtered-seed0"),
        *("gram-expansion4-seed0", "gram-expansion8-seed0"),
        # its labels are those of modules of the expansion
        *("filtered-em-expansion4-seed0", "filtered-em-expansion8-seed0"),
    ]


def test_sweep_over_topic_counts_runs_references_once_per_seed_and_count(tmp_path: Path) -> None:
    study = swept(method=("modules",), topic_counts=(1, 4), seeds=(0, 1))
    jobs = jobs_of(study, tmp_path)
    assert [job.id for job in jobs if job.method == "gold"] == [
        *("gold-topics1-seed0", "gold-seed0", "gold-topics1-seed1", "gold-seed1"),
    ]
    modules = [job for job in jobs if job.method == "modules" and job.seed == 1]
    assert [job.id for job in modules] == [
        *("modules-expansion4-topics1-seed1", "modules-expansion4-seed1"),
        *("modules-expansion8-topics1-seed1", "modules-expansion8-seed1"),
    ]
    assert [(job.config.expansion, job.config.topics) for job in modules] == [
        *((4, ("forest",)), (4, FOUR.topics), (8, ("forest",)), (8, FOUR.topics)),
    ]
    assert len({job.key for job in jobs}) == len({job.folder for job in jobs}) == len(jobs) == 16


def test_names_of_a_sweep_stay_when_values_are_added(tmp_path: Path) -> None:
    studies = [
        swept(expansions=(8,)),
        swept(expansions=(4, 8)),
        swept(expansions=(4, 8), topic_counts=(2, 4)),
    ]
    folders = [
        {job.folder: run_identity(job.config, {}, job.method, job.seed) for job in jobs}
        for jobs in (jobs_of(study, tmp_path) for study in studies)
    ]
    for fewer, more in pairwise(folders):
        assert fewer.items() <= more.items()


def test_a_sweep_uses_the_labels_that_are_given(tmp_path: Path) -> None:
    labels = LabelConfig(recall=0.5, precision=0.8)
    study = swept(run=replace(FOUR, labels=labels))
    assert {job.config.labels for job in jobs_of(study, tmp_path)} == {labels}


@pytest.mark.parametrize("method", ["gold", "filtered", "modules", "gram"])
def test_run_of_a_plain_study_has_the_settings_of_the_study(method: str, tmp_path: Path) -> None:
    run = replace(FOUR, labels=LabelConfig(recall=0.7, precision=0.9), expansion=12)
    (job,) = jobs_of(StudyConfig(method=(method,), run=run), tmp_path)
    assert asdict(job.config) == asdict(run)
    assert job.variation == Variation(
        0.7, 0.9, 12 if method in ("modules", "gram") else None, len(run.topics)
    )


def test_run_of_a_sweep_is_that_of_a_plain_study_with_its_settings(tmp_path: Path) -> None:
    for job in jobs_of(swept(topic_counts=(1, 4)), tmp_path):
        units, count = job.variation.expansion, job.variation.topic_count
        plain = replace(FOUR, task=replace(FOUR.task, forget=FOUR.topics[:count]))
        plain = replace(plain, expansion=units or FOUR.expansion)
        (alone,) = jobs_of(StudyConfig(method=(job.method,), run=plain), tmp_path)
        identities = [run_identity(each.config, {}, each.method, 0) for each in (job, alone)]
        assert identities[0] == identities[1]


def test_results_name_their_variation_and_are_compared_at_the_same_number_of_topics(
    tmp_path: Path,
) -> None:
    study = swept(method=("modules",), topic_counts=(1, 4), run=replace(FOUR, suite="none"))
    jobs = jobs_of(study, tmp_path)
    for job in jobs:
        loss = job.variation.topic_count + (job.variation.expansion or 0) / 100
        made = result(job.method, job.seed, None) | retained(loss)
        for name in ("label_precision", "expansion", "topic_count"):
            del made[name]
        write_result(job.config, job.folder, made)
    results = results_of(jobs)
    assert [key_of(each) for each in results] == [job.key for job in jobs]
    (first, *_) = [each for each in results if each["method"] == "modules"]
    assert (first["expansion"], first["topic_count"], first["label_recall"]) == (4, 1, 1.0)
    (gold, *_) = [each for each in results if each["method"] == "gold"]
    assert (gold["expansion"], gold["topic_count"]) == (None, 1)
