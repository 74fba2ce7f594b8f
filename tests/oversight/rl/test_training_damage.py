"""Damaged and foreign files of a run are refused by name, and no file is changed."""

import base64
import codecs
import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.checkpoint import read_model_weights, read_state
from oversight.rl.config import TrainConfig
from oversight.runs.folder import RunFolder, read_config
from tests.oversight.rl.trained_runs import contents, run_evaluate, run_train
from tests.oversight.runs.refusals import Capture, refused

READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint.pt": read_state,
    "model.zip": read_model_weights,
}


def saved(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "half": (halved, "not a whole checkpoint"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole checkpoint"),
    "text": (lambda path: path.write_text("hello"), "not a whole checkpoint"),
    "a tensor": (saved(torch.zeros(3)), "not a checkpoint: it holds Tensor"),
    "a list": (saved([1, 2]), "not a checkpoint: it holds list"),
    "nothing": (saved({}), "not a checkpoint of a training run"),
    "no time": (saved({"agent": {}}), "not a checkpoint of a training run"),
    "a word for time": (saved({"agent": {}, "seconds": "x"}), "not a checkpoint of a training run"),
    "no agent": (saved({"agent": {}, "seconds": 1.0}), "does not fit this run"),
    "a number for agent": (saved({"agent": 3, "seconds": 1.0}), "does not fit this run"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_damaged_checkpoint_is_refused(capsys: Capture, copied: Path, name: str) -> None:
    damage, words = CHECKPOINTS[name]
    damage(RunFolder(copied).checkpoint)
    before = contents(copied)
    line = refused(capsys, run_train, "--resume", copied)
    assert words in line
    assert f"remove {RunFolder(copied).checkpoint} to train this run again" in line
    assert contents(copied) == before


def test_weights_of_another_network_are_refused(
    capsys: Capture, copied: Path, tmp_path: Path
) -> None:
    other = RunFolder(tmp_path / "other")
    wide = ("--config", "smoke", "--ppo.hidden-sizes", "8", "8", "--total-timesteps", "1")
    assert run_train(*wide, "--threads", "1", "--run-dir", other.path) == 0
    for name, run, *args in (
        ("checkpoint", run_train, "--resume", copied),
        ("model", run_evaluate, copied),
    ):
        getattr(RunFolder(copied), name).write_bytes(getattr(other, name).read_bytes())
        before = contents(copied)
        line = refused(capsys, run, *args)
        assert "another network than modules ('goal', 'proxy') of widths (16, 16)" in line
        assert contents(copied) == before


@pytest.mark.parametrize(
    "damage",
    [halved, lambda path: path.unlink(), lambda path: path.write_bytes(b"PK"), saved({})],
    ids=["half", "missing", "other bytes", "another zip"],
)
def test_damaged_model_is_refused(
    capsys: Capture, copied: Path, damage: Callable[[Path], object]
) -> None:
    damage(RunFolder(copied).model)
    before = contents(copied)
    assert "model.zip is not a whole model" in refused(capsys, run_evaluate, copied)
    assert contents(copied) == before


@pytest.mark.parametrize("name", READERS)
def test_damage_raises_only_value_errors(finished: Path, tmp_path: Path, name: str) -> None:
    data = (finished / name).read_bytes()
    draw = random.Random(0)
    for trial in range(150):
        damaged = bytearray(data)
        for _ in range(draw.randrange(1, 20)):
            where = draw.choice([draw.randrange(len(data)), -1 - draw.randrange(3000)])
            damaged[where] = draw.randrange(256)
        path = tmp_path / name
        path.write_bytes(damaged[: draw.randrange(len(data))] if trial % 3 == 0 else damaged)
        try:
            READERS[name](path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 (some damage does no harm)


@pytest.mark.parametrize("name", READERS)
def test_flipped_bit_of_a_weight_is_detected(finished: Path, tmp_path: Path, name: str) -> None:
    weights = read_model_weights(RunFolder(finished).model)
    pattern = max(weights.values(), key=torch.numel).numpy().tobytes()
    data = bytearray((finished / name).read_bytes())
    data[bytes(data).index(pattern) + 3] ^= 8
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a whole"):
        READERS[name](path)


CONFIGS: dict[str, Callable[[str], str]] = {
    "half": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[]",
    "deep": lambda text: "[" * 100_000,
    "a setting too many": lambda text: text.replace('"env":', '"sleep": 1, "env":'),
    "a setting missing": lambda text: text.replace('"seed": 0,', ""),
    "a word for a number": lambda text: text.replace('"seed": 0', '"seed": "0"'),
    "truth for a number": lambda text: text.replace('"seed": 0', '"seed": true'),
    "a huge number": lambda text: text.replace('"gamma": 0.97', f'"gamma": 1{"0" * 400}'),
    "NaN": lambda text: text.replace(
        '"oversight_probability": 0.1', '"oversight_probability": NaN'
    ),
    "a number for a record": lambda text: text.replace('"grid": {', '"grid": 3, "x": {'),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_damaged_settings_are_refused(capsys: Capture, copied: Path, name: str) -> None:
    path = RunFolder(copied).config
    changed = CONFIGS[name](path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    before = contents(copied)
    for run, *args in ((run_train, "--resume", copied), (run_evaluate, copied)):
        refused(capsys, run, *args)
    assert contents(copied) == before


def test_settings_are_refused_when_not_text(capsys: Capture, copied: Path) -> None:
    RunFolder(copied).config.write_bytes(b"\xff\xfe")
    assert "config.json is not JSON" in refused(capsys, run_evaluate, copied)


def test_settings_are_read_after_a_byte_order_mark(copied: Path) -> None:
    path = RunFolder(copied).config
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert read_config(RunFolder(copied), TrainConfig).seed == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"seed": 0', '"seed": "0"', "seed is '0', which is not a whole number"),
        ('"seed": 0', '"seed": -1', "seed -1 was given: give a whole number from 0 to 2**32 - 1"),
        ('"anneal": true', '"anneal": 1', "ppo: anneal is 1, which is not true or false"),
        ('"device": "cpu"', '"device": "x"', "device is 'x', which is not one of auto, cpu, cuda"),
        ('"gamma": 0.97', '"gamma": 2', "ppo: gamma 2.0 was given: give a number in [0, 1]"),
    ],
)
def test_refused_setting_is_named_with_its_file(
    capsys: Capture, copied: Path, old: str, new: str, words: str
) -> None:
    path = RunFolder(copied).config
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert f"error: {path}: {words}" in refused(capsys, run_evaluate, copied)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_of_any_setting_is_read_or_refused(data: st.DataObject, finished: Path) -> None:
    stored = json.loads(RunFolder(finished).config.read_text())
    record = data.draw(st.sampled_from([stored, stored["grid"], stored["ppo"]]))
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(JSON)
    folder = RunFolder(finished.parent)
    folder.config.write_text(json.dumps(stored))
    try:
        config = read_config(folder, TrainConfig)
    except ValueError:
        return
    assert isinstance(config, TrainConfig)
    assert 0 <= config.oversight_probability <= 1


class TouchOnUnpickle:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "executed"


def rewrite(archive: Path, changes: dict[str, bytes]) -> None:
    """Replace files inside a zip archive."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in (members | changes).items():
            new.writestr(name, content)


def torch_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_touch_on_unpickle_runs_when_unpickled(mark: Path) -> None:
    """Show that the object that the tests below use is dangerous."""
    pickle.loads(pickle.dumps(TouchOnUnpickle(mark)))
    assert mark.exists()
    mark.unlink()
    torch.load(io.BytesIO(torch_bytes(TouchOnUnpickle(mark))), weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("form", ["torch", "pickle", "inside"])
def test_checkpoint_does_not_execute_pickled_code(
    capsys: Capture, copied: Path, mark: Path, form: str
) -> None:
    path = RunFolder(copied).checkpoint
    if form == "inside":
        state = read_state(path)
        state["agent"]["episodes"] = [TouchOnUnpickle(mark)]
        path.write_bytes(torch_bytes(state))
    else:
        path.write_bytes(
            pickle.dumps(TouchOnUnpickle(mark))
            if form == "pickle"
            else torch_bytes(TouchOnUnpickle(mark))
        )
    assert "not a whole checkpoint" in refused(capsys, run_train, "--resume", copied)
    assert not mark.exists()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "inside"])
def test_weights_do_not_execute_pickled_code(
    capsys: Capture, copied: Path, mark: Path, whole: bool
) -> None:
    path = RunFolder(copied).model
    if whole:
        path.write_bytes(pickle.dumps(TouchOnUnpickle(mark)))
    else:
        rewrite(path, {"policy.pth": torch_bytes({"weight": TouchOnUnpickle(mark)})})
    assert "not a whole model" in refused(capsys, run_evaluate, copied)
    assert not mark.exists()


def test_the_pickled_parts_of_a_model_are_ignored(copied: Path, mark: Path) -> None:
    trap = base64.b64encode(pickle.dumps(TouchOnUnpickle(mark))).decode()
    entry = {":type:": "<class 'dict'>", ":serialized:": trap}
    names = ("policy_class", "policy_kwargs", "learning_rate", "method", "observation_space")
    rewrite(
        RunFolder(copied).model,
        {
            "data": json.dumps(dict.fromkeys(names, entry)).encode(),
            "pytorch_variables.pth": torch_bytes(TouchOnUnpickle(mark)),
            "policy.optimizer.pth": torch_bytes(TouchOnUnpickle(mark)),
        },
    )
    assert run_evaluate(copied, "--episodes", "4", "--threads", "1") == 0
    assert run_train("--resume", copied) == 0
    assert not mark.exists()


def test_settings_do_not_execute_code(capsys: Capture, copied: Path, mark: Path) -> None:
    for content in (
        pickle.dumps(TouchOnUnpickle(mark)),
        f'__import__("pathlib").Path({str(mark)!r}).touch()'.encode(),
    ):
        RunFolder(copied).config.write_bytes(content)
        for run, *args in ((run_train, "--resume", copied), (run_evaluate, copied)):
            assert "config.json is not JSON" in refused(capsys, run, *args)
    assert not mark.exists()
