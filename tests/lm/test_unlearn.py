"""Tests of the command: which runs it executes, what it writes and prints, and how it resumes.

Made-up results replace all runs, so that only the command itself is tested.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm.corpus.world import LEXICON
from lm.report import FACTS_CURVE
from lm.unlearn import main
from oversight.runs import cli
from tests.lm.result_factories import curve, result, write_result
from tests.oversight.runs.refusals import Capture, refused

RELEARNED = {
    **{"gold": 2.0, "unrouted": 1.0, "filtered": 1.4, "rmu": 1.1},
    **{"modules": 1.8, "modules-classified": 1.8},
}


def run_unlearn(*args: object) -> int:
    """Run the command, one run at a time; return its exit code."""
    return cli.run(main, ["--workers", "1", *map(str, args)])


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace runs by made-up results, and return a list to which each run is added."""
    names: list[str] = []

    def run_method(
        config: Any,  # noqa: ANN401
        task: object,
        name: str,
        seed: int,
        folder: Path,
        progress: Callable[[str, float], None],
    ) -> dict[str, Any]:
        if config.loop.steps == 13 and name == "filtered":
            raise ValueError("the disk\nis full")
        progress("training", 0.5)
        made = result(
            name,
            seed,
            RELEARNED[name] + seed / 10,
            curves=[
                curve([3.0, RELEARNED[name] + seed / 10]),
                curve([0.2, 0.4], FACTS_CURVE.attack, FACTS_CURVE.measure),
            ],
        )
        write_result(config, folder, made)
        names.append(f"{name} {seed} {config.labels.recall:g}")
        return made

    monkeypatch.setattr("lm.study.run_method", run_method)
    monkeypatch.setattr("lm.study.load_task", lambda config: None)  # training a tokenizer is slow
    return names


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def test_default_study_runs_the_references_and_a_routed_method(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert run_unlearn("--run-dir", tmp_path / "a") == 0
    order = ["unrouted", "gold", "filtered", "modules-classified"]
    assert done == [f"{method} 0 0.9" for method in order]
    written = summary(tmp_path / "a")
    assert [each["method"] for each in written["results"]] == order
    assert written["results"][3]["savings_vs_gold"] == pytest.approx(0.1)
    assert (written["missing"], written["failed"]) == ([], {})
    shown = capsys.readouterr()
    assert "forget forest, label recall 0.9, 1 seed" in shown.out
    assert written["verdict"] in shown.out.splitlines()
    assert written["verdict"].startswith(
        "modules-classified relearns most like gold: of the area between"
    )
    assert f"results:  {tmp_path}/a/summary.json" in shown.out
    assert (tmp_path / "a" / "figures" / "relearning.png").exists()
    assert list((tmp_path / "a" / "runs" / "gold-seed0").glob("events.out.tfevents.*"))
    lines = [line.split(", about")[0] for line in shown.err.splitlines()]
    assert lines[0] == f"0 runs finished, 4 to do; folder {tmp_path}/a"
    assert lines[1:] == [f"{k}/4 {name}-seed0: done" for k, name in enumerate(order, 1)]


def test_resume_runs_only_what_is_new_or_damaged(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    flags = ("--method", "gold", "filtered", "--label-recall", "0.9", "--seeds", "0")
    assert run_unlearn("--run-dir", tmp_path / "a", *flags) == 0
    done.clear()
    assert run_unlearn("--resume", tmp_path / "a") == 0
    assert done == []
    assert run_unlearn("--resume", tmp_path / "a", "--seeds", "0", "1") == 0
    assert done == ["gold 1 0.9", "filtered 1 0.9"]
    assert [each["seed"] for each in summary(tmp_path / "a")["results"]] == [0, 1, 0, 1]
    done.clear()
    assert run_unlearn("--resume", tmp_path / "a", "--attack", "full") == 0
    assert len(done) == 4  # none has had the attacks of the full suite
    assert run_unlearn("--resume", tmp_path / "a", "--attack", "relearning") == 0
    done.clear()
    (tmp_path / "a" / "summary.json").write_text("{")
    damaged = tmp_path / "a" / "runs" / "gold-seed1" / "result.json"
    damaged.write_text(damaged.read_text()[:50])
    assert run_unlearn("--resume", tmp_path / "a") == 0
    assert done == ["gold 1 0.9"]
    assert len(summary(tmp_path / "a")["results"]) == 4


def test_study_of_before_the_audit_resumes_with_it_and_repeats_no_run(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert run_unlearn("--run-dir", tmp_path, "--method", "gold", "filtered") == 0
    stored = json.loads((tmp_path / "config.json").read_text())
    for name in ("audit", "audit_every"):
        del stored["run"]["loop"][name]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    stages = tmp_path / "runs" / "gold-seed0" / "stages.json"
    identity = json.loads(stages.read_text())["identity"]
    assert identity["loop"].keys() == stored["run"]["loop"].keys() - {"scale"}
    done.clear()
    flags = ("--loop.audit", "--loop.audit-every", "5", "--seeds", "0", "1")
    assert run_unlearn("--resume", tmp_path, *flags) == 0
    assert done == ["gold 1 0.9", "filtered 1 0.9"]
    assert json.loads((tmp_path / "config.json").read_text())["run"]["loop"]["audit"] is True
    line = refused(capsys, run_unlearn, "--resume", tmp_path, "--loop.scale.accumulate", "2")
    assert "--loop.audit was given with --loop.scale.accumulate 2" in line


def test_failed_run_is_reported_and_does_not_end_the_others(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert run_unlearn("--run-dir", tmp_path / "a", "--loop.steps", "13") == 1
    assert done == ["unrouted 0 0.9", "gold 0 0.9", "modules-classified 0 0.9"]
    written = summary(tmp_path / "a")
    assert written["failed"] == {"filtered-seed0": "the disk is full"}
    assert written["missing"] == ["filtered-seed0"]
    assert "3/4 filtered-seed0: FAILED: the disk is full" in capsys.readouterr().err


def test_sweep_over_labels_runs_the_references_once(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    flags = ("--sweep", "labels", "--recalls", "0.5", "1", "--method", "filtered", "rmu")
    assert run_unlearn("--run-dir", tmp_path / "a", *flags) == 0
    assert done == [
        *("unrouted 0 1", "gold 0 1"),
        *("filtered 0 0.5", "filtered 0 1", "rmu 0 0.5", "rmu 0 1"),
    ]
    assert summary(tmp_path / "a")["verdict"] in capsys.readouterr().out.splitlines()
    assert (tmp_path / "a" / "figures" / "label-recall.png").exists()


def test_sweep_over_tax_runs_each_expansion_once_and_all_labels(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    flags = ("--sweep", "tax", "--expansions", "4", "8", "--method", "filtered", "modules")
    assert run_unlearn("--run-dir", tmp_path / "a", *flags) == 0
    references = ["unrouted 0 1", "gold 0 1"]
    assert done == [*references, "filtered 0 1", "modules 0 1", "modules 0 1"]
    written = summary(tmp_path / "a")
    assert written["study"]["run"]["suite"] == "none"
    sizes = [(each["method"], each["expansion"]) for each in written["results"]]
    assert sizes[-3:] == [("filtered", None), ("modules", 4), ("modules", 8)]
    assert {each["topic_count"] for each in written["results"]} == {1}
    assert written["verdict"].startswith("The tax relative to unrouted of the same seed. Retain")
    assert written["verdict"] in capsys.readouterr().out.splitlines()
    assert (tmp_path / "a" / "figures" / "tax.png").exists()
    done.clear()
    resumed = ("--expansions", "4", "8", "16", "--seeds", "0", "1")
    assert run_unlearn("--resume", tmp_path / "a", *resumed, "--method", "modules") == 0
    assert done == ["unrouted 1 1", "gold 1 1", "modules 0 1", *["modules 1 1"] * 3]


def test_sweep_over_tax_can_have_labels_of_another_recall(done: list[str], tmp_path: Path) -> None:
    flags = ("--sweep", "tax", "--expansions", "4", "--method", "modules", "--label-recall", "0.9")
    assert run_unlearn("--run-dir", tmp_path / "a", *flags) == 0
    assert done == ["unrouted 0 0.9", "gold 0 0.9", "modules 0 0.9"]


def test_study_begun_before_there_was_a_sweep_over_tax_is_resumed(
    done: list[str], tmp_path: Path
) -> None:
    assert run_unlearn("--run-dir", tmp_path / "a", "--method", "gold", "--expansion", "32") == 0
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    del config["expansions"], config["topic_counts"]
    path.write_text(json.dumps(config))
    done.clear()
    assert run_unlearn("--resume", tmp_path / "a", "--method", "gold", "filtered") == 0
    assert done == ["filtered 0 0.9"]


def test_figures_are_skipped_with_a_line_when_matplotlib_is_missing(
    done: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.study.find_spec", lambda name: None)
    assert run_unlearn("--run-dir", tmp_path / "a", "--method", "gold") == 0
    line = "figures:  they need matplotlib: pip install 'oversight-testbed[report]'"
    assert line in capsys.readouterr().out.splitlines()
    assert not (tmp_path / "a" / "figures").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--method eta", "'eta' mean era choose gold rmu modules"),
        ("--method era2", "'era2' mean era choose"),
        ("--method", "methods () one or more"),
        ("--config defualt", "'defualt' mean default"),
        ("--label-recall 1.5", "label_recall 1.5 [0, 1]"),
        ("--label-recall -0.1", "label_recall -0.1 [0, 1]"),
        ("--label-recall nan", "label_recall nan [0, 1]"),
        ("--label-precision 0", "precision 0.0 above 0"),
        ("--label-errors all", "'all' iid topic entity"),
        ("--task.topic-cue own", "'own' words entities pairs"),
        ("--task.topic-cue pairs --task.quartets 5", "has 64 such words; use fewer quartets"),
        ("--sweep seeds", "'seeds' labels"),
        ("--expansions 4 8", "expansions (4, 8) --sweep tax --expansion"),
        ("--sweep labels --expansions 4", "expansions (4,) --sweep tax"),
        ("--topic-counts 1", "topic_counts (1,) --sweep tax --forget-topics"),
        ("--sweep tax --recalls 0.5", "recalls (0.5,) --sweep labels --label-recall"),
        ("--sweep tax --precisions 0.5", "precisions (0.5,) --sweep labels"),
        ("--sweep tax --expansion 32", "expansion 32 its own --expansions"),
        ("--sweep tax --expansions 4 4", "expansions (4, 4) each once"),
        ("--sweep tax --expansions 0 4", "expansions (0, 4) 1 or more"),
        ("--sweep tax --expansions", "expansions () one or more"),
        ("--sweep tax --topic-counts 1 1", "topic_counts (1, 1) each once"),
        ("--sweep tax --topic-counts 1 2", "topic_counts (1, 2) 1 topic to forget from 1 to 1"),
        ("--sweep tax --topic-counts 0", "topic_counts (0,) from 1 to 1"),
        ("--sweep tax --method filtered rmu", "filtered, rmu no expansion modules"),
        (
            "--sweep tax --forget-topics forest sea --topic-counts 1 2 --method gram filtered+sea",
            "filtered+sea keeps sea of forest",
        ),
        ("--sweep tax --topic-counts 1 --profiles", "topic_counts --profiles leave one"),
        ("--sweep tax --topic-counts 1 --data there", "topic_counts documents of there no topics"),
        ("--recalls 0.5 2", "label_recall 2.0 [0, 1]"),
        ("--forget-topics atlantis", "atlantis forest"),
        ("--forget-topics", "forget set empty name forest"),
        ("--method filtered+forest+forest", "filtered+forest+forest each once forest"),
        ("--method filtered+sea", "filtered+sea keeps sea topics to forget"),
        ("--method filtred+forest", "'filtred+forest' mean filtered"),
        ("--method gold+forest", "gold once per profile filtered"),
        ("--method gram --forget-topics forest sea --batch-size 1", "gram 2 topics 1 texts"),
        ("--method gram --config smoke --label-recall 0", "no text of forest is labeled gram"),
        ("--gram.core-learns 2", "core_learns 2.0 [0, 1]"),
        ("--forget-topics forest forest", "different topics ('forest', 'forest')"),
        (f"--forget-topics {' '.join(LEXICON.topics)}", "every topic forgotten leave one"),
        ("--task.stories 4", "batch_size 8 at most 4 stories"),
        ("--batch-size 12801", "batch_size 12801 at most 12800 stories"),
        ("--loop.steps -1", "steps -1"),
        ("--loop.audit-every 0", "audit_every 0 1 or more"),
        ("--loop.audit --loop.scale.parallel ddp", "--loop.audit --loop.scale.parallel ddp one"),
        ("--attack.steps 0", "steps 0 above 0"),
        ("--attack everything", "everything relearning full"),
        ("--grid.lora.rank 0", "rank 0 1 or more"),
        ("--grid.gcg.steps 0", "steps 0 1 or more"),
        ("--grid.shots -1", "shots (-1,) 0 or more"),
        ("--config smoke --label-precision 0.01", "precision 0.01 false labels"),
        ("--label-recal 1", "'--label-recal' mean --label-recall"),
    ],
)
def test_invalid_input_ends_with_one_line_and_writes_nothing(
    flags: str, words: str, tmp_path: Path, capsys: Capture
) -> None:
    line = refused(capsys, run_unlearn, "--run-dir", tmp_path / "a", *flags.split())
    assert all(word in line for word in words.split())
    assert not (tmp_path / "a").exists()


def test_study_is_neither_overwritten_nor_resumed_with_other_settings(
    done: list[str], tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "a"
    assert run_unlearn("--run-dir", folder, "--method", "gold") == 0
    before = (folder / "config.json").read_bytes()
    assert "add --resume" in refused(capsys, run_unlearn, "--run-dir", folder)
    line = refused(capsys, run_unlearn, "--resume", folder, "--label-recall", "0.5")
    assert "the run has label_recall 0.9, 0.5 was given" in line
    line = refused(capsys, run_unlearn, "--resume", folder, "--task.stories", "500")
    assert "the run has task.stories" in line
    assert "leave --config out" in refused(
        capsys, run_unlearn, "--resume", folder, "--config", "quick"
    )
    assert (folder / "config.json").read_bytes() == before
    (folder / "config.json").write_bytes(before[:100])
    assert "config.json is not JSON" in refused(capsys, run_unlearn, "--resume", folder)
    assert "cannot be read" in refused(capsys, run_unlearn, "--resume", tmp_path / "b")
