"""Boards: the agent is found by what moves, boards look alike from all places, maps score cells."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.boards import (
    MOVES,
    NOTHING,
    PATIENCE,
    AgentChannel,
    BoardConv,
    CenteredBoard,
    ScoreMap,
    ScoreMapFeatures,
    VaryingChannels,
    bordered,
    require_boards,
    surroundings,
)

CHANNELS, ROWS, COLUMNS = 3, 4, 5
SHAPE, CELLS, AGENT = (CHANNELS, ROWS, COLUMNS), ROWS * COLUMNS, 2
SPACE = spaces.MultiBinary(SHAPE)
EVERYWHERE = np.ones(CELLS, np.bool_)


def boards(agent: NDArray[Any], goal: int = 7, seed: int = 0) -> NDArray[np.int8]:
    """Return boards with walls, a goal that stays, and agents at some cells."""
    planes = np.zeros((len(agent), CHANNELS, CELLS), np.int8)
    planes[:, 0] = np.random.default_rng(seed).integers(2, size=CELLS)
    planes[:, 1, goal] = 1
    planes[np.arange(len(agent)), AGENT, agent] = 1
    return planes.reshape(-1, *SHAPE)


def dense(features: CenteredBoard, planes: NDArray[Any]) -> Tensor:
    """Return the features of observations as a tensor, by a layer that changes nothing."""
    unchanged = torch.eye(features.features_dim)
    return nn.functional.linear(features(torch.from_numpy(planes)), unchanged)


@torch.no_grad()
def taught_features() -> ScoreMapFeatures:
    torch.manual_seed(0)
    features = ScoreMapFeatures(SPACE, ("goal", "proxy"))
    features.agent.channel.fill_(AGENT)
    for each in features.maps.values():
        each.taught.fill_(True)  # type: ignore[operator]
        each.varying(torch.rand(2, CHANNELS, 4, 4))  # type: ignore[operator]
    return features


def test_agent_is_the_channel_whose_single_mark_moves() -> None:
    found, cells = AgentChannel(SHAPE), np.arange(CELLS)
    here, there = boards(cells), boards((cells + 1) % CELLS)
    steps = 0
    while not found.found:
        found.watch(here, there, EVERYWHERE)
        steps += 1
    assert steps == -(-MOVES // CELLS)
    assert int(found.channel) == AGENT
    assert found.cells(torch.from_numpy(there)).tolist() == ((cells + 1) % CELLS).tolist()


def test_goal_that_moves_between_episodes_is_no_agent() -> None:
    found, cells = AgentChannel(SHAPE), np.arange(CELLS)
    for step in range(20):
        here, there = boards(cells, goal=step), boards(cells, goal=(step + 7) % CELLS)
        found.watch(here, there, ~EVERYWHERE)
    assert not found.found
    found.watch(boards(cells), boards((cells + 1) % CELLS), EVERYWHERE)
    assert found.moves.tolist() == [0, 0, CELLS]


def test_scores_behind_the_channels_are_not_looked_at() -> None:
    found, cells = AgentChannel(SHAPE), np.arange(CELLS)
    one_hot = np.eye(CELLS).reshape(-1, 1, ROWS, COLUMNS)
    here = np.concatenate([boards(cells), one_hot], 1)
    there = np.concatenate([boards(cells), np.roll(one_hot, 1, axis=0)], 1)
    for _ in range(10):
        found.watch(here, there, EVERYWHERE)
    assert not found.moves.any()


def test_boards_without_an_agent_are_refused() -> None:
    found, still = AgentChannel(SHAPE), boards(np.zeros(PATIENCE // 2, np.int64))
    running = np.ones(len(still), np.bool_)
    found.watch(still, still, running)
    with pytest.raises(ValueError, match=r"no channel of the observation marks exactly one cell"):
        found.watch(still, still, running)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 1, (4,)),
        spaces.Box(0, 255, (3, 40, 40), np.uint8),
        spaces.Discrete(4),
        spaces.Dict({"board": SPACE}),
    ],
    ids=str,
)
def test_observations_that_are_no_boards_are_refused(space: spaces.Space[Any]) -> None:
    for refuse in (require_boards, CenteredBoard):
        with pytest.raises(ValueError, match=r"need observations that are stacks of planes"):
            refuse(space)
    require_boards(spaces.Box(0, 1, SHAPE))


def test_centered_board_shows_each_cell_at_its_distance_from_the_agent() -> None:
    features, planes = CenteredBoard(SPACE), boards(np.arange(CELLS))
    features.agent.channel.fill_(AGENT)
    shown = dense(features, planes).reshape(CELLS, CHANNELS, 2 * ROWS - 1, -1)
    assert shown.flatten(1).shape[1] == features.features_dim
    for cell, row, column in np.ndindex(CELLS, ROWS, COLUMNS):
        at = row - cell // COLUMNS + ROWS - 1, column - cell % COLUMNS + COLUMNS - 1
        expected = torch.from_numpy(planes[cell, :, row, column]).float()
        expected[AGENT] = 1.0  # where the board is, in place of the agent
        assert torch.equal(shown[cell, :, *at], expected)
    off = torch.from_numpy(planes).flatten(2).sum(2).float()
    off[:, AGENT] = CELLS
    assert torch.equal(shown.sum((2, 3)), off)  # nothing lies off the board


def test_centered_board_shows_all_channels_before_the_agent_is_found() -> None:
    features, planes = CenteredBoard(SPACE), boards(np.arange(CELLS))
    planes[:, 0] = np.eye(CELLS).reshape(-1, ROWS, COLUMNS)  # the first channel, for the moment
    shown = dense(features, planes).reshape(CELLS, CHANNELS, 2 * ROWS - 1, -1)
    assert torch.equal(shown.sum((2, 3)), torch.from_numpy(planes).flatten(2).sum(2).float())
    middle = torch.zeros(2 * ROWS - 1, 2 * COLUMNS - 1)
    middle[ROWS - 1, COLUMNS - 1] = 1.0
    assert torch.equal(shown[:, 0], middle.expand(CELLS, -1, -1))


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layer_of_a_centered_board_is_a_product_of_full_matrices(
    found: bool, bias: bool
) -> None:
    torch.manual_seed(0)
    features, rng = CenteredBoard(SPACE, extra=1), np.random.default_rng(0)
    if found:
        features.agent.channel.fill_(AGENT)
    planes = boards(rng.integers(CELLS, size=50)).astype(np.float64)
    planes = np.concatenate([planes, rng.normal(size=(50, 1, ROWS, COLUMNS))], 1)
    planes[7:9, [0, 1, AGENT + 1]] = 0.0  # boards on which only the agent is
    layer = nn.Linear(features.features_dim, 6, bias, dtype=torch.float64)
    shown = dense(features.double(), planes.astype(np.float32)).double()
    results = []
    for given in (features(torch.from_numpy(planes.astype(np.float32))), shown):
        output = layer(given)
        slopes = torch.autograd.grad((output**3).sum(), list(layer.parameters()))
        results.append((output, *slopes))
    for fast, full in zip(*results, strict=True):
        torch.testing.assert_close(fast, full)


def test_surroundings_have_the_score_of_their_cell() -> None:
    features, planes = taught_features(), torch.from_numpy(boards(np.arange(CELLS))).float()
    score_map: Any = features.maps["goal"]
    with torch.no_grad():
        everywhere = score_map(bordered(planes))
        for cell in range(CELLS):
            around = surroundings(planes, torch.full((CELLS,), cell))
            assert around.shape == (CELLS, CHANNELS + 1, 3, 3)
            alone = score_map(around).squeeze(1)
            torch.testing.assert_close(alone, everywhere[:, cell])


@pytest.mark.parametrize("size", [1, 3])
def test_convolution_of_a_single_window_is_pytorchs(size: int) -> None:
    torch.manual_seed(0)
    ours, window = BoardConv(4, 5, size).double(), torch.randn(7, 4, size, size).double()
    theirs = nn.functional.conv2d(window, ours.weight, ours.bias)
    torch.testing.assert_close(ours(window), theirs)
    slopes = [
        torch.autograd.grad((output**3).sum(), list(ours.parameters()))
        for output in (ours(window), theirs)
    ]
    for fast, full in zip(*slopes, strict=True):
        torch.testing.assert_close(fast, full)


def test_channels_that_never_varied_in_what_was_learned_from_are_blank() -> None:
    varying, boards_seen = VaryingChannels(3), torch.zeros(4, 3, 2, 2)
    boards_seen[:, 1], boards_seen[2:, 2] = 5.0, 5.0  # constant; different boards
    assert torch.equal(varying(boards_seen)[:, 2], boards_seen[:, 2])
    with torch.no_grad():  # what is only predicted teaches nothing
        shown = varying(torch.full((1, 3, 2, 2), 7.0))
    assert shown[0, :, 0, 0].tolist() == [0.0, 0.0, 7.0]
    varying(torch.full((1, 3, 2, 2), 5.0))
    assert varying(torch.ones(1, 3, 2, 2))[0, :, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_cells_off_the_board_do_not_make_a_channel_vary() -> None:
    varying, window = VaryingChannels(1), torch.zeros(1, 1, 3, 3)
    window[:, :, 1:] = 1.0  # a channel of ones, at the upper edge of its board
    inside = window[:, 0] > 0
    assert not varying(window, inside).any()
    assert varying(window).any()


@torch.no_grad()
def test_score_map_ignores_what_never_varied_in_what_taught_it() -> None:
    torch.manual_seed(0)
    score_map, planes = ScoreMap(CHANNELS, "goal"), torch.rand(6, CHANNELS, 4, 4)
    planes[:, 0] = 1.0
    with torch.enable_grad():
        score_map.varying(planes)
    without = planes.clone()
    without[:, 0] = 0.0
    assert torch.equal(score_map(bordered(planes)), score_map(bordered(without)))
    without[:, 1] = 0.0
    assert not torch.equal(score_map(bordered(planes)), score_map(bordered(without)))


def test_gate_of_a_score_map_has_its_name() -> None:
    assert ScoreMap(CHANNELS, "proxy").gate.targets == ("proxy",)


def test_small_scores_count_as_nothing() -> None:
    features, planes = taught_features(), torch.from_numpy(boards(np.arange(CELLS))).float()
    score_map: Any = features.maps["goal"]
    with torch.no_grad():
        score_map.layers[-2].bias -= score_map(bordered(planes)).mean()  # so that some are small
        raw = score_map(bordered(planes))
    scores = features.scores(planes, "goal").flatten(1)
    small = raw.abs() < NOTHING * raw.abs().amax(1, keepdim=True)
    assert small.any()
    assert torch.equal(scores, torch.where(small, 0.0, raw))


def test_map_that_was_taught_nothing_scores_nothing() -> None:
    features, planes = taught_features(), torch.from_numpy(boards(np.arange(CELLS)))
    features.maps["proxy"].taught.fill_(False)  # type: ignore[operator]
    assert not features.scores(planes, "proxy").any()
    assert features.scores(planes, "goal").any()


def test_reversed_map_scores_the_opposite() -> None:
    features, planes = taught_features(), torch.from_numpy(boards(np.arange(CELLS)))
    before = features.scores(planes, "goal")
    features.maps["goal"].reverse()  # type: ignore[operator]
    assert torch.equal(features.scores(planes, "goal"), -before)


@torch.no_grad()
def test_observations_without_scores_get_those_of_the_first_map() -> None:
    features = taught_features()
    planes: Tensor = torch.from_numpy(boards(np.arange(CELLS)))
    by_goal, by_proxy = (
        dense(features, features.scored(planes, name).numpy()) for name in ("goal", "proxy")
    )
    assert torch.equal(dense(features, planes.numpy()), by_goal)
    assert not torch.equal(by_goal, by_proxy)
    assert features.has_scores(features.scored(planes, "goal")[0].numpy())
    assert not features.has_scores(planes[0].numpy())
    assert not features.has_scores(planes.numpy())
