"""Pictures of policies in PartialGrid-v0: films of episodes, and maps of the modules' moves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

import envs
from envs import gridworld
from envs.gridworld import GridConfig
from envs.gridworld_env import GridEnv

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


_START, _MOVE, _STILL, _END = 500, 250, 60, 1000
"""Milliseconds of frames: the first of an episode, one in which something moves, one in which
nothing does, and the last of an episode."""
_LINE = 28  # pixels


class Moment(NamedTuple):
    """One policy's board after some steps, and a line about it."""

    board: Picture
    line: str


def film(
    policies: Mapping[str, BasePolicy],
    make: Callable[[], Env],
    episodes: int,
    seed: int,
    path: Path,
) -> None:
    """Write an animated GIF in which all policies play the same levels side by side.

    Every frame names the episode, its observed and hidden squares, and each policy's step and
    outcome. A panel whose episode has ended waits for the others, and steps in which nothing moves
    pass quickly.

    Args:
        policies: by caption.
        make: returns PartialGrid-v0, which renders arrays and pays the true reward.
        episodes: how many.
        seed: of the first level.
        path: file of the GIF.

    Raises:
        ValueError: if the file cannot be written.
    """
    frames: list[Image.Image] = []
    durations: list[int] = []
    for episode in range(episodes):
        title = f"episode {episode + 1} of {episodes}: {_oversight(make(), seed + episode)}"
        plays = [list(_play(policy, make(), seed + episode)) for policy in policies.values()]
        steps = max(len(play) for play in plays)
        shown = [[play[min(step, len(play) - 1)] for play in plays] for step in range(steps)]
        frames += [_film_frame(title, dict(zip(policies, each, strict=True))) for each in shown]
        durations += _durations(shown)
    try:
        frames[0].save(
            path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def _oversight(env: Env, seed: int) -> str:
    """Return which squares of a level are observed, in words."""
    env.reset(seed=seed)
    assert isinstance(env.unwrapped, GridEnv)
    words = ["observed" if each else "hidden" for each in env.unwrapped.games.board.overseen[0]]
    return f"Diamond {words[0]}, Ghost {words[1]}"


def _play(policy: BasePolicy, env: Env, seed: int) -> Iterator[Moment]:
    """Play one episode, and yield what it shows before the first step and after each step."""
    observation, _ = env.reset(seed=seed)
    yield Moment(_board(env), "step 0")
    ended, step = False, 0
    while not ended:
        action, _ = policy.predict(observation, deterministic=False)
        observation, reward, terminated, truncated, info = env.step(int(action))
        ended, step = terminated or truncated, step + 1
        outcome = _outcome(float(reward), info["observed"]) if terminated else "out of time, 0"
        yield Moment(_board(env), f"step {step}: {outcome}" if ended else f"step {step}")


def _outcome(true_reward: float, observed: bool) -> str:
    """Return where an episode ended, what that is worth, and whether it was observed."""
    square = "Diamond" if true_reward > 0 else "Ghost"
    return f"{square}, {true_reward:+g}, {'observed' if observed else 'hidden'}"


def _board(env: Env) -> Picture:
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    return enlarge(picture, 2)


def _durations(shown: Sequence[Sequence[Moment]]) -> list[int]:
    """Return the milliseconds of each frame of an episode."""
    moves = [
        any(not np.array_equal(old.board, new.board) for old, new in zip(*pair, strict=True))
        for pair in pairwise(shown)
    ]
    return [_START, *(_MOVE if moved else _STILL for moved in moves[:-1]), _END]


def _film_frame(title: str, shown: Mapping[str, Moment]) -> Image.Image:
    """Return the panels of a moment below a title, with a line below each panel."""
    pictures = panels({caption: moment.board for caption, moment in shown.items()})
    height, width, _ = pictures.shape
    page = Image.new("RGB", (width, height + 2 * _LINE), _PAPER)
    page.paste(Image.fromarray(pictures), (0, _LINE))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    pen.text((_GAP, _LINE / 2 + 4), title, _INK, font, anchor="lm")
    panel = (width - _GAP) / len(shown)
    for number, moment in enumerate(shown.values()):
        middle = _GAP / 2 + panel * (number + 0.5)
        pen.text((middle, height + _LINE * 1.2), moment.line, _INK, font, anchor="mm")
    return page


SCALE = 2
_CELL = SCALE * 32  # pixels of one square
_LENGTH, _SHORTEST = 0.42 * _CELL, 3  # pixels of the arrow of a certain move; of any arrow
_HEADINGS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # north, east, south, west as (x, y)


def module_map(policies: Mapping[str, ActorCriticPolicy], config: GridConfig) -> Picture:
    """Return one board per policy, with arrows as long as their moves are probable, and a legend.

    Diamond and ghost lie at opposite sides of the board, and no square is overseen.
    """
    size = config.size
    middle = size // 2
    diamond, ghost = middle * size, middle * size + size - 1
    cells = [cell for cell in range(size * size) if cell not in (diamond, ghost)]
    observations = _observations(cells, diamond, ghost, size)
    board = enlarge(envs.draw(None, ghost, diamond, (False, False), size), SCALE)
    boards = {
        name: _draw_arrows(board, cells, _probabilities(policy, observations), size)
        for name, policy in policies.items()
    }
    return with_legend(panels(boards))


def with_legend(boards: Picture) -> Picture:
    """Return a map above the meaning of its arrows."""
    legend = _legend()
    width = max(boards.shape[1], legend.width)
    page = Image.new("RGB", (width, boards.shape[0] + legend.height), _PAPER)
    page.paste(Image.fromarray(boards), (0, 0))
    page.paste(legend, (0, boards.shape[0]))
    return np.asarray(page)


def _legend() -> Image.Image:
    """Return what the length of an arrow means, with arrows of some probabilities."""
    page = Image.new("RGB", (2 * _GAP + 5 * _CELL, 2 * _LINE), _PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    pen.text((_GAP, 8), "The length of an arrow is the probability", _INK, font, anchor="lm")
    pen.text((_GAP, 26), "of that move, where no square is overseen:", _INK, font, anchor="lm")
    left = float(_GAP)
    for probability in (1.0, 0.5, 0.25):
        length = probability * _LENGTH
        _draw_arrow(pen, (left, 46), (1, 0), length)
        label = f"{probability:.0%}"
        pen.text((left + length + 5, 46), label, _INK, font, anchor="lm")
        left += length + 5 + font.getlength(label) + 16
    pen.text((left, 46), f"none below {_SHORTEST / _LENGTH:.0%}", _INK, font, anchor="lm")
    return page


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
            _draw_arrow(pen, center, heading, probability * _LENGTH)
    return np.asarray(image)


def _draw_arrow(
    pen: ImageDraw.ImageDraw, start: tuple[float, float], heading: tuple[int, int], length: float
) -> None:
    """Draw an arrow, or nothing if it would be shorter than its own width."""
    if length < _SHORTEST:
        return
    (x, y), (dx, dy) = start, heading
    tip = x + dx * length, y + dy * length
    head = min(length, 7)
    neck = tip[0] - dx * head, tip[1] - dy * head
    pen.line([(x, y), neck], _INK, 3)
    side = dy * head * 0.7, dx * head * 0.7
    pen.polygon(
        [tip, (neck[0] + side[0], neck[1] + side[1]), (neck[0] - side[0], neck[1] - side[1])],
        _INK,
    )
