"""Tests of the files of finished stages: what is read again, made again and refused."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.models.files import save
from lm.models.gpt import GPT
from lm.stages import Stages, owned
from tests.lm.models.gpt_factories import EXPANDED, SMALL

ONE: dict[str, Any] = {"method": "era", "seed": 1, "loop": {"clip": float("inf"), "betas": (0, 1)}}


def never() -> Any:  # noqa: ANN401
    raise AssertionError


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


def test_stages_reads_finished_stages_with_their_durations(tmp_path: Path) -> None:
    stages = Stages(tmp_path, ONE)
    assert stages.record("before", lambda: {"a": (1, 2)}) == {"a": [1, 2]}
    model = stages.model("trained", lambda: GPT(SMALL, seed=3))
    again = Stages(tmp_path, ONE)
    assert again.record("before", never) == {"a": [1, 2]}
    kept = again.model("trained", never)
    assert all(map(torch.equal, kept.parameters(), model.parameters()))
    assert set(again.seconds) == {"before", "trained"}
    assert {path.name for path in tmp_path.iterdir()} == {
        *("stages.json", "before.json", "trained.safetensors"),
    }


def test_stages_are_equal_where_their_weights_are(tmp_path: Path) -> None:
    stages = Stages(tmp_path, ONE)
    for name, seed in (("trained", 3), ("ablated", 3), ("model", 4)):
        stages.model(name, partial(GPT, SMALL, seed))
    (tmp_path / "trained.safetensors").unlink()  # as large weights are
    assert stages.equal("trained", "ablated")
    assert not stages.equal("ablated", "model")
    assert not stages.equal("never", "never")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_model_that_diverged_is_refused_and_not_written(tmp_path: Path, value: float) -> None:
    model = GPT(SMALL, seed=3)
    next(model.parameters()).data.view(-1)[0] = value
    with pytest.raises(ValueError, match="model trained are not finite, as its training diverged"):
        Stages(tmp_path, ONE).model("trained", lambda: model)
    assert [path.name for path in tmp_path.iterdir()] == ["stages.json"]


def test_stages_refuses_the_folder_of_another_run(tmp_path: Path) -> None:
    Stages(tmp_path, ONE)
    for other, words in (
        (ONE | {"seed": 2}, "its seed is 1, not 2"),
        (ONE | {"loop": {"clip": 1.0, "betas": (0, 1)}}, r"its loop\.clip is None, not 1\.0"),
        ({"method": "era", "seed": 1}, r"its loop\.betas is \[0, 1\], not None"),
    ):
        with pytest.raises(ValueError, match=f"{tmp_path} holds another run: {words}"):
            Stages(tmp_path, other)
    (tmp_path / "stages.json").write_text("{}")
    with pytest.raises(ValueError, match="its method is None, not 'era'"):
        Stages(tmp_path, ONE)


@pytest.mark.parametrize("cut", [0, 40, None], ids=["empty", "cut", "one bit"])
def test_damaged_file_is_refused_and_made_again_when_removed(
    tmp_path: Path, cut: int | None
) -> None:
    stages = Stages(tmp_path, ONE)
    stages.record("before", lambda: {"loss": 1.25, "text": "once upon a time in a far forest"})
    stages.model("trained", lambda: GPT(SMALL, seed=3))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("before.json", "trained.safetensors"):
        path = tmp_path / name
        whole = before[path]
        path.write_bytes(whole[:cut] if cut is not None else whole[:-9] + b"1" + whole[-8:])
        assert not owned(path)
    for read in (lambda: stages.record("before", never), lambda: stages.model("trained", never)):
        with pytest.raises(ValueError, match="is not what this run wrote: remove it, and the run"):
            read()
    for name in ("before.json", "trained.safetensors"):
        (tmp_path / name).unlink()
    stages.record("before", lambda: {"loss": 1.25, "text": "once upon a time in a far forest"})
    stages.model("trained", lambda: GPT(SMALL, seed=3))
    assert all(
        path.read_bytes() == content for path, content in before.items() if path != stages.notes
    )


def test_stages_refuses_a_model_that_another_run_wrote(tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed}").mkdir()
    Stages(tmp_path / "1", ONE).model("trained", lambda: GPT(SMALL, seed=1))
    stages, copied = Stages(tmp_path / "2", ONE | {"seed": 2}), tmp_path / "2/trained.safetensors"
    copied.write_bytes((tmp_path / "1" / copied.name).read_bytes())
    with pytest.raises(ValueError, match="is not what this run wrote"):
        stages.model("trained", never)
    save(GPT(EXPANDED), copied)
    with pytest.raises(ValueError, match="is not what this run wrote"):
        stages.model("trained", never)
    assert not owned(tmp_path / "3" / "trained.safetensors")


def test_stages_keeps_its_files_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages(tmp_path, ONE)
    stages.record("before", lambda: {"a": 1})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\)"):
            stages.record("after", lambda: {"a": 2})
        with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\)"):
            stages.model("trained", lambda: GPT(SMALL))
        with pytest.raises(ValueError, match=r"stages\.json cannot be written"):
            Stages(tmp_path.parent, ONE)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert stages.record("after", lambda: {"a": 2}) == {"a": 2}


def test_interrupted_stage_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Stages(tmp_path, ONE)
    rename = Path.replace

    def die(path: Path, target: Path) -> Path:
        if target.name == "before.json":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            stages.record("before", lambda: {"a": 1})
    assert not (tmp_path / "before.json").exists()
    assert Stages(tmp_path, ONE).record("before", lambda: {"a": 2}) == {"a": 2}
