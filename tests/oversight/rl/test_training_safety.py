"""Nothing in a run's folder is executed, whoever made it."""

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agents.checkpoint import read_state
from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import run_evaluate, run_train
from tests.oversight.test_errors import Capture, refused


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "executed"


def rewrite(archive: Path, changes: dict[str, bytes]) -> None:
    """Replace files inside a zip."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in (members | changes).items():
            new.writestr(name, content)


def torch_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_the_trap_works(mark: Path) -> None:
    """Without this the tests below could hold because nothing is dangerous."""
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.exists()
    mark.unlink()
    torch.load(io.BytesIO(torch_bytes(Trap(mark))), weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("form", ["torch", "pickle", "inside"])
def test_a_checkpoint_is_not_executed(capsys: Capture, copied: Path, mark: Path, form: str) -> None:
    path = RunFolder(copied).checkpoint
    if form == "inside":
        state = read_state(path)
        state["agent"]["episodes"] = [Trap(mark)]
        path.write_bytes(torch_bytes(state))
    else:
        path.write_bytes(pickle.dumps(Trap(mark)) if form == "pickle" else torch_bytes(Trap(mark)))
    assert "not a whole checkpoint" in refused(capsys, run_train, "--resume", copied)
    assert not mark.exists()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "inside"])
def test_weights_are_not_executed(capsys: Capture, copied: Path, mark: Path, whole: bool) -> None:
    path = RunFolder(copied).model
    if whole:
        path.write_bytes(pickle.dumps(Trap(mark)))
    else:
        rewrite(path, {"policy.pth": torch_bytes({"weight": Trap(mark)})})
    assert "not a whole model" in refused(capsys, run_evaluate, copied)
    assert not mark.exists()


def test_the_pickled_parts_of_a_model_are_ignored(copied: Path, mark: Path) -> None:
    trap = base64.b64encode(pickle.dumps(Trap(mark))).decode()
    entry = {":type:": "<class 'dict'>", ":serialized:": trap}
    names = ("policy_class", "policy_kwargs", "learning_rate", "method", "observation_space")
    rewrite(
        RunFolder(copied).model,
        {
            "data": json.dumps(dict.fromkeys(names, entry)).encode(),
            "pytorch_variables.pth": torch_bytes(Trap(mark)),
            "policy.optimizer.pth": torch_bytes(Trap(mark)),
        },
    )
    assert run_evaluate(copied, "--episodes", "4", "--threads", "1") == 0
    assert run_train("--resume", copied) == 0
    assert not mark.exists()


def test_settings_are_data(capsys: Capture, copied: Path, mark: Path) -> None:
    for content in (
        pickle.dumps(Trap(mark)),
        f'__import__("pathlib").Path({str(mark)!r}).touch()'.encode(),
    ):
        RunFolder(copied).config.write_bytes(content)
        for run, *args in ((run_train, "--resume", copied), (run_evaluate, copied)):
            assert "config.json is not JSON" in refused(capsys, run, *args)
    assert not mark.exists()
