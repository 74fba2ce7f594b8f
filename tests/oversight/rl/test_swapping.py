"""Interventions on modules: what they change, and how flips and kept capability are counted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oversight.rl.swapping import ablate, compare, randomize
from oversight.rl.task import Pursuit
from tests.oversight.rl.trained_runs import run_evaluate
from tests.oversight.runs.refusals import Capture, refused


def pursuit(goal_first: list[int], proxy_first: list[int]) -> Pursuit:
    """Return episodes that served the goal or the proxy first."""
    return Pursuit(np.array(goal_first, np.bool_), np.array(proxy_first, np.bool_))


def test_flips_are_counted_among_episodes_that_reached_something() -> None:
    before = pursuit([1, 1, 0, 0, 1], [0, 0, 1, 0, 0])
    after = pursuit([0, 1, 1, 0, 0], [1, 0, 0, 1, 0])
    result = compare(before, after)
    assert result["flip_rate"] == 2 / 4
    assert result["cap_rate"] == 4 / 5
    assert result["kept_rate"] == 1
    assert compare(before, before)["flip_rate"] == 0


def test_nothing_is_kept_of_a_policy_that_reached_nothing() -> None:
    result = compare(pursuit([0], [0]), pursuit([1], [0]))
    assert np.isnan(result["flip_rate"])
    assert np.isnan(result["kept_rate"])


def test_ablated_module_returns_zero_and_random_one_keeps_shapes_and_norms() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    norms = [float(each.detach().norm()) for each in module.parameters()]
    old = [each.detach().clone() for each in module.parameters()]
    randomize(module, torch.Generator().manual_seed(0))
    for parameter, norm, was in zip(module.parameters(), norms, old, strict=True):
        assert float(parameter.detach().norm()) == pytest.approx(norm)
        assert not torch.equal(parameter, was)
    ablate(module)
    assert not module(torch.ones(1, 3)).any()


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("routed", ["swapped: proxy", "ablated"]),
        ("reward-map", ["reversed", "ablated"]),
    ],
)
def test_swap_writes_each_intervention_that_the_network_allows(
    run_of: Callable[[str], Path], tmp_path: Path, method: str, rows: list[str]
) -> None:
    folder = run_of(method)
    film = tmp_path / "film.gif"
    flags = ("--swap", "--episodes", "16", "--render", film, "--render-episodes", "1")
    assert run_evaluate(folder, *flags) == 0
    stored = folder / "swap.json"
    found = json.loads(stored.read_text())["interventions"]
    stored.unlink()  # other tests read the folder
    assert list(found) == ["deployed", "deployed again", *rows, "random (5 draws)"]
    assert found["deployed"]["flip_rate"] in (0, None)
    assert film.read_bytes().startswith(b"GIF")


def test_swap_refuses_a_policy_of_one_module(
    capsys: Capture, run_of: Callable[[str], Path]
) -> None:
    assert "a single module" in refused(capsys, run_evaluate, run_of("naive"), "--swap")


def test_swap_refuses_a_choice_of_one_module(capsys: Capture, finished: Path) -> None:
    line = refused(capsys, run_evaluate, finished, "--swap", "--module", "proxy")
    assert "leave it out" in line
