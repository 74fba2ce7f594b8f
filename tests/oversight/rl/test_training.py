"""A training run's folder: its files, its summary, its model and its curves."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2

from agents import METHODS, RoutedPPO
from oversight.runs.folder import RunFolder
from tests.oversight.rl.tensorboard_events import curves, events
from tests.oversight.rl.trained_runs import ROLLOUT, TINY, files, rollouts, run_train, summary

METRICS = {
    *("true_return", "true_return_observed", "true_return_unobserved", "paper_return"),
    *("diamond_rate", "ghost_rate", "timeout_rate", "episodes"),
}


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, run_of: Callable[[str], Path]) -> Path:
    """A run of two rollouts of each method."""
    return run_of(request.param)


def method_of(folder: Path) -> Any:  # noqa: ANN401
    return METHODS[json.loads(RunFolder(folder).config.read_text())["method"]]


def evaluated_policies(folder: Path) -> set[str]:
    """Return the names of the policies that a run evaluates."""
    method = method_of(folder)
    others = {"mixture": len(method.modules) == 2, "reversed": method.network.has_reward_map}
    return {"deployed", *method.modules, *(name for name, exists in others.items() if exists)}


def losses_of_rare_episodes(folder: Path) -> set[str]:
    """Return the losses over episodes that a short run may not have."""
    return {f"train/{each.name}" for each in method_of(folder).auxiliary if each.table is not None}


def test_run_folder_has_all_files(trained: Path) -> None:
    names = [path.name for path in files(trained)]
    logs = [name for name in names if name.startswith("events.out.tfevents.")]
    models = ["model-oracle_selection.zip", "model.zip"]
    expected = ["checkpoint.pt", "config.json", *models, "modules.png"]
    assert sorted(set(names) - set(logs)) == [*expected, "summary.json"]  # too short to be observed
    assert logs
    with Image.open(RunFolder(trained).module_map) as picture:
        picture.verify()
        assert picture.format == "PNG"


def test_summary_describes_the_run(trained: Path) -> None:
    results = summary(trained)
    assert results["env"] == "PartialGrid-v0"
    assert results["method"] == method_of(trained).name
    assert results["seed"] == 0
    assert results["oversight_probability"] == 0.5
    assert results["env_steps"] == 2 * ROLLOUT
    assert results["interrupted"] is False
    assert results["wall_seconds"] > 0
    speed = results["env_steps"] / results["wall_seconds"]
    assert results["env_steps_per_second"] == pytest.approx(speed)
    assert results["eval"].keys() == evaluated_policies(trained)
    assert results["eval"]["deployed"] == results["eval"][method_of(trained).deployed]
    for metrics in results["eval"].values():
        assert metrics.keys() == METRICS
        assert metrics["episodes"] == 16
        rates = [metrics[name] for name in ("diamond_rate", "ghost_rate", "timeout_rate")]
        assert sum(rates) == pytest.approx(1)
        assert metrics["true_return"] == pytest.approx(rates[0] - rates[1])


def test_model_loads_in_sb3(trained: Path) -> None:
    agent = RoutedPPO.load(RunFolder(trained).model, device="cpu")
    assert agent.method == method_of(trained)
    assert agent.num_timesteps == 2 * ROLLOUT
    assert agent.deployed().module_names == (method_of(trained).deployed,)


def test_tensorboard_has_every_curve_in_the_layout(trained: Path) -> None:
    points = curves(trained)
    names = ("true_return", "true_return_observed", "true_return_unobserved", "paper_return")
    for name in evaluated_policies(trained):
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
    assert auxiliary - losses_of_rare_episodes(trained) <= recorded <= auxiliary


def test_tensorboard_has_the_layout_the_settings_and_the_picture(trained: Path) -> None:
    read = events(trained)
    tags = read.Tags()
    assert {"settings/text_summary", "custom_scalars__config__"} <= set(tags["tensors"])
    assert tags["images"] == ["modules/policies"]
    images = read.Images("modules/policies")
    assert [image.step for image in images] == [ROLLOUT, 2 * ROLLOUT]
    (layout,) = read.Tensors("custom_scalars__config__")
    page = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])
    patterns = [
        tag for part in page.category for chart in part.chart for tag in chart.multiline.tag
    ]
    # TensorBoard reads them as regular expressions: each must match its own curve and no other
    matches = [[tag for tag in tags["scalars"] if re.search(each, tag)] for each in patterns]
    missing = {each for each, curves in zip(patterns, matches, strict=True) if not curves}
    assert missing <= {f"^{tag}$" for tag in losses_of_rare_episodes(trained)}
    assert all(len(curves) <= 1 for curves in matches)
    shown = {tag for curves in matches for tag in curves}
    assert {f"eval_{name}/true_return_unobserved" for name in evaluated_policies(trained)} <= shown


@pytest.mark.parametrize(("probability", "empty"), [(1, "unobserved"), (0, "observed")])
def test_return_over_no_episodes_is_null(tmp_path: Path, probability: int, empty: str) -> None:
    folder = tmp_path / "run"
    oversight = ("--oversight-probability", str(probability))
    assert run_train(*TINY, *rollouts(1), *oversight, "--run-dir", folder) == 0
    for metrics in summary(folder)["eval"].values():
        assert [name for name, value in metrics.items() if value is None] == [
            f"true_return_{empty}"
        ]


def test_run_finishes_in_a_thread(tmp_path: Path) -> None:
    codes: list[int] = []
    flags = (*TINY, *rollouts(1), "--run-dir", tmp_path)
    thread = threading.Thread(target=lambda: codes.append(run_train(*flags)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert RunFolder(tmp_path).model.exists()
