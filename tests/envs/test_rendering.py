"""Pictures of the game."""

import numpy as np
import pytest

from envs import draw, partial_grid, partial_grid_vec
from envs.rendering import CELL, write


def test_text_brackets_the_overseen_squares() -> None:
    text = write(agent=0, ghost=2, diamond=7, overseen=(True, False), size=3)
    assert text.split("\n") == [" A  .  G ", " .  .  . ", " . [D] . "]
    assert "[A]" in write(agent=2, ghost=2, diamond=7, overseen=(False, True), size=3)


@pytest.mark.parametrize("size", [2, 5, 9])
def test_a_frame_has_a_tile_per_cell(size: int) -> None:
    frame = draw(agent=0, ghost=1, diamond=2, overseen=(False, False), size=size)
    assert frame.shape == (size * CELL + 1, size * CELL + 1, 3)
    assert frame.dtype == np.uint8


def test_each_thing_changes_its_own_tile_only() -> None:
    base = {"agent": 0, "ghost": 6, "diamond": 12, "overseen": (False, False), "size": 5}
    changes = {(0, 24): {"agent": 24}, (6, 24): {"ghost": 24}, (12, 24): {"diamond": 24}}
    watches = {(12,): {"overseen": (True, False)}, (6,): {"overseen": (False, True)}}
    before = draw(**base)  # type: ignore[arg-type]
    for tiles, change in (changes | watches).items():
        differs = (draw(**(base | change)) != before).any(axis=2)  # type: ignore[arg-type]
        inner = differs[:-1, :-1].reshape(5, CELL, 5, CELL).any(axis=(1, 3))
        assert np.flatnonzero(inner).tolist() == list(tiles)


def test_both_environments_render_alike() -> None:
    for mode in ("ansi", "rgb_array"):
        single, vector = partial_grid(render_mode=mode), partial_grid_vec(3, render_mode=mode)
        single.reset(seed=4)
        vector.reset(seed=3)
        frames = vector.render()
        assert frames is not None
        assert len(frames) == 3
        np.testing.assert_array_equal(frames[1], single.render())


def test_nothing_is_rendered_without_a_mode() -> None:
    assert partial_grid().render() is None
    assert partial_grid_vec(2).render() is None
