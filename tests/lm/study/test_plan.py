"""Which runs a study has, where they go and what comes first."""

from pathlib import Path

import pytest

from lm.config import StudyConfig
from lm.study import jobs_of


def test_each_method_is_run_with_each_seed_in_its_own_folder(tmp_path: Path) -> None:
    study = StudyConfig(method=("gold", "era"), seeds=(3, 5), label_recall=0.9)
    jobs = jobs_of(study, tmp_path)
    assert [job.id for job in jobs] == ["gold-seed3", "gold-seed5", "era-seed3", "era-seed5"]
    assert [(job.method, job.seed) for job in jobs][1] == ("gold", 5)
    assert {job.recall for job in jobs} == {0.9}
    assert jobs[0].folder == tmp_path / "runs" / "gold-seed3"


def test_what_others_begin_with_comes_first(tmp_path: Path) -> None:
    study = StudyConfig(method=("rmu", "gold", "modules-rmu", "modules-classified", "unrouted"))
    methods = [job.method for job in jobs_of(study, tmp_path)]
    assert methods == ["unrouted", "gold", "modules-classified", "rmu", "modules-rmu"]


def test_a_sweep_runs_each_reference_once_and_each_method_at_each_share(tmp_path: Path) -> None:
    study = StudyConfig(method=("era",), seeds=(0,), sweep="labels", recalls=(0.5, 1.0))
    assert [(job.id, job.recall) for job in jobs_of(study, tmp_path)] == [
        ("unrouted-seed0", 1.0),
        ("gold-seed0", 1.0),
        ("era-recall0.5-seed0", 0.5),
        ("era-recall1-seed0", 1.0),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": ("era", "eta")}, "unknown method 'eta': did you mean era"),
        ({"method": ()}, "methods .* were given: give one or more, each once"),
        ({"method": ("era", "era")}, "each once"),
        ({"seeds": (0, 0)}, "seeds .* each once"),
        ({"seeds": (-1,)}, "give seeds from 0 on"),
        ({"recalls": ()}, "recalls .* one or more"),
        ({"recalls": (0.5, 1.5)}, "label recall of 1.5 .* from 0 to 1"),
        ({"label_recall": float("nan")}, "label recall of nan"),
        ({"label_precision": 0.0}, "label precision of 0.0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_what_cannot_run_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudyConfig(**changes)  # type: ignore[arg-type]
