"""The module map: where each module of a policy would go from every square of one board."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from stable_baselines3.common.policies import ActorCriticPolicy

import envs
from envs.config import GridConfig
from envs.grid import kernel
from envs.grid.rules import Rules
from oversight.pictures.panels import Picture, enlarge, panels

SCALE = 2
_CELL = SCALE * 32  # pixels of one square
_ARROW = (45, 48, 58)
_HEADINGS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # north, east, south, west as (x, y)


def module_map(policies: Mapping[str, ActorCriticPolicy], config: GridConfig) -> Picture:
    """Return one board per policy with an arrow per move, as long as the move is likely.

    Diamond and ghost face each other across the board, and nobody watches.
    """
    size = config.size
    rules = Rules(size, config.horizon, 0.0, config.flag, "true")
    middle = size // 2
    diamond, ghost = middle * size, middle * size + size - 1
    cells = [cell for cell in range(size * size) if cell not in (diamond, ghost)]
    observations = _observations(cells, diamond, ghost, rules)
    board = enlarge(envs.draw(None, ghost, diamond, (False, False), size), SCALE)
    return panels(
        {
            name: _draw_arrows(board, cells, _probabilities(policy, observations), size)
            for name, policy in policies.items()
        }
    )


def _observations(cells: list[int], diamond: int, ghost: int, rules: Rules) -> kernel.Planes:
    count = len(cells)
    board = kernel.Board(
        agent=np.array(cells),
        ghost=np.full(count, ghost),
        diamond=np.full(count, diamond),
        overseen=np.zeros((count, 2), dtype=np.bool_),
    )
    return kernel.observe(board, rules)


def _probabilities(policy: ActorCriticPolicy, observations: kernel.Planes) -> NDArray[np.float32]:
    """Return the probability of each move, [cells, 4]."""
    with torch.no_grad():
        inputs, _ = policy.obs_to_tensor(observations)
        distribution = policy.get_distribution(inputs).distribution
        assert isinstance(distribution, torch.distributions.Categorical)
        probabilities: NDArray[np.float32] = distribution.probs.cpu().numpy()
    return probabilities


def _draw_arrows(
    board: Picture, cells: list[int], probabilities: NDArray[np.float32], size: int
) -> Picture:
    image = Image.fromarray(board)
    pen = ImageDraw.Draw(image)
    for cell, row in zip(cells, probabilities, strict=True):
        center = (cell % size + 0.5) * _CELL, (cell // size + 0.5) * _CELL
        for heading, probability in zip(_HEADINGS, row.tolist(), strict=True):
            _draw_arrow(pen, center, heading, probability * 0.42 * _CELL)
    return np.asarray(image)


def _draw_arrow(
    pen: ImageDraw.ImageDraw, start: tuple[float, float], heading: tuple[int, int], length: float
) -> None:
    """Draw an arrow, or nothing where it would be shorter than its own width."""
    if length < 3:
        return
    (x, y), (dx, dy) = start, heading
    tip = x + dx * length, y + dy * length
    head = min(length, 7)
    neck = tip[0] - dx * head, tip[1] - dy * head
    pen.line([(x, y), neck], _ARROW, 3)
    side = dy * head * 0.7, dx * head * 0.7
    pen.polygon(
        [tip, (neck[0] + side[0], neck[1] + side[1]), (neck[0] - side[0], neck[1] - side[1])],
        _ARROW,
    )
