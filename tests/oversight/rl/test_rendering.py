"""The module map shows the actions of each module, and films show every step."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from agents import MotivationPolicy
from configs.rl import PRESETS
from envs import gridworld, partial_grid
from envs.gridworld import GridConfig
from oversight.rl.agent import make_agent
from oversight.rl.config import TrainConfig
from oversight.rl.rendering import enlarge, film, grid_screen, module_map, panels, with_legend
from oversight.runs.cli import override
from tests.oversight.rl.scripted_policies import (
    RandomPolicy,
    ScriptedPolicy,
    ShortestPathPolicy,
)
from tests.oversight.rl.trained_runs import run_evaluate

INK = (45, 48, 58)
GAP, CAPTION, CELL = 16, 34, 64
LINE = 28
MAKE = partial(partial_grid, oversight_probability=0.5, reward="true", render_mode="rgb_array")
SCREEN = grid_screen(MAKE)


def constant_policy(heading: int) -> MotivationPolicy:
    """Return a policy that moves one way wherever it stands."""
    policy = make_agent(override(TrainConfig(), PRESETS["smoke"][1])).policy
    assert isinstance(policy, MotivationPolicy)
    linear = next(m for m in policy.action_net.modules() if isinstance(m, torch.nn.Linear))
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(50 * torch.eye(4)[heading])
    return policy


def has_ink(picture: np.ndarray, cell: int, x: int, y: int) -> bool:
    """Return whether an arrow covers a point, in pixels from the middle of a cell."""
    left, top = GAP + (cell % 5) * CELL + CELL // 2, CAPTION + (cell // 5) * CELL + CELL // 2
    return bool((picture[top + y, left + x] == INK).all())


@pytest.mark.parametrize(("heading", "x", "y"), [(0, 0, -15), (1, 15, 0), (2, 0, 15), (3, -15, 0)])
def test_arrow_points_in_the_direction_of_the_action(heading: int, x: int, y: int) -> None:
    picture = module_map({"one": constant_policy(heading)}, GridConfig())
    assert picture.dtype == np.uint8
    terminals = (10, 14)  # diamond and ghost, at the ends of the middle row
    for cell in range(25):
        assert has_ink(picture, cell, x, y) == (cell not in terminals)
        assert not has_ink(picture, cell, -x, -y)


def test_map_has_a_panel_per_module_at_board_size() -> None:
    policy = constant_policy(0)
    for size, count in ((5, 1), (5, 3)):
        named = {str(number): policy for number in range(count)}
        side = 2 * (32 * size + 1)
        expected = (CAPTION + side + GAP + 2 * LINE, GAP + count * (side + GAP), 3)
        assert module_map(named, GridConfig(size=size)).shape == expected


def test_legend_of_a_map_shows_arrows_of_known_probability() -> None:
    boards = np.full((40, 500, 3), 200, np.uint8)
    picture = with_legend(boards)
    assert np.array_equal(picture[:40], boards)
    row = (picture[40 + 46] == INK).all(axis=-1)  # through the middle of the arrows
    ends = np.flatnonzero(row[:-1] & ~row[1:]) + 1
    assert ends[0] == pytest.approx(GAP + 0.42 * CELL, abs=2)  # 100%
    assert not row[ends[0] : ends[0] + 4].any()  # the gap before its label


def test_legend_is_whole_below_a_narrow_map() -> None:
    wide, narrow = (with_legend(np.full((40, side, 3), 255, np.uint8)) for side in (500, 60))
    assert np.array_equal(wide[:, : narrow.shape[1]], narrow)
    assert (wide[:, narrow.shape[1] :] == 255).all()


def test_map_does_not_use_random_numbers() -> None:
    policy = make_agent(override(TrainConfig(), PRESETS["smoke"][1])).policy
    assert isinstance(policy, MotivationPolicy)
    before = torch.get_rng_state()
    first, second = (module_map({"one": policy}, GridConfig()) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_panels_are_side_by_side_below_their_captions() -> None:
    red, blue = (np.full((10, 20, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    page = panels({"red": red, "blue": blue})
    assert page.shape == (CAPTION + 10 + GAP, GAP + 2 * (20 + GAP), 3)
    assert (page[CAPTION:-GAP, GAP : GAP + 20] == red).all()
    assert (page[CAPTION:-GAP, 2 * GAP + 20 : -GAP] == blue).all()
    assert (page[:CAPTION] != 255).any()  # the captions


def test_enlarged_image_keeps_uniform_areas() -> None:
    gray = np.full((3, 4, 3), 99, np.uint8)
    assert np.array_equal(enlarge(gray, 2), np.full((6, 8, 3), 99, np.uint8))


def lengths(policy: ShortestPathPolicy, episodes: int, seed: int) -> list[int]:
    """Return how many steps the policy takes in each episode, from its table of distances."""
    steps = []
    for episode in range(episodes):
        lane = np.array([seed + episode], dtype=np.uint64)
        board = gridworld.layout(lane, np.zeros(1, dtype=np.uint64), 5, 0.5)
        steps.append(int(policy.left[board.ghost, board.diamond, board.agent][0]))
    return steps


def frames(path: Path) -> list[int]:
    """Return the milliseconds of every frame."""
    durations = []
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            durations.append(int(image.info["duration"]))
    return durations


class Stubborn(ScriptedPolicy):
    """A policy that walks north until the wall, and then stands still."""

    def actions(self, boards: gridworld.Planes) -> gridworld.Cells:
        """Return moves to the north."""
        return np.zeros(len(boards), dtype=np.intp)


def drawn_lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that receives every text that is drawn."""
    lines: list[str] = []
    text = ImageDraw.ImageDraw.text

    def spy(self: ImageDraw.ImageDraw, xy: Any, line: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        lines.append(line)
        text(self, xy, line, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    return lines


def test_film_has_one_frame_per_step_and_a_pause_per_episode(tmp_path: Path) -> None:
    policy, path = ShortestPathPolicy(), tmp_path / "film.gif"
    film({"shortest path": policy}, SCREEN, 4, 7, path)
    expected = [[500, *[250] * (steps - 1), 1000] for steps in lengths(policy, 4, 7)]
    assert frames(path) == [each for episode in expected for each in episode]


def test_film_names_episode_oversight_step_and_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = drawn_lines(monkeypatch)
    policies = [ShortestPathPolicy(), ShortestPathPolicy(goal=gridworld.GHOST)]
    film({"one": policies[0], "other": policies[1]}, SCREEN, 5, 7, tmp_path / "film.gif")
    for episode in range(5):
        board = gridworld.layout(
            np.array([7 + episode], dtype=np.uint64), np.zeros(1, dtype=np.uint64), 5, 0.5
        )
        seen = ["observed" if each else "hidden" for each in board.overseen[0]]
        title = f"episode {episode + 1} of 5: Diamond {seen[0]}, Ghost {seen[1]}"
        assert title in lines
        start = lines.index(title)
        there = next((i for i, each in enumerate(lines) if i > start and "episode" in each), None)
        steps = lengths(policies[0], 1, 7 + episode)[0]
        own = [each for each in lines[start:there] if each.startswith("step")]
        assert own[:2] == ["step 0"] * 2
        rest = lines[start:]
        assert f"step {steps}: Diamond, +1, {seen[0]}" in rest
        assert any(each.endswith(f"Ghost, -1, {seen[1]}") for each in rest)


def test_film_passes_quickly_over_steps_without_a_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = drawn_lines(monkeypatch)
    path = tmp_path / "film.gif"
    film({"stubborn": Stubborn()}, SCREEN, 1, 8, path)
    assert lines[-1] == "step 32: out of time, 0"
    assert frames(path) == [500, *[60] * 31, 1000]  # the level begins at the northern wall


def test_panel_waits_when_its_episode_ends_first(tmp_path: Path) -> None:
    named = {
        "diamond": ShortestPathPolicy(),
        "ghost": ShortestPathPolicy(goal=gridworld.GHOST),
        "random": RandomPolicy(),
    }
    path = tmp_path / "film.gif"
    torch.manual_seed(0)
    film(named, SCREEN, 2, 7, path)
    least = sum(max(lengths(ShortestPathPolicy(), 1, 7 + episode)[0], 1) for episode in range(2))
    assert len(frames(path)) >= 2 + least
    with Image.open(path) as image:
        assert image.size == (GAP + 3 * (2 * 161 + GAP), CAPTION + 2 * 161 + GAP + 2 * LINE)


def test_film_is_reproducible(tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.manual_seed(3)
        film({"random": RandomPolicy()}, SCREEN, 1, 7, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_evaluate_writes_the_film(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    flags = ("--episodes", "2", "--threads", "1", "--render-episodes", "1")
    assert run_evaluate(finished, *flags, "--render", path) == 0
    assert frames(path)[-1] == 1000
    with Image.open(path) as image:
        assert image.size[0] == GAP + 2 * (2 * 161 + GAP)  # deployed, and the proxy module


def test_evaluate_refuses_a_film_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written: Is a directory"):
        film({"shortest path": ShortestPathPolicy()}, SCREEN, 1, 7, tmp_path)
