"""Pictures of policies in PartialGrid-v0: films of episodes, and maps of the modules' moves."""

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

import envs
from envs import gridworld
from envs.gridworld import GridConfig

Env = gym.Env[Any, Any]
Picture = NDArray[np.uint8]

_PAPER, _INK = (255, 255, 255), (45, 48, 58)
_GAP, _CAPTION = 16, 34  # pixels


def panels(pictures: Mapping[str, Picture]) -> Picture:
    """Return pictures of equal size in a row, each below its caption; RGB, [height, width, 3]."""
    height, width, _ = next(iter(pictures.values())).shape
    page = Image.new(
        "RGB",
        (_GAP + len(pictures) * (width + _GAP), _CAPTION + height + _GAP),
        _PAPER,
    )
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(16)
    for number, (caption, picture) in enumerate(pictures.items()):
        left = _GAP + number * (width + _GAP)
        pen.text((left + width / 2, _CAPTION / 2 + 2), caption, _INK, font, anchor="mm")
        page.paste(Image.fromarray(picture), (left, _CAPTION))
    return np.asarray(page)


def enlarge(picture: Picture, factor: int) -> Picture:
    """Return a picture enlarged by a factor, with smooth edges."""
    height, width, _ = picture.shape
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


_FRAME, _PAUSE = 250, 900  # milliseconds


def film(
    policies: Mapping[str, BasePolicy],
    make: Callable[[], Env],
    episodes: int,
    seed: int,
    path: Path,
) -> None:
    """Write an animated GIF in which all policies play the same levels side by side.

    A panel whose episode has ended waits for the others.

    Raises:
        ValueError: if the file cannot be written.
    """
    frames: list[Image.Image] = []
    durations: list[int] = []
    for episode in range(episodes):
        plays = [list(_play(policy, make(), seed + episode)) for policy in policies.values()]
        last = [play[-1] for play in plays]
        for pictures in zip_longest(*plays):
            shown = [
                now if now is not None else end for now, end in zip(pictures, last, strict=True)
            ]
            frames.append(Image.fromarray(panels(dict(zip(policies, shown, strict=True)))))
            durations.append(_FRAME)
        durations[-1] = _PAUSE
    try:
        frames[0].save(
            path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def _play(policy: BasePolicy, env: Env, seed: int) -> Iterator[Picture]:
    """Play one episode, and yield a frame before the first step and after each step."""
    observation, _ = env.reset(seed=seed)
    yield _frame(env)
    ended = False
    while not ended:
        action, _ = policy.predict(observation, deterministic=False)
        observation, _, terminated, truncated, _ = env.step(int(action))
        ended = terminated or truncated
        yield _frame(env)


def _frame(env: Env) -> Picture:
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    return enlarge(picture, 2)


SCALE = 2
_CELL = SCALE * 32  # pixels of one square
_ARROW = (45, 48, 58)
_HEADINGS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # north, east, south, west as (x, y)


def module_map(policies: Mapping[str, ActorCriticPolicy], config: GridConfig) -> Picture:
    """Return one board per policy, with arrows as long as their moves are probable.

    Diamond and ghost lie at opposite sides of the board, and no square is overseen.
    """
    size = config.size
    middle = size // 2
    diamond, ghost = middle * size, middle * size + size - 1
    cells = [cell for cell in range(size * size) if cell not in (diamond, ghost)]
    observations = _observations(cells, diamond, ghost, size)
    board = enlarge(envs.draw(None, ghost, diamond, (False, False), size), SCALE)
    return panels(
        {
            name: _draw_arrows(board, cells, _probabilities(policy, observations), size)
            for name, policy in policies.items()
        }
    )


def _observations(cells: list[int], diamond: int, ghost: int, size: int) -> gridworld.Planes:
    count = len(cells)
    board = gridworld.Board(
        agent=np.array(cells),
        ghost=np.full(count, ghost),
        diamond=np.full(count, diamond),
        overseen=np.zeros((count, 2), dtype=np.bool_),
    )
    return gridworld.observe(board, size)


def _probabilities(
    policy: ActorCriticPolicy, observations: gridworld.Planes
) -> NDArray[np.float32]:
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
    """Draw an arrow, or nothing if it would be shorter than its own width."""
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
