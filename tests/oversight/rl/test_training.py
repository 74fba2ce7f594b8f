"""A run's folder: its files, its results as strict JSON, its settings there and back."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2

from agents import METHODS, RoutedPPO
from agents.config import PPOConfig
from configs.rl import PRESETS
from envs.gridworld import GridConfig
from oversight.rl.config import TrainConfig
from oversight.runs.cli import override
from oversight.runs.folder import (
    RunFolder,
    as_markdown,
    interpreter,
    read_config,
    read_json,
    write_config,
    write_json,
)
from tests.oversight.rl.tensorboard_events import curves, events
from tests.oversight.rl.trained_runs import ROLLOUT, TINY, files, rollouts, run_train, summary

METRICS = {
    *("true_return", "true_return_observed", "true_return_unobserved", "paper_return"),
    *("diamond_rate", "ghost_rate", "timeout_rate", "episodes"),
}


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rollouts of each method."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    flags = ("--method", request.param, "--eval-every", "1", "--run-dir", folder)
    assert run_train(*TINY, *rollouts(2), *flags) == 0
    return folder


def method_of(folder: Path) -> Any:  # noqa: ANN401
    return METHODS[json.loads(RunFolder(folder).config.read_text())["method"]]


def acting(folder: Path) -> set[str]:
    method = method_of(folder)
    others = {"mixture": len(method.modules) == 2, "reversed": method.network.has_reward_map}
    return {"deployed", *method.modules, *(name for name, there in others.items() if there)}


def rare(folder: Path) -> set[str]:
    """Return the losses of episodes that so short a run may not have."""
    return {f"train/{each.name}" for each in method_of(folder).auxiliary if each.table is not None}


def test_a_run_leaves_its_files(trained: Path) -> None:
    names = [path.name for path in files(trained)]
    logs = [name for name in names if name.startswith("events.out.tfevents.")]
    models = ["model-oracle_selection.zip", "model.zip"]
    expected = ["checkpoint.pt", "config.json", *models, "modules.png"]
    assert sorted(set(names) - set(logs)) == [*expected, "summary.json"]  # too short to be observed
    assert logs
    with Image.open(RunFolder(trained).module_map) as picture:
        picture.verify()
        assert picture.format == "PNG"


def test_the_summary_says_what_was_run(trained: Path) -> None:
    results = summary(trained)
    assert results["env"] == "PartialGrid-v0"
    assert results["method"] == method_of(trained).name
    assert results["seed"] == 0
    assert results["oversight_probability"] == 0.1
    assert results["env_steps"] == 2 * ROLLOUT
    assert results["interrupted"] is False
    assert results["wall_seconds"] > 0
    speed = results["env_steps"] / results["wall_seconds"]
    assert results["env_steps_per_second"] == pytest.approx(speed)
    assert results["eval"].keys() == acting(trained)
    assert results["eval"]["deployed"] == results["eval"][method_of(trained).deployed]
    for metrics in results["eval"].values():
        assert metrics.keys() == METRICS
        assert metrics["episodes"] == 16
        rates = [metrics[name] for name in ("diamond_rate", "ghost_rate", "timeout_rate")]
        assert sum(rates) == pytest.approx(1)
        assert metrics["true_return"] == pytest.approx(rates[0] - rates[1])


def test_the_model_loads_in_sb3(trained: Path) -> None:
    agent = RoutedPPO.load(RunFolder(trained).model, device="cpu")
    assert agent.method == method_of(trained)
    assert agent.num_timesteps == 2 * ROLLOUT
    assert agent.deployed().module_names == (method_of(trained).deployed,)


def test_tensorboard_has_every_curve_of_the_layout(trained: Path) -> None:
    points = curves(trained)
    names = ("true_return", "true_return_observed", "true_return_unobserved", "paper_return")
    for name in acting(trained):
        for curve in names:
            assert [step for step, _ in points[f"eval_{name}/{curve}"]] == [0, ROLLOUT, 2 * ROLLOUT]
    for tag in ("rollout/ep_rew_mean", "rollout/ep_len_mean", "oversight/observed_fraction"):
        assert [step for step, _ in points[tag]] == [ROLLOUT, 2 * ROLLOUT]
    shares = [
        points[f"routing/share_{route}"] for route in ("positive", "negative", "hidden", "open")
    ]
    for at_step in zip(*shares, strict=True):
        assert sum(value for _, value in at_step) == pytest.approx(1)
    for tag in ("policy_gradient_loss", "value_loss", "entropy_loss", "explained_variance"):
        assert [step for step, _ in points[f"train/{tag}"]] == [ROLLOUT, 2 * ROLLOUT]
    recorded = {tag for tag in ("train/mixture_loss", "train/proxy_loss") if tag in points}
    auxiliary = {f"train/{each.name}" for each in method_of(trained).auxiliary}
    assert auxiliary - rare(trained) <= recorded <= auxiliary


def test_tensorboard_has_the_layout_the_settings_and_the_picture(trained: Path) -> None:
    read = events(trained)
    tags = read.Tags()
    assert {"settings/text_summary", "custom_scalars__config__"} <= set(tags["tensors"])
    assert tags["images"] == ["modules/policies"]
    images = read.Images("modules/policies")
    assert [image.step for image in images] == [0, ROLLOUT, 2 * ROLLOUT]
    (layout,) = read.Tensors("custom_scalars__config__")
    page = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])
    patterns = [
        tag for part in page.category for chart in part.chart for tag in chart.multiline.tag
    ]
    # TensorBoard takes them for regular expressions: each must find its own curve and no other
    found = [[tag for tag in tags["scalars"] if re.search(each, tag)] for each in patterns]
    missing = {each for each, curves in zip(patterns, found, strict=True) if not curves}
    assert missing <= {f"^{tag}$" for tag in rare(trained)}
    assert all(len(curves) <= 1 for curves in found)
    shown = {tag for curves in found for tag in curves}
    assert {f"eval_{name}/true_return_unobserved" for name in acting(trained)} <= shown


@pytest.mark.parametrize(("probability", "empty"), [(1, "unobserved"), (0, "observed")])
def test_a_return_over_no_episode_is_null(tmp_path: Path, probability: int, empty: str) -> None:
    folder = tmp_path / "run"
    oversight = ("--oversight-probability", str(probability))
    assert run_train(*TINY, *rollouts(1), *oversight, "--run-dir", folder) == 0
    for metrics in summary(folder)["eval"].values():
        assert [name for name, value in metrics.items() if value is None] == [
            f"true_return_{empty}"
        ]


def test_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    write_json(path, {"a": float("nan"), "b": {"c": float("inf"), "d": 1.5}, "e": None})
    assert read_json(path) == {"a": None, "b": {"c": None, "d": 1.5}, "e": None}
    assert [each.name for each in tmp_path.iterdir()] == ["data.json"]


def test_a_default_folder_is_the_next_free_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert run_train(*TINY, *rollouts(1), "--method", "naive", "--seed", "5") == 0
    names = sorted(path.name for path in (tmp_path / "runs" / "PartialGrid-v0").iterdir())
    assert names == ["naive-p0.1-seed5", "naive-p0.1-seed5-2", "naive-p0.1-seed5-3"]


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
def test_settings_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, config: TrainConfig
) -> None:
    folder = RunFolder(tmp_path_factory.getbasetemp())
    write_config(folder, config)
    assert read_config(folder, TrainConfig) == config


def test_a_path_is_read_back_as_a_path(tmp_path: Path) -> None:
    config = override(TrainConfig(), {**PRESETS["smoke"][1], "run_dir": tmp_path})
    write_config(RunFolder(tmp_path), config)
    assert read_config(RunFolder(tmp_path), TrainConfig) == config


def test_the_settings_name_the_versions(finished: Path) -> None:
    data = read_json(RunFolder(finished).config)
    assert data["versions"].keys() == {"torch", "stable_baselines3", "gymnasium", "numpy"}
    assert data["commit"] is None or len(data["commit"]) >= 7
    assert data["run_dir"] is None  # a moved folder stays true


def test_settings_as_markdown_are_a_table() -> None:
    lines = as_markdown(override(TrainConfig(), PRESETS["smoke"][1])).split("\n")
    assert lines[:2] == ["| setting | value |", "| --- | --- |"]
    assert "| ppo.hidden_sizes | (16, 16) |" in lines
    assert "| grid.size | 5 |" in lines


@pytest.mark.parametrize("found", ["python", None])
def test_the_interpreter_can_be_called_from_here(
    monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    running = Path(sys.executable)
    monkeypatch.setattr(shutil, "which", lambda _: None if found is None else str(running))
    name = interpreter()
    assert name == "python" if found else (Path.cwd() / name) == running
    monkeypatch.chdir(running.parent.parent)
    assert found or interpreter() == f"{running.parent.name}/{running.name}"


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
