"""Boards on which policies are shown, cell by cell: their moves, and what they expect."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.policies import ActorCriticPolicy

from oversight.rl.rendering import SQUARE, Picture, draw_arrows, move_probabilities, panels

Values = NDArray[np.float64]

_HIGH, _LOW = np.array((70, 150, 215)), np.array((226, 120, 60))  # colors of positive and negative

_WIDEST = 1400  # pixels of a row of boards


class View(NamedTuple):
    """A board, and what an agent observes on each of its cells.

    Attributes:
        name: of its files.
        title: which level it is.
        board: its picture without the agent, with squares of `SQUARE` pixels.
        columns: of the board.
        cells: numbers of cells on which an agent can be, row * columns + column, [n].
        observations: what it observes there, [n, ...].
        goals: whether the goal or the proxy is there, [n], so that an agent need not move on.
    """

    name: str
    title: str
    board: Picture
    columns: int
    cells: NDArray[np.intp]
    observations: NDArray[Any]
    goals: NDArray[np.bool_]


class Shown(NamedTuple):
    """What a policy does on a view.

    Attributes:
        values: what its critic expects on each cell, [n].
        moves: the probability of each move, [n, 4].
    """

    values: Values
    moves: NDArray[np.float32]


@torch.no_grad()
def values_of(policy: ActorCriticPolicy, observations: NDArray[Any]) -> Values:
    """Return what the critic of a policy expects on observations, [batch]."""
    policy.set_training_mode(False)
    shown, _ = policy.obs_to_tensor(observations)
    values: Values = policy.predict_values(shown).flatten().double().cpu().numpy()
    return values


def shown_on(view: View, policies: Mapping[str, ActorCriticPolicy]) -> dict[str, Shown]:
    """Return what each policy does on a view."""
    return {
        name: Shown(
            values_of(policy, view.observations), move_probabilities(policy, view.observations)
        )
        for name, policy in policies.items()
    }


def policy_map(view: View, shown: Mapping[str, Shown]) -> Picture:
    """Return a board for each policy: its moves as arrows, over what its critic expects.

    The color is white at the lowest value of all boards, and blue at the highest.
    """
    every = np.concatenate([each.values[~view.goals] for each in shown.values()])
    low, span = float(every.min()), float(np.ptp(every)) or 1.0
    moving = np.flatnonzero(~view.goals)
    cells = view.cells[moving].tolist()

    def drawn(each: Shown) -> Picture:
        tinted = tint(view, np.where(view.goals, 0.0, (each.values - low) / span), 1.0)
        return draw_arrows(tinted, cells, each.moves[moving], view.columns)

    return _in_rows({name: drawn(each) for name, each in shown.items()})


def score_map(view: View, scores: Mapping[str, Values]) -> Picture:
    """Return a board for each map of scores, with the score of each cell as its color and text."""
    most = max(float(np.abs(each).max()) for each in scores.values()) or 1.0
    return _in_rows(
        {name: _numbered(tint(view, each, most), view, each) for name, each in scores.items()}
    )


def _in_rows(pictures: Mapping[str, Picture]) -> Picture:
    """Return pictures of equal size, as many in a row as a page has room for."""
    names = list(pictures)
    room = max(1, _WIDEST // pictures[names[0]].shape[1])
    rows = [
        panels({name: pictures[name] for name in names[start : start + room]})
        for start in range(0, len(names), room)
    ]
    width = max(row.shape[1] for row in rows)
    filled = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(filled)


def tint(view: View, values: Values, most: float) -> Picture:
    """Return the board of a view whose cells are blue by positive values, orange by negative ones.

    Args:
        view: the view.
        values: a value for each of its cells, [n].
        most: the absolute value of full color.
    """
    board = view.board.astype(np.float64)
    for cell, value in zip(view.cells.tolist(), values.tolist(), strict=True):
        top, left = (SQUARE * part for part in divmod(cell, view.columns))
        share = min(1.0, abs(value) / most)
        color = 255 + share * ((_HIGH if value > 0 else _LOW) - 255)
        board[top + 1 : top + SQUARE, left + 1 : left + SQUARE] *= color / 255
    return np.rint(board).astype(np.uint8)


def _numbered(board: Picture, view: View, values: Values) -> Picture:
    image = Image.fromarray(board)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for cell, value in zip(view.cells.tolist(), values.tolist(), strict=True):
        row, column = divmod(cell, view.columns)
        place = (column + 0.5) * SQUARE, (row + 1) * SQUARE - 11
        pen.text(place, f"{value:+.2f}", (45, 48, 58), font, anchor="mm")
    return np.asarray(image)


def encoded(picture: Picture) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    data = BytesIO()
    Image.fromarray(picture).save(data, format="PNG", optimize=True)
    return data.getvalue()
