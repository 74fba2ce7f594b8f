"""MiniGrid's view of grid worlds: the square in front of the agent, in its codes."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from envs.gridworld import Cells, Numbers
from envs.observers.observer import Mask
from envs.worlds.world import World
from envs.worlds.world_env import WorldEnv, WorldVectorEnv
from envs.wrappers.vector.infos import Arrays, StatefulWrapper

Image = NDArray[np.uint8]

SIDE = 7
"""Cells along a side of the view, whose last row has the agent in its middle."""
EMPTY, WALL = (1, 0, 0), (2, 5, 0)
"""Object, color and state of a cell that holds nothing, and of one beyond the edge of the board."""
EAST = 0
"""The direction in which an agent looks before its first move."""
SPACE = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
"""MiniGrid's own space, although its codes end at 10."""


class View:
    """MiniGrid's view of a world, as a function of an observation and the agent's direction.

    Args:
        world: The rules.

    Raises:
        ValueError: If MiniGrid lacks an object of the world, or observations do not show all of it.
    """

    def __init__(self, world: World) -> None:
        name = type(world).__name__
        things = {each: world.channels[each].minigrid for each in world.channels if each != "agent"}
        if lacking := [each for each, code in things.items() if code is None]:
            raise ValueError(
                f"observation='minigrid' is not for {name}: MiniGrid has no object for its channel "
                f"{lacking[0]!r}; take observation='planes'"
            )
        if world.shape != (len(world.channels), world.rows, world.columns):
            raise ValueError(
                f"observation='minigrid' needs all {world.columns} columns of {name}, got a window "
                f"of {world.shape[2]}: leave out the argument of the window"
            )
        self._codes = np.array([EMPTY, *things.values(), WALL], dtype=np.uint8)
        self._agent = list(world.channels).index("agent")
        self._shape = world.rows, world.columns
        self._width = world.columns + 2 * (SIDE - 1)  # of a board with a margin of walls
        ahead, right = SIDE - 1 - np.arange(SIDE)[None, :], np.arange(SIDE)[:, None] - SIDE // 2
        east = right * self._width + ahead
        south = ahead * self._width - right
        self._offsets = np.stack([east, south, -east, -south]).reshape(4, -1)

    def __call__(self, planes: NDArray[Any], direction: Cells) -> Image:
        """Return the view of each lane, [n, columns, rows, 3], in MiniGrid's order of axes.

        Args:
            planes: Observations, [n, channels, rows, columns].
            direction: Where each agent looks, [n]: 0 east, 1 south, 2 west, 3 north.
        """
        margin, (rows, columns) = SIDE - 1, self._shape
        lanes = np.arange(len(planes))
        board = np.full((len(planes), rows + 2 * margin, self._width), len(self._codes) - 1)
        inside = board[:, margin:-margin, margin:-margin]
        inside[:] = 0
        layers = (number for number in range(planes.shape[1]) if number != self._agent)
        for number, layer in enumerate(layers, start=1):
            np.copyto(inside, number, where=planes[:, layer] != 0)
        row, column = np.divmod(planes[:, self._agent].reshape(len(planes), -1).argmax(1), columns)
        cell = (row + margin) * self._width + column + margin
        cells = board.reshape(len(planes), -1)
        cells[lanes, cell] = 0  # MiniGrid shows there what the agent carries, which is nothing
        seen = np.take_along_axis(cells, cell[:, None] + self._offsets[direction], axis=1)
        image: Image = self._codes[seen].reshape(-1, SIDE, SIDE, 3)
        return image


def direction_of(actions: ArrayLike) -> Cells:
    """Return where agents look after moves, which turn them even where they are stopped."""
    return (np.asarray(actions, dtype=np.intp) + 3) % 4


def view_of(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], planes: object, actions: object
) -> View:
    """Return the view of the world inside an environment.

    Args:
        env: The environment, perhaps in wrappers.
        planes: Space of its single observations.
        actions: Space of its single actions.

    Raises:
        ValueError: If it is not a world, or wrappers have changed its observations or actions.
    """
    game = env.unwrapped
    if not isinstance(game, WorldEnv | WorldVectorEnv):
        raise ValueError(f"MiniGrid's view is one of grid worlds, got {env}")
    world = game.games.world
    if planes != spaces.MultiBinary(world.shape) or actions != spaces.Discrete(4):
        raise ValueError(
            f"MiniGrid's view needs the world's own observations and actions, got {planes} and "
            f"{actions}: take flag='hidden' and an observer without queries"
        )
    return View(world)


class MiniGridView(gym.Wrapper[Image, Any, Any, Any], RecordConstructorArgs):
    """Shows a world as MiniGrid does: the 7 x 7 cells in front of the agent.

    Observations are those of MiniGrid's `ImgObsWrapper` with `see_through_walls=True`, bit by bit:
    `Box(0, 255, (7, 7, 3), uint8)`, the object, color and state of each cell. The agent looks where
    it last moved, or tried to, and east at first. Actions stay those of the world.

    Wrappers that read the world's own observations, such as `PartialOversight` with a proxy, belong
    inside this one.

    Args:
        env: A world, perhaps in wrappers that change neither observations nor actions.

    Raises:
        ValueError: If the environment is another one, or MiniGrid lacks an object of the world.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._view = view_of(env, env.observation_space, env.action_space)
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self.observation_space = SPACE

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, dict[str, Any]]:
        """Start an episode, looking east."""
        planes, info = self.env.reset(seed=seed, options=options)
        return self._view(planes[None], np.array([EAST]))[0], info

    def step(self, action: Any) -> tuple[Image, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Move once, and look where the move went."""
        planes, reward, terminated, truncated, info = self.env.step(action)
        image = self._view(planes[None], direction_of([action]))[0]
        return image, reward, terminated, truncated, info


class MiniGridVectorView(StatefulWrapper, RecordConstructorArgs):
    """Shows every lane of a world as MiniGrid does; see `MiniGridView`.

    Args:
        env: A native vector environment of a world, perhaps in wrappers.

    Raises:
        ValueError: If the environment is another one, or MiniGrid lacks an object of the world.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self._view = view_of(env, env.single_observation_space, env.single_action_space)
        RecordConstructorArgs.__init__(self)
        StatefulWrapper.__init__(self, env)
        self.single_observation_space = SPACE
        self.observation_space = batch_space(SPACE, env.num_envs)
        self._direction = np.full(env.num_envs, EAST)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Image, dict[str, Any]]:
        """Start an episode in every lane, looking east."""
        planes, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._started = True
        self._direction[:] = EAST
        return self._view(planes, self._direction), infos

    def step(self, actions: ArrayLike) -> tuple[Image, Numbers, Mask, Mask, dict[str, Any]]:
        """Move every lane once; lanes that ended look east on their next level."""
        planes, rewards, terminated, truncated, infos = self.env.step(actions)
        self._direction = direction_of(actions)
        ended = terminated | truncated
        if ended.any():
            infos = infos | {"final_obs": self._view(infos["final_obs"], self._direction)}
            self._direction[ended] = EAST
        return self._view(planes, self._direction), rewards, terminated, truncated, infos

    def _own_state(self) -> Arrays:
        return {"direction": self._direction}

    def _check_own_state(self, own: Arrays) -> None:
        if np.any((own["direction"] < 0) | (own["direction"] > 3)):
            raise ValueError("state['direction'] must be from 0 to 3")


def minigrid_view(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
) -> MiniGridView | MiniGridVectorView:
    """Return a world with MiniGrid's view, single or native vector environment."""
    return MiniGridVectorView(env) if isinstance(env, VectorEnv) else MiniGridView(env)
