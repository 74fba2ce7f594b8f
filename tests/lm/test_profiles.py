"""Tests of `python -m lm.profiles` on a finished run of tiny models."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm.config import StudyConfig
from lm.evaluation.topic_exam import examine_topics, make_topic_exam
from lm.finished import read_run
from lm.models import files
from lm.models.hf_loading import load_pretrained
from lm.profiles import main, plain_model, serve
from lm.run import run_method
from oversight.runs import cli
from oversight.runs.folder import RunFolder, write_config
from tests.lm.evaluation.factories import tiny_task
from tests.lm.test_run import CONFIG, tiny_size
from tests.oversight.runs.refusals import Capture, refused

__all__ = ["tiny_size"]
TASK = tiny_task()
METHODS = ("modules", "demix", "unrouted")
RUN = replace(CONFIG, task=replace(CONFIG.task, forget=("wood",)))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_size: None) -> Iterator[Path]:
    """Return the folder of runs of a study, and let the command read its task."""
    folder = tmp_path_factory.mktemp("study")
    write_config(RunFolder(folder), StudyConfig(method=METHODS, seeds=(1,), run=RUN))
    for method in METHODS:
        run = folder / "runs" / f"{method}-seed1"
        run_method(RUN, TASK, method, 1, run, lambda stage, share: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.pretraining.load_task", lambda config: TASK)
        yield folder / "runs"


def rows(capsys: Capture) -> list[str]:
    """Return the rows of the printed table."""
    lines = capsys.readouterr().out.splitlines()
    return [line.strip() for line in lines if line.count("%") == 2 and "guessing" not in line]


def cells(name: str, model: torch.nn.Module) -> list[str]:
    """Return the words of the row of a model."""
    found = examine_topics(model, make_topic_exam(TASK, 1, RUN.exam))  # type: ignore[arg-type]
    return [
        *name.split(),
        *(
            word
            for each in found.values()
            for word in (f"{each['loss']:.3f}", f"{each['facts']:.0%}")
        ),
    ]


def test_table_lists_all_profiles(study: Path, capsys: Capture) -> None:
    assert cli.run(main, [str(study / "modules-seed1")]) == 0
    trained = files.load(study / "modules-seed1" / "trained.safetensors")
    assert [row.split() for row in rows(capsys)] == [
        cells("none", trained.ablated()),
        cells("expansion", trained),
    ]


def test_table_of_a_method_without_modules_has_its_only_profile(
    study: Path, capsys: Capture
) -> None:
    assert cli.run(main, [str(study / "unrouted-seed1")]) == 0
    trained = files.load(study / "unrouted-seed1" / "trained.safetensors")
    assert [row.split() for row in rows(capsys)] == [cells("wood", trained)]


def test_weights_and_titration_scale_a_module(study: Path, capsys: Capture) -> None:
    run = str(study / "modules-seed1")
    trained = files.load(study / "modules-seed1" / "trained.safetensors")
    half = cells("0.5 expansion", trained.profile("expansion", weights={"expansion": 0.5}))
    assert cli.run(main, [run, "--weights", "expansion=0.5"]) == 0
    assert [row.split() for row in rows(capsys)] == [half]
    assert cli.run(main, [run, "--titrate", "expansion"]) == 0
    titrated = [row.split() for row in rows(capsys)]
    assert [row[0] for row in titrated] == ["0", "0.25", "0.5", "0.75", "1"]
    assert titrated[2] == half
    assert titrated[4] == cells("1 expansion", trained)
    assert titrated[0] == cells("0 expansion", trained.ablated())
    assert cli.run(main, [run, "--profile"]) == 0
    assert [row.split() for row in rows(capsys)] == [cells("none", trained.ablated())]


def test_weight_of_an_expert_counts_in_the_mean(study: Path, capsys: Capture) -> None:
    trained = files.load(study / "demix-seed1" / "trained.safetensors")
    half = trained.profile("wood", weights={"wood": 0.5})
    assert cli.run(main, [str(study / "demix-seed1"), "--titrate", "wood"]) == 0
    titrated = [row.split() for row in rows(capsys)]
    assert titrated[0] == cells("0 wood", trained.ablated())
    assert titrated[2] == cells("0.5 wood", half)
    assert titrated[4] == cells("1 wood", trained)


@pytest.mark.parametrize(
    ("method", "flags", "on", "weights"),
    [
        ("modules", ["--profile"], (), {}),
        ("modules", ["--profile", "expansion"], ("expansion",), {}),
        ("modules", ["--weights", "expansion=0.25"], ("expansion",), {"expansion": 0.25}),
        ("demix", ["--profile"], (), {}),
        ("demix", ["--profile", "wood"], ("wood",), {}),
        ("demix", ["--weights", "wood=0.25"], ("wood",), {"wood": 0.25}),
        ("unrouted", ["--profile", "wood"], ("wood",), {}),
    ],
)
def test_exported_folder_has_the_bits_of_the_served_model(
    method: str,
    flags: list[str],
    on: tuple[str, ...],
    weights: dict[str, float],
    study: Path,
    tmp_path: Path,
) -> None:
    run = study / f"{method}-seed1"
    assert cli.run(main, [str(run), *flags, "--export", str(tmp_path / "new" / "x")]) == 0
    exported, tokenizer = load_pretrained(tmp_path / "new" / "x")
    model = serve(read_run(run), on, weights)
    inputs = TASK.sample(4, [9]).inputs
    with torch.no_grad():
        found = exported(inputs).logits
        assert torch.equal(found, plain_model(model, TASK)(inputs).logits)
        torch.testing.assert_close(found, model(inputs), rtol=0, atol=1e-5)
    assert tokenizer.decode(inputs[0]) == TASK.tokenizer.decode(
        inputs[0].tolist(), skip_special_tokens=False
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--profile forest", "profile forest name modules expansion"),
        ("--profile expansion expansion", "expansion each once"),
        ("--weights expansion=2", "weight 0 to 1"),
        ("--weights expansion", "expansion write forest=0.5"),
        ("--weights expansion=x", "expansion=x write forest=0.5"),
        ("--weights expansion=0 expansion=1", "each module once"),
        ("--export somewhere", "without a profile --profile"),
        ("--export . --profile", "exists new folder"),
        ("--export somewhere --titrate expansion", "--export --titrate one profile"),
        ("--titrate forest", "profile forest name modules expansion"),
    ],
)
def test_invalid_profile_is_refused_with_one_line(
    flags: str, words: str, study: Path, capsys: Capture
) -> None:
    def run(*args: str) -> int:
        return cli.run(main, args)

    line = refused(capsys, run, str(study / "modules-seed1"), *flags.split())
    assert all(word in line for word in words.split())


def test_what_is_no_finished_run_is_refused(study: Path, tmp_path: Path, capsys: Capture) -> None:
    def run(*args: str) -> int:
        return cli.run(main, args)

    line = refused(capsys, run, str(tmp_path))
    assert "holds no finished run of python -m lm.unlearn" in line
    line = refused(capsys, run, str(study / "unrouted-seed1"), "--profile")
    assert "unrouted, which has no modules: its only profile is --profile wood" in line
