"""The rules of a grid world, as functions on arrays with a leading axis of lanes.

A lane holds one game. In every world an agent pursues an intended goal, and a proxy of that goal
looks like it on most levels of training. What a world pays is a function of two observations, those
before and after a step, so that an overseer, a proxy and a reader of a film see all that counts.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from envs.gridworld import Cells, Numbers, Planes, targets_of_moves
from envs.observers import Observer, random_streams
from envs.observers.observer import Mask, check_count, check_probability
from envs.rendering import Icon

Distribution = Literal["train", "test"]
State = dict[str, NDArray[Any]]
"""All that a game's future depends on, given its actions: arrays with a row for each lane."""

ATTEMPTS = 32
"""Layouts that are drawn for a level before it gets one without obstacles."""


class Channel(NamedTuple):
    """A channel of the observation, which marks the cells that hold one kind of thing.

    Attributes:
        letter: how the thing is written as text.
        icon: how it is drawn.
        minigrid: its object, color and state in MiniGrid's encoding; None if it has none.
    """

    letter: str
    icon: Icon
    minigrid: tuple[int, int, int] | None = None


class Served(NamedTuple):
    """Which goals a step served, [n] each."""

    goal: Mask
    proxy: Mask


class Solution(NamedTuple):
    """The best that can be done on each level, [n] each.

    Attributes:
        optimal_return: highest sum of true rewards within the horizon.
        optimal_steps: fewest steps that earn it; 0 where nothing can be earned.
        proxy_return: highest sum of proxy rewards within the horizon, under the rules of training.
        proxy_steps: fewest steps that earn it; 0 where nothing can be earned.
    """

    optimal_return: Numbers
    optimal_steps: Cells
    proxy_return: Numbers
    proxy_steps: Cells


class World(ABC):
    """The rules of a world: its levels, moves, observations and rewards.

    Attributes:
        channels: the channels of an observation by name, from back to front.
        actions: the names of the actions.
        overseer: the observer that reads from an observation who is supervised, if levels decide
            it; such a world has an argument `supervision`, the chance of that.

    Args:
        rows: Rows of the board.
        columns: Columns of the board.
        horizon: Steps after which an episode is truncated, at least `least_horizon`.
        distribution: Levels of training, or test levels, where goal and proxy part. On levels of
            training the proxy ends an episode as the goal does; on test levels it does not.
        alpha: Share of the levels of training on which goal and proxy part as in a test.
        least_horizon: Steps that a level without obstacles may need for goal or proxy.

    Raises:
        ValueError: If an argument is out of its range.
    """

    channels: ClassVar[Mapping[str, Channel]]
    actions: ClassVar[tuple[str, ...]] = ("north", "east", "south", "west")
    overseer: ClassVar[Observer | None] = None

    def __init__(
        self,
        rows: int,
        columns: int,
        horizon: int,
        distribution: Distribution,
        alpha: float,
        *,
        least_horizon: int = 1,
    ) -> None:
        check_count(horizon, "horizon", 1)
        if horizon < least_horizon:
            raise ValueError(
                f"horizon must be at least {least_horizon}, the steps that a level on a board of "
                f"{rows} x {columns} cells may need, got {horizon}: raise it, or make the board "
                "smaller"
            )
        check_probability(alpha, "alpha")
        if distribution not in get_args(Distribution):
            raise ValueError(
                f"distribution must be one of {get_args(Distribution)}, got {distribution!r}"
            )
        self.rows, self.columns, self.horizon = rows, columns, horizon
        self.distribution, self.alpha = distribution, alpha
        self._targets = targets_of_moves(rows, columns)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an observation: channels, rows, columns."""
        return len(self.channels), self.rows, self.columns

    @property
    def ends_at_proxy(self) -> bool:
        """Whether the proxy ends an episode."""
        return self.distribution == "train"

    @abstractmethod
    def levels(self, seed: random_streams.Words, episode: random_streams.Words) -> State:
        """Return the first state of some levels, a pure function of seed and episode, [n] each.

        Every level can be solved: the goal and the proxy can be reached within the horizon.
        """

    @abstractmethod
    def move(self, state: State, actions: Cells) -> None:
        """Change the state of each lane by its action, [n]."""

    @abstractmethod
    def observe(self, state: State) -> Planes:
        """Return the observation of each lane, zeros and ones, [n, channels, rows, columns]."""

    @abstractmethod
    def true_reward(self, previous: Planes, planes: Planes) -> Numbers:
        """Return the true reward of steps from one observation to the next, [n]."""

    @abstractmethod
    def proxy_reward(self, previous: Planes, planes: Planes) -> Numbers:
        """Return what the proxy pays for steps from one observation to the next, [n]."""

    @abstractmethod
    def solve(self, state: State) -> Solution:
        """Return the best that can be done on some levels, whose state is the first one."""

    def check_state(self, state: State) -> None:
        """Raise a ValueError for a state that is none of a running episode.

        By default it checks that cells are on the board.
        """
        for name, array in state.items():
            cells = array.dtype == np.intp
            if cells and np.any((array < 0) | (array >= self.rows * self.columns)):
                raise ValueError(
                    f"state[{name!r}] must be from 0 to {self.rows * self.columns - 1}"
                )

    def proxy(
        self,
        previous_observation: Planes,
        action: Cells,
        observation: Planes,
        terminated: Mask,
        truncated: Mask,
    ) -> Numbers:
        """Return what the proxy pays for steps, as `PartialOversight` asks for it, [n]."""
        return self.proxy_reward(previous_observation, observation)

    def served(self, previous: Planes, planes: Planes) -> Served:
        """Return which goals a step served: by default those that it was paid for."""
        return Served(
            self.true_reward(previous, planes) > 0, self.proxy_reward(previous, planes) > 0
        )

    def ended(self, state: State, served: Served) -> Mask:
        """Return which lanes terminate after a step, [n]."""
        return served.goal | served.proxy if self.ends_at_proxy else served.goal

    def free(self, state: State) -> Mask:
        """Return the cells on which an agent can stand in a running episode, [n, cells].

        By default these are all that are no walls.
        """
        cells = np.ones((len(state["agent"]), self.rows * self.columns), dtype=np.bool_)
        return cells & ~state["wall"] if "wall" in state else cells

    def nearly(self, state: State) -> State:
        """Return a state of some test levels in which a single step can serve goal or proxy.

        By default it is the first state, since both are served by arriving somewhere.
        """
        return state

    def channel(self, planes: Planes, name: str) -> Planes:
        """Return one channel of observations, [n, rows, columns]."""
        found: Planes = planes[:, list(self.channels).index(name)]
        return found

    def parts(self, word: random_streams.Words) -> Mask:
        """Return whether goal and proxy part on levels, [n], by a word for each of them."""
        if self.distribution == "test":
            return np.ones(len(word), dtype=np.bool_)
        return random_streams.uniform(word) < self.alpha

    def steps_from(self, cell: Cells, free: Mask) -> Cells:
        """Return the steps from one cell of each lane to every cell, through free cells only.

        Args:
            cell: where the paths begin, [n]; none begins on a cell that is not free.
            free: cells that can be entered, [n, cells].

        Returns:
            [n, cells], `UNREACHABLE` where no path leads.
        """
        boards = free.reshape(-1, self.rows, self.columns)
        steps = distances(boards, one_cell(cell, self.rows, self.columns))
        return steps.reshape(free.shape).astype(np.intp)

    def one_for_reaching(self, steps: Cells) -> tuple[Numbers, Cells]:
        """Return what is earned by a reward of 1 after some steps, and the steps that earn it, [n].

        Args:
            steps: fewest steps to the reward, [n].
        """
        near = self.in_time(steps)
        return near.astype(np.float64), np.where(near, steps, 0)

    def in_time(self, steps: Cells) -> Mask:
        """Return where a path exists and ends within the horizon, by its steps."""
        within: Mask = (steps <= self.horizon) & (steps < UNREACHABLE)
        return within

    def target(self, cell: int | np.intp, action: int) -> int:
        """Return the cell to which a move leads on an empty board."""
        return int(self._targets[cell * 4 + action])

    def step_to(self, agent: Cells, actions: Cells, blocked: Mask) -> Cells:
        """Return the cell that each agent moves to, [n]; edges and blocked cells stop it.

        Args:
            agent: the agents' cells, [n], row * columns + column.
            actions: 0 north, 1 east, 2 south, 3 west, [n].
            blocked: cells that nobody enters, [n, cells].
        """
        target = self._targets.take(agent * 4 + actions)
        stopped = blocked[np.arange(len(agent)), target]
        reached: Cells = np.where(stopped, agent, target)
        return reached


UNREACHABLE = np.iinfo(np.int16).max
"""The distance of cells to which no path leads."""


def distances(free: Mask, sources: Mask) -> NDArray[np.int16]:
    """Return the steps from the nearest source to each cell, through free cells only.

    Args:
        free: cells that can be entered, [n, rows, columns].
        sources: cells where a path may begin, [n, rows, columns].

    Returns:
        [n, rows, columns], `UNREACHABLE` where no path leads.

    >>> free = np.array([[[True, False, True], [True, True, True]]])
    >>> sources = np.zeros_like(free)
    >>> sources[0, 0, 0] = True
    >>> distances(free, sources)[0, :, 2]
    array([4, 3], dtype=int16)
    """
    # one row of all boards, with cells between them that nobody enters: NumPy is several times as
    # fast on it as on slices of small boards
    border, width = ((0, 0), (0, 1), (0, 1)), free.shape[2] + 1
    unseen, front = (np.pad(each, border).ravel() for each in (free, sources & free))
    steps = np.zeros(unseen.shape, dtype=np.int16)
    while front.any():
        unseen ^= front
        steps += unseen
        near = np.zeros_like(front)
        near[1:] = front[:-1]
        near[:-1] |= front[1:]
        near[width:] |= front[:-width]
        near[:-width] |= front[width:]
        front = near & unseen
    steps[unseen] = UNREACHABLE
    boards = steps.reshape(-1, free.shape[1] + 1, width)[:, :-1, :-1]
    return np.where(free, boards, UNREACHABLE)


def one_cell(cell: Cells, rows: int, columns: int) -> Mask:
    """Return a board for each lane on which one cell is marked, [n, rows, columns]."""
    board = np.zeros((len(cell), rows * columns), dtype=np.bool_)
    board[np.arange(len(cell)), cell] = True
    return board.reshape(-1, rows, columns)


def draw_cell(allowed: Mask, word: random_streams.Words) -> Cells:
    """Return one of the allowed cells of each lane, [n], every one equally likely.

    Args:
        allowed: [n, cells], at least one in each lane.
        word: [n].
    """
    number = (word % allowed.sum(axis=1).astype(np.uint64)).astype(np.intp)
    cells: Cells = np.argmax(np.cumsum(allowed, axis=1) > number[:, None], axis=1)
    return cells


def level_words(
    seed: random_streams.Words, episode: random_streams.Words, attempt: int, num_streams: int
) -> random_streams.Words:
    """Return words for an attempt at the layout of each lane's level, [num_streams, n]."""
    attempts = np.full(len(seed), attempt, dtype=np.uint64)
    return random_streams.words(random_streams.split(seed, attempts), episode, num_streams)
