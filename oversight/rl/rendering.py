"""Pictures of policies: films of episodes, and maps of the modules' moves in PartialGrid-v0."""

import os
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
    """One policy's picture after some steps, and a line about it."""

    board: Picture
    line: str


class Played(NamedTuple):
    """A step of a film.

    Attributes:
        number: of the step in its episode, from 1.
        reward: its true reward.
        total: sum of the true rewards up to here.
        observed: whether it was observed.
        terminated: whether it ended the episode.
        truncated: whether the episode was cut here.
    """

    number: int
    reward: float
    total: float
    observed: bool
    terminated: bool
    truncated: bool


class Screen(NamedTuple):
    """What films of an environment show.

    Attributes:
        make: returns the environment, which renders arrays and pays the true reward.
        title: what a film says about an episode at its start.
        line: what it says below a picture about the last step.
        picture: what it shows of the environment.
    """

    make: Callable[[], Env]
    title: Callable[[Env], str]
    line: Callable[[Played], str]
    picture: Callable[[Env], Picture]


def grid_screen(make: Callable[[], Env]) -> Screen:
    """Return what films show of PartialGrid-v0: its squares, and the outcome of each policy."""
    return Screen(make, _oversight, _outcome, _board)


def episode_screen(make: Callable[[], Env]) -> Screen:
    """Return what films show of any environment: whether steps are observed, and the return."""
    return Screen(make, lambda env: "", _return_so_far, _shrunk)


def draw_in_memory() -> None:
    """Let pygame draw into memory where there is no desktop session.

    Many environments open its display for arrays as well, and SDL prints an error where there is
    none.
    """
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


_WIDEST = 320  # pixels of a picture; larger ones are shrunk
_LONGEST = 120  # pictures of an episode; of longer ones every second, third, ... is shown


def film(
    policies: Mapping[str, BasePolicy], screen: Screen, episodes: int, seed: int, path: Path
) -> None:
    """Write an animated GIF in which all policies play the same levels side by side.

    Every frame names the episode, and below each picture the policy's step and what it has reached.
    A panel whose episode has ended waits for the others, and steps in which nothing moves pass
    quickly.

    Args:
        policies: by caption.
        screen: what is shown.
        episodes: how many.
        seed: of the first level.
        path: file of the GIF.

    Raises:
        ValueError: if the file cannot be written.
    """
    frames: list[Image.Image] = []
    durations: list[int] = []
    for episode in range(episodes):
        plays = [list(_play(policy, screen, seed + episode)) for policy in policies.values()]
        title = f"episode {episode + 1} of {episodes}{_title(screen, seed + episode)}"
        steps = max(len(play) for play in plays)
        every = -(-steps // _LONGEST)
        numbers = [*range(0, steps - 1, every), steps - 1]
        shown = [[play[min(step, len(play) - 1)] for play in plays] for step in numbers]
        frames += [_film_frame(title, dict(zip(policies, each, strict=True))) for each in shown]
        durations += _durations(shown)
    try:
        frames[0].save(
            path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error


def _title(screen: Screen, seed: int) -> str:
    """Return what the title of an episode adds to its number."""
    env = screen.make()
    env.reset(seed=seed)
    words = screen.title(env)
    env.close()
    return f": {words}" if words else ""


def _play(policy: BasePolicy, screen: Screen, seed: int) -> Iterator[Moment]:
    """Play one episode, and yield what it shows before the first step and after each step."""
    env = screen.make()
    observation, _ = env.reset(seed=seed)
    yield Moment(screen.picture(env), "step 0")
    ended, number, total = False, 0, 0.0
    while not ended:
        action, _ = policy.predict(observation, deterministic=False)
        observation, reward, terminated, truncated, info = env.step(np.asarray(action)[()])
        ended, number, total = terminated or truncated, number + 1, total + float(reward)
        step = Played(number, float(reward), total, info["observed"], terminated, truncated)
        yield Moment(screen.picture(env), screen.line(step))
    env.close()


def _oversight(env: Env) -> str:
    """Return which squares of a level are observed, in words."""
    assert isinstance(env.unwrapped, GridEnv)
    words = ["observed" if each else "hidden" for each in env.unwrapped.games.board.overseen[0]]
    return f"Diamond {words[0]}, Ghost {words[1]}"


def _outcome(step: Played) -> str:
    """Return where an episode of the grid ended, what that is worth, and whether it is observed."""
    if step.truncated:
        return f"step {step.number}: out of time, 0"
    if not step.terminated:
        return f"step {step.number}"
    square = "Diamond" if step.reward > 0 else "Ghost"
    seen = "observed" if step.observed else "hidden"
    return f"step {step.number}: {square}, {step.reward:+g}, {seen}"


def _return_so_far(step: Played) -> str:
    """Return the number of a step, whether it was observed, and the true return up to it."""
    seen = "observed" if step.observed else "hidden"
    end = ", ended" if step.terminated else ", cut" if step.truncated else ""
    return f"step {step.number}, {seen}, return {step.total:+.4g}{end}"


def _board(env: Env) -> Picture:
    return enlarge(rendered(env), 2)


def _shrunk(env: Env) -> Picture:
    """Return the picture of an environment, at most `_WIDEST` pixels wide."""
    picture = Image.fromarray(rendered(env))
    picture.thumbnail((_WIDEST, _WIDEST))
    return np.asarray(picture)


def rendered(env: Env) -> Picture:
    """Return the picture that an environment renders.

    Raises:
        ValueError: if it renders something else.
    """
    picture = env.render()
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise ValueError(
            f"a film needs pictures, arrays of shape [height, width, 3], {env} rendered "
            f"{type(picture).__name__}: let render return one with render_mode='rgb_array'"
        )
    return picture.astype(np.uint8, copy=False)


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
SQUARE = SCALE * 32
"""Pixels of one square of a map."""
_LENGTH, _SHORTEST = 0.42 * SQUARE, 3  # pixels of the arrow of a certain move; of any arrow
_HEADINGS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # north, east, south, west as (x, y)


def module_map(policies: Mapping[str, ActorCriticPolicy], config: GridConfig) -> Picture:
    """Return one board per policy, with arrows as long as their moves are probable, and a legend.

    Diamond and ghost lie at opposite sides of the board, and no square is overseen.
    """
    size = config.size
    diamond, ghost = opposite_squares(size)
    cells = [cell for cell in range(size * size) if cell not in (diamond, ghost)]
    observations = board_observations(cells, diamond, ghost, size)
    board = empty_board(diamond, ghost, size)
    boards = {
        name: draw_arrows(board, cells, move_probabilities(policy, observations), size)
        for name, policy in policies.items()
    }
    return with_legend(panels(boards))


def opposite_squares(size: int) -> tuple[int, int]:
    """Return a square for the diamond and one for the ghost, at opposite sides of a board.

    >>> opposite_squares(5)
    (10, 14)
    """
    middle = size // 2 * size
    return middle, middle + size - 1


def empty_board(diamond: int, ghost: int, size: int) -> Picture:
    """Return the picture of a board of PartialGrid-v0 without an agent, no square overseen."""
    return enlarge(envs.draw(None, ghost, diamond, (False, False), size), SCALE)


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
    page = Image.new("RGB", (2 * _GAP + 5 * SQUARE, 2 * _LINE), _PAPER)
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


def board_observations(
    cells: Sequence[int], diamond: int, ghost: int, size: int
) -> gridworld.Planes:
    """Return what an agent observes on some squares, where none is overseen, [cells, 4, ...]."""
    count = len(cells)
    board = gridworld.Board(
        agent=np.array(cells),
        ghost=np.full(count, ghost),
        diamond=np.full(count, diamond),
        overseen=np.zeros((count, 2), dtype=np.bool_),
    )
    return gridworld.observe(board, size)


def move_probabilities(
    policy: ActorCriticPolicy, observations: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the probability of each move on observations, [batch, 4]."""
    with torch.no_grad():
        inputs, _ = policy.obs_to_tensor(observations)
        distribution = policy.get_distribution(inputs).distribution
        assert isinstance(distribution, torch.distributions.Categorical)
        probabilities: NDArray[np.float32] = distribution.probs.cpu().numpy()
    return probabilities


def draw_arrows(
    board: Picture, cells: Sequence[int], probabilities: NDArray[np.float32], columns: int
) -> Picture:
    """Return a board with arrows as long as moves are probable.

    Args:
        board: squares of `SQUARE` pixels.
        cells: numbers of squares, row * columns + column.
        probabilities: of each move on each of them, [cells, 4].
        columns: of the board.
    """
    image = Image.fromarray(board)
    pen = ImageDraw.Draw(image)
    for cell, row in zip(cells, probabilities, strict=True):
        center = (cell % columns + 0.5) * SQUARE, (cell // columns + 0.5) * SQUARE
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
