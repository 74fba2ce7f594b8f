"""Run folders: settings and JSON are read back as they were, and old layouts are refused."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import METHODS
from agents.ppo import PPOConfig
from configs.rl import PRESETS
from envs.gridworld import GridConfig
from oversight.rl.config import TrainConfig
from oversight.runs.cli import override
from oversight.runs.folder import (
    LATER,
    RunFolder,
    as_markdown,
    from_json,
    interpreter,
    read_config,
    read_json,
    write_config,
    write_json,
)


def test_json_writes_numbers_that_are_not_finite_as_null(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    write_json(path, {"a": float("nan"), "b": {"c": float("inf"), "d": 1.5}, "e": None})
    assert read_json(path) == {"a": None, "b": {"c": None, "d": 1.5}, "e": None}
    assert [each.name for each in tmp_path.iterdir()] == ["data.json"]


FINITE = st.floats(0, 1e300)
CONFIGS = st.builds(
    TrainConfig,
    method=st.sampled_from(list(METHODS)),
    oversight_probability=st.floats(0, 1),
    total_timesteps=st.integers(1, 10**12),
    seed=st.integers(0, 2**32 - 1),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    grid=st.builds(
        GridConfig, size=st.integers(2, 100), flag=st.sampled_from(["visible", "hidden"])
    ),
    ppo=st.builds(
        PPOConfig,
        hidden_sizes=st.lists(st.integers(1, 4096), min_size=1).map(tuple),
        learning_rate=FINITE.filter(bool),
        anneal=st.booleans(),
        ent_coef=FINITE,
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    config=CONFIGS
    | st.sampled_from([override(TrainConfig(), values) for _, values in PRESETS.values()])
)
def test_settings_round_trip_through_config_json(
    tmp_path_factory: pytest.TempPathFactory, config: TrainConfig
) -> None:
    folder = RunFolder(tmp_path_factory.getbasetemp())
    write_config(folder, config)
    assert read_config(folder, TrainConfig) == config


def test_paths_round_trip_through_config_json(tmp_path: Path) -> None:
    config = override(TrainConfig(), {**PRESETS["smoke"][1], "run_dir": tmp_path})
    write_config(RunFolder(tmp_path), config)
    assert read_config(RunFolder(tmp_path), TrainConfig) == config


@dataclass(frozen=True, kw_only=True, slots=True)
class Extended:
    """Settings of which one was added later."""

    seed: int
    sizes: tuple[int, ...] = field(default=(1, 2), metadata=LATER)


def test_setting_that_was_added_later_may_be_missing_and_no_other() -> None:
    assert from_json(Extended, {"seed": 3}, "a.json") == Extended(seed=3, sizes=(1, 2))
    assert from_json(Extended, {"seed": 3, "sizes": [4]}, "a.json") == Extended(seed=3, sizes=(4,))
    with pytest.raises(ValueError, match=r"a\.json is not of this version: .* unknown: seed"):
        from_json(Extended, {"sizes": [4]}, "a.json")


def test_config_json_names_package_versions(finished: Path) -> None:
    data = read_json(RunFolder(finished).config)
    assert data["versions"].keys() == {"torch", "stable_baselines3", "gymnasium", "numpy"}
    assert data["commit"] is None or len(data["commit"]) >= 7
    assert data["run_dir"] is None  # a moved folder stays true


def test_settings_render_as_a_markdown_table() -> None:
    lines = as_markdown(override(TrainConfig(), PRESETS["smoke"][1])).split("\n")
    assert lines[:2] == ["| setting | value |", "| --- | --- |"]
    assert "| ppo.hidden_sizes | (16, 16) |" in lines
    assert "| grid.size | 5 |" in lines


@pytest.mark.parametrize("is_on_path", [True, False])
def test_printed_interpreter_can_be_executed(
    monkeypatch: pytest.MonkeyPatch, is_on_path: bool
) -> None:
    running = Path(sys.executable)
    monkeypatch.setattr(shutil, "which", lambda _: str(running) if is_on_path else None)
    name = interpreter()
    assert name == "python" if is_on_path else (Path.cwd() / name) == running
    monkeypatch.chdir(running.parent.parent)
    assert is_on_path or interpreter() == f"{running.parent.name}/{running.name}"


def test_run_of_the_old_layout_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_config(folder, TrainConfig())
    written = read_json(folder.config)
    write_json(folder.config, {name: value for name, value in written.items() if name != "format"})
    with pytest.raises(ValueError, match=r"is a run of version 0\.1\.0 \(commit c75a333\)"):
        read_config(folder, TrainConfig)
    write_json(folder.config, {**written, "format": 3})
    with pytest.raises(ValueError, match="is a run of format 3, but this version reads format 2"):
        read_config(folder, TrainConfig)
