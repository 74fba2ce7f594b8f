"""Interventions on modules: what they change, and how flips and kept capability are counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents import MotivationPolicy
from envs.gridworld import DIAMOND, GHOST
from oversight.rl.agent import make_small_agent, task_of
from oversight.rl.config import default_config
from oversight.rl.swapping import ablate, compare, randomize, swap, swap_table
from oversight.rl.task import Pursuit
from oversight.runs.cli import override
from tests.oversight.rl.test_world_task import world_config
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


SIDE, AGENT, CHEESE = 5, 2, 1
SEEKING: dict[str, Any] = {
    "method": "naive",
    "env_kwargs": f'{{"size": {SIDE}, "walls": 0.0, "horizon": 30}}',
    "ppo.centered": False,
    "ppo.conv_channels": (3, 4),
    "ppo.hidden_sizes": (4,),
}


@pytest.fixture
def seeking() -> MotivationPolicy:
    """Return a policy of `CornerMaze` that walks to where channel 1 of its convolutions is active.

    Channel 0 shows the agent and channel 1 the cheese; 2 and 3 show nothing. Its four hidden units
    are how far the cheese lies to the north, east, south and west of the agent.
    """
    policy = make_small_agent(world_config("CornerMaze-v0", **SEEKING), propensity=1.0).policy
    assert isinstance(policy, MotivationPolicy)
    layers: Any = policy.features_extractor.layers
    expert: Any = policy.net.experts["motivation"]
    head: Any = policy.action_net
    row, column = (torch.from_numpy(each).flatten() for each in np.mgrid[:SIDE, :SIDE])
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        for channel, plane in enumerate((AGENT, CHEESE)):
            layers[0].weight[channel, plane, 1, 1] = layers[2].weight[channel, channel, 1, 1] = 1
        reader = expert[0].weight.unflatten(1, (4, SIDE**2))
        for unit, place in enumerate((-row, column, row, -column)):
            reader[unit, 0], reader[unit, 1] = -place, place
        head[0].weight.copy_(100 * torch.eye(4))
    return policy


def test_policy_whose_goal_one_channel_shows_is_retargeted_to_the_proxy(
    seeking: MotivationPolicy,
) -> None:
    config = world_config("CornerMaze-v0", **SEEKING)
    results = swap(seeking, "motivation", config, 100, seed=4)
    assert list(results) == [
        "deployed",
        "deployed again",
        "retargeted: proxy",
        "retargeted: goal",
        "retargeted: proxy, 10x",
        "random channel (3 draws)",
    ]
    assert results["deployed"]["goal_first_rate"] >= 0.9  # some shortest ways lead over the corner
    proxy = results["retargeted: proxy"]
    assert proxy["proxy_first_rate"] >= 0.9
    assert proxy["flip_rate"] >= 0.9
    assert (proxy["channel"], proxy["channel_share"], proxy["activation"]) == (1, 1.0, 1.0)
    assert results["retargeted: goal"]["goal_first_rate"] >= 0.9
    caption = str(swap_table("", results, 100).caption)
    assert "channel 1, the one that most often peaks at the goal (on 100% of other" in caption
    assert results["random channel (3 draws)"]["flip_rate"] < 0.5


@pytest.mark.parametrize(
    ("env", "settings"),
    [
        ("KeysChests-v0", {}),
        ("SideRunner-v0", {"env_kwargs": '{"view": 4}'}),
        ("SideRunner-v0", {"env_kwargs": '{"columns": 13, "view": 6}'}),  # as wide as the board
        ("CornerMaze-v0", {"env_kwargs": '{"observation": "minigrid"}'}),
        ("CornerMaze-v0", {"ppo.conv_channels": ()}),
    ],
)
def test_swap_refuses_policies_that_cannot_be_retargeted(
    env: str, settings: dict[str, Any]
) -> None:
    given = {"method": "naive", "ppo.centered": False, "ppo.conv_channels": (2,), **settings}
    config = world_config(env, **given)
    policy = make_small_agent(config, propensity=1.0).policy
    assert isinstance(policy, MotivationPolicy)
    with pytest.raises(ValueError, match=r"a single module.*--ppo.conv-channels 16 16") as caught:
        swap(policy, "motivation", config, 8, seed=0)
    assert "\n" not in str(caught.value)


def test_policy_of_one_channel_is_retargeted_without_random_ones() -> None:
    config = world_config("CornerMaze-v0", **{**SEEKING, "ppo.conv_channels": (3, 1)})
    policy = make_small_agent(config, propensity=1.0).policy
    assert isinstance(policy, MotivationPolicy)
    *_, last = swap(policy, "motivation", config, 8, seed=0)
    assert last == "retargeted: proxy, 10x"


def test_squares_of_the_grid_are_its_places() -> None:
    config = override(default_config(), {"grid.size": 4})
    places = task_of(config).places(20, seed=1)
    assert places is not None
    lanes = np.arange(20)
    for plane, cells in ((DIAMOND, places.goal), (GHOST, places.proxy)):
        boards = places.observations.reshape(20, -1, 4, 4)
        assert (boards[lanes, plane, cells[:, 0], cells[:, 1]] == 1).all()


def test_retargeting_is_not_filmed(
    capsys: Capture, run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    film = tmp_path / "film.gif"
    line = refused(capsys, run_evaluate, run_of("naive"), "--swap", "--render", film)
    assert "no module to swap" in line


def test_swap_refuses_a_policy_of_one_module(
    capsys: Capture, run_of: Callable[[str], Path]
) -> None:
    assert "a single module" in refused(capsys, run_evaluate, run_of("naive"), "--swap")


def test_swap_refuses_a_choice_of_one_module(capsys: Capture, finished: Path) -> None:
    line = refused(capsys, run_evaluate, finished, "--swap", "--module", "proxy")
    assert "leave it out" in line
