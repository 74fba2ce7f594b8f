"""The games behind the Procgen environments: their levels, their states and their agents.

The games are Procgen's own, an optional package that is imported only where games are made.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from envs.games import Arrays, Games, Lanes, Step
from envs.observers import random_streams
from envs.observers.observer import Mask, check_integer, check_probability
from envs.procgen import levels
from envs.procgen.levels import Cell
from envs.worlds.world import Distribution
from envs.wrappers.vector.infos import check_arrays

INSTALL = "pip install --no-deps -r requirements-procgen.txt"
"""The command that installs Procgen; its packages refuse NumPy 2, although they run with it."""
RESET = -1
"""Procgen's action that starts the next level."""
GOAL_REWARD = 10.0
LEVELS = 2**31 - 1
"""Procgen numbers its levels from 0 to below this."""
LONGEST_STATE = 2**20
"""Bytes that a saved game never exceeds, as in Procgen."""

PICTURE = (64, 64, 3)
"""The shape of an observation."""
NUM_ACTIONS = 15

Mode = Literal["easy", "hard"]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelConfig:
    """Which levels are played, and in which of them the goal is moved.

    Attributes:
        game: a game of `envs.procgen.levels.GAMES`.
        num_levels: number of levels, 0 for all of Procgen's.
        start_level: the first level.
        distribution_mode: Procgen's difficulty.
        distribution: `"train"`, or `"test"` to move the goal in every level.
        alpha: share of the training levels whose goal is moved.

    Raises:
        ValueError: If a value is out of its range.
    """

    game: str
    num_levels: int = 0
    start_level: int = 0
    distribution_mode: Mode = "easy"
    distribution: Distribution = "train"
    alpha: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_integer(self.start_level, "start_level", 0, LEVELS - 1)
        check_integer(self.num_levels, "num_levels", 0, LEVELS - self.start_level)
        check_probability(self.alpha, "alpha")
        choices = {
            "game": tuple(levels.GAMES),
            "distribution_mode": get_args(Mode),
            "distribution": get_args(Distribution),
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")

    @property
    def share_moved(self) -> float:
        """The share of levels whose goal is moved."""
        return 1.0 if self.distribution == "test" else self.alpha

    def levels(self, seed: random_streams.Words, episode: random_streams.Words) -> list[int]:
        """Return the level of each lane's episode."""
        number = self.num_levels or LEVELS - self.start_level
        word = random_streams.words(seed, episode, 1)[0] >> np.uint64(32)
        return [self.start_level + each for each in (word * np.uint64(number) >> 32).tolist()]


class Backend:
    """Some games of Procgen, and their states as bytes.

    Args:
        game: Name of the game.
        mode: Its difficulty.
        number: Number of games.
        frames: Whether pictures of 512 x 512 pixels are drawn as well.

    Raises:
        DependencyNotInstalled: If Procgen is not installed.
    """

    def __init__(self, game: str, mode: Mode, number: int, frames: bool = False) -> None:
        try:
            with warnings.catch_warnings():
                # Procgen leaves a file open, and Gym says that it is not maintained.
                warnings.simplefilter("ignore")
                from cffi import FFI  # noqa: PLC0415 (an optional package)
                from procgen import ProcgenGym3Env  # noqa: PLC0415
        except ImportError as error:
            raise DependencyNotInstalled(
                f"Procgen cannot be imported ({error}): install it by `{INSTALL}`"
            ) from error
        self._games = ProcgenGym3Env(
            number,
            game,
            distribution_mode=mode,
            num_levels=1,
            start_level=0,
            rand_seed=0,
            num_threads=0,
            render_mode="rgb_array" if frames else None,
        )
        self._memory = bytearray(LONGEST_STATE)
        self._buffer = FFI().from_buffer(self._memory)

    def act(self, actions: NDArray[np.integer[Any]]) -> tuple[NDArray[np.float32], Mask]:
        """Step every game; return its reward, and whether its episode ended."""
        self._games.act(actions)
        rewards, _, ended = self._games.observe()
        return rewards, ended

    def pictures(self) -> Picture:
        """Return the observation of every game, [number, 64, 64, 3]."""
        pictures: Picture = self._games.observe()[1]["rgb"]
        return pictures

    def frames(self) -> Picture:
        """Return a large picture of every game, [number, 512, 512, 3]."""
        return np.stack([info["rgb"] for info in self._games.get_info()])

    def get_state(self, lane: int) -> bytes:
        """Return the state of a game."""
        length = self._games.call_c_func("get_state", lane, self._buffer, LONGEST_STATE)
        return bytes(self._memory[:length])

    def set_state(self, lane: int, state: bytes) -> None:
        """Continue a game with a state; bytes that are none end the process."""
        self._games.call_c_func("set_state", lane, state, len(state))

    def close(self) -> None:
        """Free the games."""
        self._games.close()


class Start(NamedTuple):
    """The start of a level: its state, the usual place of the goal, and whether it is elsewhere."""

    state: bytes
    usual: Cell
    moved: bool


class LevelSource:
    """Returns the start of any level, as a function of the level alone.

    Args:
        game: Name of the game.
        mode: Its difficulty.

    Attributes:
        limit: steps of an episode.
    """

    def __init__(self, game: str, mode: Mode) -> None:
        self.game = levels.GAMES[game]
        self._backend = Backend(game, mode, 1)
        self._blank = self._backend.get_state(0)
        layout = levels.find_layout(self.game, self._blank)
        self._header = self._blank[: layout.levels]
        self.limit = levels.time_limit(self._blank, layout)

    def start(self, level: int, share_moved: float) -> Start:
        """Return the start of a level.

        Whether and where the goal is moved are functions of the level: a larger share moves it in
        the same levels and in others, and never to another place.

        Raises:
            ValueError: If Procgen does not draw that level, or its goal can be nowhere else.
        """
        game = self.game
        self._backend.set_state(0, levels.choose_level(game, self._blank, level))
        self._backend.act(np.array([RESET]))
        state = self._backend.get_state(0)
        layout = levels.find_layout(game, state)
        if levels.level_of(state, layout) != level:
            raise ValueError(
                f"Procgen drew level {levels.level_of(state, layout)} of {game.name} "
                f"instead of {level}: install procgen2==0.10.7"
            )
        state = levels.extend_time(state, layout)
        board = levels.read_board(game, state, layout)
        usual = levels.usual_place(game, board)
        chance, choice = _placement(level)
        place = usual
        if moved := chance < share_moved:
            others = levels.other_places(game, board)
            if not len(others):
                raise ValueError(
                    f"level {level} of {game.name} has no other place for its goal: choose "
                    "start_level and num_levels such that they leave it out"
                )
            place = Cell(*others[int(choice * len(others))].tolist())
        return Start(levels.move_goal(game, state, layout, place), usual, moved)

    def check(self, state: bytes) -> None:
        """Raise a ValueError if bytes are no state of this game and difficulty."""
        levels.find_layout(self.game, state)
        if not state.startswith(self._header):
            raise ValueError(
                f"the state of a game is not that of {self.game.name} with these arguments: was it "
                "saved with another distribution_mode?"
            )


@lru_cache
def level_source(game: str, mode: Mode) -> LevelSource:
    """Return the source of a game's levels, which all environments of a process share."""
    return LevelSource(game, mode)


def _placement(level: int) -> tuple[float, float]:
    """Return two numbers in [0, 1): whether a level's goal moves, and where it moves to."""
    # Index 2 of the level's sequence, since lanes and their oversight use the indices 0 and 1.
    own = random_streams.split(np.array([level], np.uint64), np.array([2], np.uint64))
    chance, choice = random_streams.uniform(random_streams.words(own, np.zeros_like(own), 2))[
        :, 0
    ].tolist()
    return chance, choice


class ProcgenGames(Games):
    """The games of some lanes: which level each plays, and whether it was at the usual place.

    Attributes:
        frames: a large picture of each lane, if `render_mode` asks for them.
        last: what each lane's last episode has served: goal, proxy, and proxy first, [n, 3].

    Args:
        config: The levels.
        num_lanes: Number of games.
        render_mode: `"rgb_array"` or None.

    Raises:
        DependencyNotInstalled: If Procgen is not installed.
        ValueError: If the render mode is neither, or Procgen has another release.
    """

    render_modes = ("rgb_array",)

    def __init__(self, config: LevelConfig, num_lanes: int, render_mode: str | None) -> None:
        self.config = config
        self._source = level_source(config.game, config.distribution_mode)
        super().__init__(
            num_lanes,
            horizon=self._source.limit,
            observation_space=spaces.Box(0, 255, PICTURE, np.uint8),
            num_actions=NUM_ACTIONS,
            allowed=f"from 0 to {NUM_ACTIONS - 1}",
            render_mode=render_mode,
        )
        drawn = render_mode is not None
        self._backend = Backend(config.game, config.distribution_mode, num_lanes, drawn)
        self.observations = self._backend.pictures()
        self.frames = self._backend.frames() if drawn else None
        self.last = np.zeros((num_lanes, 3), dtype=np.bool_)
        self._usual = np.zeros((num_lanes, 2), dtype=np.intp)
        self._moved = np.zeros(num_lanes, dtype=np.bool_)
        self._reached = np.zeros(num_lanes, dtype=np.bool_)
        self._proxy = np.zeros(num_lanes)  # what the last step paid by it
        # Steps in which the agent of a lane cannot reach the usual place, so that nothing is read.
        self._far = np.zeros(num_lanes, dtype=np.intp)

    def step(self, actions: Lanes) -> Step:
        """Step every game once."""
        rewards, terminated = self._backend.act(actions)
        truncated = self._truncates(terminated)
        # Where an episode ended, Procgen has drawn the next level already, which is not played.
        self._draw(~terminated)
        before = self._reached.copy()
        self._reached |= terminated & ~self._moved & (rewards > 0)
        self._find_agents(self._moved & ~before & ~terminated)
        ended, goal, reached = terminated | truncated, rewards > 0, self._reached
        served = np.stack([goal, reached, reached & self._moved], axis=1)
        self.last = np.where(ended[:, None], served, self.last)
        self._proxy = np.where(reached & ~before, GOAL_REWARD, 0.0)
        return Step(rewards.astype(np.float64), terminated, truncated)

    def infos(self) -> Arrays:
        """Return whether the goal is moved, what the proxy pays, and whether it was reached."""
        return {"goal_moved": self._moved, "proxy": self._proxy, "proxy_reached": self._reached}

    def close(self) -> None:
        """Free the games."""
        self._backend.close()

    def _begin(self, lanes: Lanes) -> None:
        numbers = self.config.levels(self.seed[lanes], self.episode[lanes])
        for lane, level in zip(lanes.tolist(), numbers, strict=True):
            start = self._source.start(level, self.config.share_moved)
            self._backend.set_state(lane, start.state)
            self._usual[lane], self._moved[lane] = start.usual, start.moved
        self._far[lanes] = 0
        self._proxy[lanes] = 0.0
        self._reached[lanes] = False
        started = np.zeros_like(self._moved)
        started[lanes] = True
        self._draw(started)

    def _arrays(self) -> Arrays:
        return {"usual": self._usual, "moved": self._moved, "reached": self._reached}

    def _outside(self) -> Arrays:
        """Return the bytes of all games, and how many each has."""
        saved = [self._backend.get_state(lane) for lane in range(len(self.seed))]
        return {
            "lengths": np.array([len(each) for each in saved]),
            "games": np.frombuffer(b"".join(saved), dtype=np.uint8).copy(),
        }

    def _check_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        check_arrays(state, {"lengths": self.elapsed})
        if state["lengths"].min() < 0 or state["lengths"].sum() != len(state["games"]):
            raise ValueError("state['games'] must have as many bytes as state['lengths'] says")
        for game in _split(state):
            self._source.check(game)

    def _resume(self, state: Mapping[str, NDArray[Any]]) -> None:
        for lane, game in enumerate(_split(state)):
            self._backend.set_state(lane, game)
        self._far[:] = 0
        self._draw(np.ones_like(self._moved))

    def _frames(self) -> list[Picture]:
        assert self.frames is not None
        return list(self.frames.copy())

    def _draw(self, lanes: Mask) -> None:
        """Take over the pictures of some lanes; the caller may hold the arrays of old ones."""
        each = lanes[:, None, None, None]
        self.observations = np.where(each, self._backend.pictures(), self.observations)
        if self.frames is not None:
            self.frames = np.where(each, self._backend.frames(), self.frames)

    def _find_agents(self, lanes: Mask) -> None:
        """Note which agents of some lanes are at the usual place."""
        self._far -= 1
        game = self._source.game
        for lane in np.flatnonzero(lanes & (self._far <= 0)).tolist():
            state = self._backend.get_state(lane)
            layout = levels.find_layout(game, state)
            agent = levels.read_board(game, state, layout).agent
            self._far[lane] = levels.steps_until(game, agent, Cell(*self._usual[lane]))
            self._reached[lane] = self._far[lane] == 0


def _split(state: Mapping[str, NDArray[Any]]) -> list[bytes]:
    """Return the bytes of each game of a state."""
    ends = np.cumsum(state["lengths"])
    return [each.tobytes() for each in np.split(state["games"], ends[:-1])]
