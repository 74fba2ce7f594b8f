"""Tests of a study: its runs, their execution, and its summary."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lm.config import RunConfig, StudyConfig
from lm.jobs import Job, jobs_of, read_result, results_of
from lm.labels import LabelConfig
from lm.report import FACTS_CURVE, compare_with_references
from lm.stages import RESULT
from lm.study import (
    report,
    run_job,
    share_over_processes,
    write_summary,
)
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from lm.unlearn import main
from oversight.runs import cli
from oversight.runs.folder import create
from oversight.runs.parallel import Outcome, locked
from tests.lm.profile_factories import baseline, filtered, routed
from tests.lm.result_factories import curve, result, write_result


def test_report_has_profiles_and_their_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"unrouted": baseline(0), "filtered": filtered(0), "modules": routed(0)}
    study = StudyConfig(method=tuple(made))
    monkeypatch.setattr("lm.jobs.read_result", lambda job: made[job.method])
    folder = create(tmp_path / "a")
    jobs = jobs_of(study, folder.path)
    for job in jobs:
        job.folder.mkdir(parents=True)
    report(study, jobs, folder, {})
    printed = capsys.readouterr().out
    assert "profiles: forget forest, label recall 0.9, 1 seed" in printed
    written = json.loads(folder.summary.read_text())
    assert written["profiles_verdict"] in printed.splitlines()
    assert written["profiles_verdict"].startswith("filtered: with no module on, forget compute")
    (none, *_) = next(r for r in written["results"] if r["method"] == "modules")["profiles"]
    assert (none["on"], none["kept"]) == ([], [])
    assert none["topics"]["sea"]["compute_ratio"] == pytest.approx(0.1)
    assert none["topics"]["sea"]["elicited_loss"] == 0.7
    assert (folder.path / "figures" / "profiles.png").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": ("era", "eta")}, "unknown method 'eta': did you mean era"),
        ({"method": ()}, "methods .* were given: give one or more, each once"),
        ({"method": ("era", "era")}, "each once"),
        ({"seeds": (0, 0)}, "seeds .* each once"),
        ({"seeds": (-1,)}, "seeds -1 was given: give a whole number from 0"),
        (
            {"recalls": (0.5,)},
            "recalls .* were given without --sweep labels: give it, or one recall by",
        ),
        (
            {"sweep": "labels", "run": RunConfig(labels=LabelConfig(recall=0.3))},
            "label_recall 0.3 was given with a sweep over labels, .* give --recalls",
        ),
        ({"seeds": (0, 2**70)}, "give a whole number from 0 to 2"),
        ({"recalls": ()}, "recalls .* one or more"),
        ({"recalls": (0.5, 1.5)}, r"label_recall 1.5 was given: give a number in \[0, 1\]"),
        ({"recalls": (float("nan"),)}, "label_recall nan was given"),
        ({"workers": 0}, "workers 0 was given: give 1 or more"),
    ],
)
def test_study_config_refuses_invalid_settings(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudyConfig(**changes)  # type: ignore[arg-type]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return a job whose run is replaced by a made-up result."""

    def run_method(*args: Any) -> dict[str, Any]:  # noqa: ANN401
        made = result("gold", 0)
        write_result(args[0], args[4], made)
        return made

    monkeypatch.setattr("lm.study.run_method", run_method)
    monkeypatch.setattr("lm.study.load_task", lambda config: None)
    (only,) = jobs_of(StudyConfig(method=("gold",)), tmp_path)
    return only


def test_run_job_removes_only_half_written_files(job: Job) -> None:
    job.folder.mkdir(parents=True)
    for name in ("training.pt.77.part", ".trained.safetensors.77.part", "training.pt"):
        (job.folder / name).write_text("half")
    assert run_job(job) == Outcome(job.id)
    names = {path.name for path in job.folder.iterdir() if "tfevents" not in path.name}
    assert names == {".lock", "training.pt", "stages.json", "result.json"}


def test_run_job_leaves_a_run_of_another_process_unchanged(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(job.folder):
        (job.folder / "training.pt.77.part").write_text("half")
        clock = iter([0.0, 1.0, 6.0])
        monkeypatch.setattr("oversight.runs.parallel.time.monotonic", lambda: next(clock))
        error = run_job(job).error
    assert error is not None
    assert error.startswith(f"another process is working in {job.folder}: wait until it ends")
    assert {path.name for path in job.folder.iterdir()} == {".lock", "training.pt.77.part"}


LOSSES = {"gold": [4.0, 2.0, 2.0], "unrouted": [1.0, 1.0, 1.0], "era": [3.0, 1.0, 0.8]}


def attacked(method: str, seed: int = 0) -> dict[str, object]:
    facts = {"gold": 0.25, "unrouted": 1.0, "era": 0.5}[method]
    known = curve([facts, facts, facts], FACTS_CURVE.attack, FACTS_CURVE.measure)
    return result(method, seed, curves=[curve(LOSSES[method]), known], samples={})


ALL = [attacked(method) for method in LOSSES]


def test_results_are_compared_with_gold_and_base_of_the_same_seed() -> None:
    # gold is ahead by 1, 1 and 1.2 nats of era, by 3, 1 and 1 of unrouted, in trapezoids
    comparison = compare_with_references(attacked("era"), [*ALL, attacked("gold", 1)])
    assert comparison == pytest.approx(
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
    assert compare_with_references(attacked("gold"), ALL)["savings_vs_gold"] == 0.0
    assert compare_with_references(attacked("gold"), ALL)["steps_to_relearn"] is None


def test_comparison_omits_references_that_were_not_run() -> None:
    relearned = {"relearned_forget_loss": 0.8, "relearned_facts": 0.5}
    assert compare_with_references(attacked("era", 1), ALL) == relearned
    assert compare_with_references(result("era", 0), ALL) == {}
    assert set(compare_with_references(attacked("era"), [attacked("gold")])) == {
        *relearned,
        *("savings_vs_gold", "savings_vs_gold_facts", "area_to_gold", "area_to_gold_facts"),
    }


def test_results_omit_unfinished_and_damaged_runs(tmp_path: Path) -> None:
    study = StudyConfig(
        method=("gold", "era"), seeds=(0, 1), run=RunConfig(labels=LabelConfig(recall=0.5))
    )
    jobs = jobs_of(study, tmp_path)
    for job in jobs[:3]:
        write_result(job.config, job.folder, attacked(job.method, job.seed))
    damaged = jobs[1].folder / RESULT
    damaged.write_text(damaged.read_text()[:100])
    results = results_of(jobs)
    assert [(each["method"], each["seed"]) for each in results] == [("gold", 0), ("era", 0)]
    assert results[1]["label_recall"] == 0.5
    assert results[1]["savings_vs_gold"] == pytest.approx(2.1)
    assert read_result(jobs[1]) is None
    path = tmp_path / "summary.json"
    write_summary(path, study, jobs, results, {"verdict": "none", "failed": {}})
    summary = json.loads(path.read_text())
    assert summary["missing"] == ["gold-seed1", "era-seed1"]
    assert (summary["verdict"], summary["study"]["run"]["labels"]["recall"]) == ("none", 0.5)
    assert [each["forget_loss"]["after"] for each in summary["results"]] == [3.0, 3.0]
    assert not {"curves", "samples"} & {*summary["results"][0]}


def test_run_is_unfinished_without_the_grid_of_the_full_suite(tmp_path: Path) -> None:
    (job,) = jobs_of(StudyConfig(method=("gold",), run=RunConfig(suite="full")), tmp_path)
    config = job.config
    write_result(config, job.folder, attacked("gold"))
    assert read_result(job) is None
    row = {"attack": "gcg", "setting": {"tokens": 2}, "figure": "facts", "value": 0.5}
    write_result(config, job.folder, attacked("gold") | {"grid": [row]})
    assert read_result(job) is not None
    write_summary(tmp_path / "summary.json", job.study, [job], results_of([job]), {})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["results"][0]["grid"] == [row]
    assert summary["missing"] == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"method": "gold", "seed": 0}'],
    ids=["empty", "list", "nothing", "part"],
)
def test_read_result_returns_none_for_invalid_files(tmp_path: Path, text: str) -> None:
    (job,) = jobs_of(StudyConfig(method=("gold",)), tmp_path)
    job.folder.mkdir(parents=True)
    (job.folder / RESULT).write_text(text)
    assert read_result(job) is None
    write_result(job.config, job.folder, attacked("gold"))
    assert read_result(job) == attacked("gold")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (StudyConfig(method=("gold",), seeds=(1,)), "its seed is 1, not 0"),
        (StudyConfig(method=("era",)), "its method is 'era', not 'gold'"),
        (
            StudyConfig(method=("gold",), run=RunConfig(batch_size=4)),
            "its labels.recall is 1.0, not 0.9",
        ),
        (
            StudyConfig(method=("gold",), run=replace(StudyConfig().run, batch_size=4)),
            "its batch_size is 4, not 8",
        ),
    ],
)
def test_result_of_a_run_with_other_settings_is_refused(
    tmp_path: Path, other: StudyConfig, message: str
) -> None:
    (job,) = jobs_of(StudyConfig(method=("gold",)), tmp_path / "ours")
    (foreign,) = jobs_of(other, tmp_path / "theirs")
    made = attacked(foreign.method, foreign.seed)
    write_result(foreign.config, foreign.folder, made)
    shutil.copytree(foreign.folder, job.folder)
    with pytest.raises(ValueError, match=f"holds another run: {message}"):
        read_result(job)


@pytest.mark.parametrize("beside", ["nothing", "the notes of this run"])
def test_result_that_was_copied_or_changed_is_refused(tmp_path: Path, beside: str) -> None:
    (job,) = jobs_of(StudyConfig(method=("gold",)), tmp_path)
    job.folder.mkdir(parents=True)
    if beside != "nothing":
        write_result(job.config, job.folder, attacked("gold"))
    (job.folder / RESULT).write_text(json.dumps(attacked("gold") | {"label": "changed"}))
    with pytest.raises(ValueError, match=r"result\.json is not what the run of this folder wrote"):
        read_result(job)


def test_summary_stores_a_loss_that_is_not_finite_as_null(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    diverged = result("era", 0, float("nan")) | {"label_recall": 1.0}
    write_summary(path, StudyConfig(), [], [diverged], {})
    assert json.loads(path.read_text())["results"][0]["relearned_forget_loss"] is None


TORCHRUN = (
    *("--config", "smoke", "--method", "era", "--expansion", "4"),
    *("--loop.steps", "4", "--loop.checkpoint-every", "2"),
)


def started(processes: int, *args: object) -> subprocess.CompletedProcess[str]:
    """Run the command by `torchrun` with several processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc-per-node", str(processes), "-m", "lm.unlearn", *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env)


def only_result(folder: Path) -> dict[str, Any]:
    """Return the result of the only run of a study."""
    (path,) = folder.glob("runs/*/result.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the study that one process ran."""
    folder = tmp_path_factory.mktemp("one_process")
    assert cli.run(main, [*TORCHRUN, "--workers", "1", "--run-dir", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_reproduce_the_study_of_one(
    parallel: str, one_process: Path, tmp_path: Path
) -> None:
    done = started(2, *TORCHRUN, "--loop.scale.parallel", parallel, "--run-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results:") == 1
    assert done.stderr.count("0 runs finished, 1 to do") == 1
    one, two = only_result(one_process), only_result(tmp_path)
    losses = [[loss for _, loss in each["training"]["loss"]] for each in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for name in ("forget_loss", "retain_loss"):
        assert two[name] == pytest.approx(one[name], abs=1e-4)
    assert not list(tmp_path.glob("runs/*/training.pt*"))
    again = started(2, "--resume", tmp_path, "--loop.scale.parallel", "ddp")
    assert again.returncode == 0, again.stderr
    assert "1 runs finished, 0 to do" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--loop.scale.accumulate", "3"), "a batch of 8 rows does not"),
        (("--batch-size", "7"), "a batch of 7 rows does not"),
    ],
)
def test_indivisible_batches_are_reported_once(
    args: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = started(2, *TORCHRUN, "--run-dir", tmp_path / "study", *args)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert f"error: {message}" in done.stderr
    assert not (tmp_path / "study").exists()


def test_share_over_processes_refuses_settings_that_one_process_cannot_share() -> None:
    study = StudyConfig(run=RunConfig(loop=LoopConfig(scale=ScaleConfig(parallel="fsdp"))))
    with pytest.raises(ValueError, match=r"this one is alone: start it by `torchrun"):
        share_over_processes(study)
    with pytest.raises(ValueError, match="8 rows does not divide into 1 processes times accum"):
        share_over_processes(
            StudyConfig(run=RunConfig(loop=LoopConfig(scale=ScaleConfig(accumulate=3))))
        )
