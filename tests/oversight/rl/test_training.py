"""A training run's folder: its files, its summary, and its model."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from agents import METHODS, RoutedPPO
from agents.checkpoint import read_model_weights
from oversight.runs.folder import RunFolder
from tests.oversight.rl.trained_runs import (
    MAZE,
    ROLLOUT,
    TINY,
    evaluated_policies,
    files,
    method_of,
    rollouts,
    run_train,
    summary,
)

METRICS = {
    *("true_return", "true_return_observed", "true_return_unobserved", "paper_return"),
    *("diamond_rate", "ghost_rate", "timeout_rate", "episodes"),
}


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, run_of: Callable[[str], Path]) -> Path:
    """A run of two rollouts of each method."""
    return run_of(request.param)


def test_run_folder_has_all_files(trained: Path) -> None:
    names = [path.name for path in files(trained)]
    logs = [path.name for path in files(trained / "tensorboard")]
    models = ["model-oracle_selection.zip", "model.zip"]
    expected = [".lock", "checkpoint.pt", "config.json", *models, "modules.png"]
    assert sorted(set(names) - set(logs)) == [*expected, "summary.json"]  # too short to be observed
    assert all(name.startswith("events.out.tfevents.") for name in logs)
    assert len(logs) == 2 + len(evaluated_policies(trained) - {"deployed"})  # two of the learner
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
    assert agent.deployed().motivations == (method_of(trained).deployed,)


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


def test_fully_observed_reward_model_trains_the_oracle_to_the_bit(tmp_path: Path) -> None:
    flags = ("--oversight-probability", "1", *rollouts(2))
    for method in ("imputed-conv", "oracle"):
        assert run_train(*MAZE, *flags, "--method", method, "--run-dir", tmp_path / method) == 0
    imputed, oracle = (
        read_model_weights(RunFolder(tmp_path / name).model) for name in ("imputed-conv", "oracle")
    )
    shared = imputed.keys() & oracle.keys()
    assert shared == oracle.keys()
    assert all(torch.equal(imputed[name], oracle[name]) for name in shared)
