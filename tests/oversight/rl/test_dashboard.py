"""TensorBoard's view of a run: named logs, one for each policy, charts and HPARAMS."""

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.summary.writer import event_file_writer

from agents import METHODS
from configs.rl import PRESETS
from oversight.rl.config import TrainConfig
from oversight.rl.dashboard import SHOWN, Dashboard
from oversight.rl.grid_task import PartialGridTask
from oversight.runs.cli import override
from tests.oversight.rl.tensorboard_events import curves, events, learner_log
from tests.oversight.rl.trained_runs import ROLLOUT, evaluated_policies, method_of, summary


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, run_of: Callable[[str], Path]) -> Path:
    """A run of two rollouts of each method."""
    return run_of(request.param)


def policy_logs(folder: Path) -> set[str]:
    """Return the names of the logs of a run's policies."""
    deployed = method_of(folder).deployed
    names = evaluated_policies(folder) - {"deployed"}
    return {f"{name}-deployed" if name == deployed else name for name in names}


def losses_of_rare_episodes(folder: Path) -> set[str]:
    """Return the losses over episodes that a short run may not have."""
    return {f"train/{each.name}" for each in method_of(folder).auxiliary if each.table is not None}


def test_tensorboard_has_every_curve_in_the_layout(trained: Path) -> None:
    points = curves(trained)
    names = ("true_return", "true_return_observed", "true_return_unobserved", "paper_return")
    for name in policy_logs(trained):
        for curve in names:
            steps = [step for step, _ in points[f"{name}/eval/{curve}"]]
            assert steps == [0, ROLLOUT, 2 * ROLLOUT]
    for tag in ("rollout/ep_rew_mean", "rollout/ep_len_mean", "oversight/observed_fraction"):
        assert [step for step, _ in points[tag]] == [ROLLOUT, 2 * ROLLOUT]
    shares = [
        points[f"routing/share_{route}"] for route in ("positive", "negative", "hidden", "open")
    ]
    for at_step in zip(*shares, strict=True):
        assert sum(value for _, value in at_step) == pytest.approx(1)
    for tag in ("policy_gradient_loss", "value_loss", "entropy_loss", "explained_variance"):
        assert [step for step, _ in points[f"train/{tag}"]] == [ROLLOUT, 2 * ROLLOUT]
    names = ("mixture_loss", "proxy_loss", "kl_loss", "reference_loss")
    recorded = {f"train/{name}" for name in names if f"train/{name}" in points}
    auxiliary = {f"train/{each.name}" for each in method_of(trained).auxiliary}
    assert auxiliary - losses_of_rare_episodes(trained) <= recorded <= auxiliary


def test_tensorboard_runs_are_named_and_every_policy_has_its_own(trained: Path) -> None:
    log = learner_log(trained)
    assert log.name == f"{method_of(trained).name}-p0.5-seed0"
    assert {path.name for path in log.iterdir() if path.is_dir()} == policy_logs(trained)
    directories = {path.parent for path in trained.rglob("events.out.tfevents.*")}
    assert directories == {log, *(log / name for name in policy_logs(trained))}


def test_tensorboard_has_the_layout_the_settings_and_the_picture(trained: Path) -> None:
    read = events(learner_log(trained))
    tags = read.Tags()
    assert {"settings/text_summary", "custom_scalars__config__"} <= set(tags["tensors"])
    assert tags["images"] == ["modules/policies"]
    images = read.Images("modules/policies")
    assert [image.step for image in images] == [ROLLOUT, 2 * ROLLOUT]
    (layout,) = read.Tensors("custom_scalars__config__")
    page = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])
    charts = [chart.multiline.tag for part in page.category for chart in part.chart]
    assert all(len(tags) == 1 for tags in charts)  # tags of one run would have one color
    # TensorBoard reads them as regular expressions: each must match its own curve and no other
    of_policies = {tag for name in policy_logs(trained) for tag in scalars(trained, name)}
    every = {*tags["scalars"], *of_policies}
    matches = {each: [tag for tag in every if re.search(each, tag)] for (each,) in charts}
    missing = {each for each, curves in matches.items() if not curves}
    assert missing <= {f"^{tag}$" for tag in losses_of_rare_episodes(trained)}
    assert all(len(curves) <= 1 for curves in matches.values())
    assert of_policies <= {tag for curves in matches.values() for tag in curves}


def scalars(folder: Path, policy: str) -> list[str]:
    """Return the tags of a policy's curves."""
    tags: list[str] = events(learner_log(folder) / policy).Tags()["scalars"]
    return tags


def test_hparams_hold_the_settings_and_the_final_metrics(trained: Path) -> None:
    log = learner_log(trained)
    read = events(log)
    plugin = {
        tag: plugin_data_pb2.HParamsPluginData.FromString(
            read.SummaryMetadata(tag).plugin_data.content
        )
        for tag in read.PluginTagToContent("hparams")
    }
    settings = plugin["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["method"].string_value == method_of(trained).name
    assert settings["oversight_probability"].number_value == 0.5
    assert settings["ppo.n_steps"].number_value == 16
    shown = [
        each.name for each in plugin["_hparams_/experiment"].experiment.hparam_infos if each.differs
    ]
    assert sorted(shown) == sorted(SHOWN)
    assert settings["ppo.hidden_sizes"].string_value == "(16, 16)"
    assert not {"run_dir", "threads", "eval_every"} & {*settings}
    end = plugin["_hparams_/session_end_info"].session_end_info
    assert end.status == api_pb2.STATUS_SUCCESS
    metrics = {each.name.tag for each in plugin["_hparams_/experiment"].experiment.metric_infos}
    results = summary(trained)["eval"]
    expected = {
        f"final/{name}": results["deployed"][name]
        for name in ("true_return", "true_return_observed", "true_return_unobserved")
    }
    expected["final/paper_return"] = results["deployed"]["paper_return"]
    others = {*results} - {"deployed", method_of(trained).deployed}
    expected |= {f"final/true_return_{name}": results[name]["true_return"] for name in others}
    assert metrics == expected.keys()
    for tag, value in expected.items():
        assert [(point.step, point.value) for point in read.Scalars(tag)] == [
            (2 * ROLLOUT, pytest.approx(value))
        ]


def test_final_metrics_are_read_after_the_files_of_the_same_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(TrainConfig(), {**PRESETS["smoke"][1], "device": "cpu"})
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=lambda: 1_700_000_000))
    numbers = SimpleNamespace(get=count(9).__next__)  # names end in a number, and 10 is before 9
    monkeypatch.setattr(event_file_writer, "_global_uid", numbers)
    dashboard = Dashboard(tmp_path, config, METHODS[config.method], 0)
    dashboard.add_final({"deployed": dict.fromkeys(PartialGridTask.curves, 0.25)}, 100)
    dashboard.close()
    assert curves(tmp_path)["final/true_return"] == [(100, 0.25)]


def test_extended_run_replaces_its_final_metrics(tmp_path: Path) -> None:
    config = override(TrainConfig(), {**PRESETS["smoke"][1], "device": "cpu"})
    results = {
        "deployed": dict.fromkeys(PartialGridTask.curves, 0.25),
        "proxy": {"true_return": -0.5},
    }
    results["deployed"]["true_return_observed"] = float("nan")
    dashboard = Dashboard(tmp_path, config, METHODS[config.method], 0)
    for end in (100, 200):
        dashboard.add_final(results, end)
    dashboard.close()
    final = {tag: points for tag, points in curves(tmp_path).items() if tag.startswith("final/")}
    returns = ("true_return", "true_return_unobserved", "paper_return")
    expected = {f"final/{name}": [(200, 0.25)] for name in returns}
    assert final == {**expected, "final/true_return_proxy": [(200, -0.5)]}
