"""The summary: what a run is beside the references, and a file that JSON can hold."""

import json
from pathlib import Path

import pytest

from lm.config import StudyConfig
from lm.report import FACTS_CURVE
from lm.study import RESULT, beside, jobs_of, read_result, results_of, write_summary
from tests.lm.reporting import curve, result

LOSSES = {"gold": [4.0, 2.0, 2.0], "unrouted": [1.0, 1.0, 1.0], "era": [3.0, 1.0, 0.8]}


def attacked(method: str, seed: int = 0) -> dict[str, object]:
    facts = {"gold": 0.25, "unrouted": 1.0, "era": 0.5}[method]
    known = curve([facts, facts, facts], FACTS_CURVE.attack, FACTS_CURVE.measure)
    return result(method, seed, curves=[curve(LOSSES[method]), known], samples={})


ALL = [attacked(method) for method in LOSSES]


def test_a_result_is_measured_beside_gold_and_the_base_of_its_seed() -> None:
    # gold is ahead by 1, 1 and 1.2 nats of era, by 3, 1 and 1 of unrouted, in trapezoids
    found = beside(attacked("era"), [*ALL, attacked("gold", 1)])
    assert found == pytest.approx(
        {
            "relearned_forget_loss": 0.8,
            "relearned_facts": 0.5,
            "savings_vs_gold": 2.1,
            "area_to_gold": 2.1,
            "area_to_gold_facts": 0.5,
            "share_of_base": 2.1 / 3,
            "savings_vs_gold_facts": 0.5,
            "share_of_base_facts": 1 / 3,
            "steps_to_relearn": 2,  # unrouted was at 0.9 before
        }
    )
    assert beside(attacked("gold"), ALL)["savings_vs_gold"] == 0.0
    assert beside(attacked("gold"), ALL)["steps_to_relearn"] is None


def test_what_was_not_run_is_not_compared_with() -> None:
    own = {"relearned_forget_loss": 0.8, "relearned_facts": 0.5}
    assert beside(attacked("era", 1), ALL) == own
    assert beside(result("era", 0), ALL) == {}
    assert set(beside(attacked("era"), [attacked("gold")])) == {
        *own,
        *("savings_vs_gold", "savings_vs_gold_facts", "area_to_gold", "area_to_gold_facts"),
    }


def test_results_are_those_of_finished_runs_and_damaged_ones_are_not(tmp_path: Path) -> None:
    study = StudyConfig(method=("gold", "era"), seeds=(0, 1), label_recall=0.5)
    jobs = jobs_of(study, tmp_path)
    for job in jobs[:3]:
        job.folder.mkdir(parents=True)
        text = json.dumps(attacked(job.method, job.seed))
        (job.folder / RESULT).write_text(text[:100] if job is jobs[1] else text)
    results = results_of(jobs)
    assert [(each["method"], each["seed"]) for each in results] == [("gold", 0), ("era", 0)]
    assert results[1]["label_recall"] == 0.5
    assert results[1]["savings_vs_gold"] == pytest.approx(2.1)
    assert read_result(jobs[1]) is None
    path = tmp_path / "summary.json"
    write_summary(path, study, jobs, results, {"verdict": "none", "failed": {}})
    told = json.loads(path.read_text())
    assert told["missing"] == ["gold-seed1", "era-seed1"]
    assert (told["verdict"], told["study"]["label_recall"]) == ("none", 0.5)
    assert [each["forget_loss"]["after"] for each in told["results"]] == [3.0, 3.0]
    assert not {"curves", "samples"} & {*told["results"][0]}


def test_a_run_without_the_grid_that_a_study_asks_for_is_not_finished(tmp_path: Path) -> None:
    (job,) = jobs_of(StudyConfig(method=("gold",), suite="full"), tmp_path)
    job.folder.mkdir(parents=True)
    (job.folder / RESULT).write_text(json.dumps(attacked("gold")))
    assert read_result(job) is None
    row = {"attack": "gcg", "setting": {"tokens": 2}, "figure": "facts", "value": 0.5}
    (job.folder / RESULT).write_text(json.dumps(attacked("gold") | {"grid": [row]}))
    assert read_result(job) is not None
    write_summary(tmp_path / "summary.json", job.study, [job], results_of([job]), {})
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["results"][0]["grid"] == [row]
    assert told["missing"] == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"method": "gold", "seed": 0}', json.dumps(attacked("gold", 1))],
    ids=["empty", "list", "nothing", "part", "another seed"],
)
def test_what_is_no_result_of_the_run_is_none(tmp_path: Path, text: str) -> None:
    (job,) = jobs_of(StudyConfig(method=("gold",)), tmp_path)
    job.folder.mkdir(parents=True)
    (job.folder / RESULT).write_text(text)
    assert read_result(job) is None
    (job.folder / RESULT).write_text(json.dumps(attacked("gold")))
    assert read_result(job) == attacked("gold")


def test_a_loss_that_is_not_finite_is_null(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    lost = result("era", 0, float("nan")) | {"label_recall": 1.0}
    write_summary(path, StudyConfig(), [], [lost], {})
    assert json.loads(path.read_text())["results"][0]["relearned_forget_loss"] is None
