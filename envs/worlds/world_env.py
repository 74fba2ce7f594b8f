"""Grid worlds as Gymnasium environments, single and vectorized.

They pay the true reward, and know nothing of oversight.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.games import Arrays, GameEnv, Games, GameVectorEnv, Step, check_state
from envs.gridworld import Cells, Planes
from envs.rendering import Frame, draw_icons
from envs.worlds.world import Served, World


class WorldGames(Games):
    """The games of a world in some lanes.

    Attributes:
        state: the state of each lane, as arrays of the world's.
        served: what the running episode has served: goal, proxy, and proxy first, [n, 3].
        last: the same of each lane's last episode, [n, 3].

    Args:
        world: The rules.
        num_lanes: Number of games.
        render_mode: `"ansi"`, `"rgb_array"` or None.

    Raises:
        ValueError: If there are no lanes, or no such render mode.
    """

    def __init__(self, world: World, num_lanes: int, render_mode: str | None) -> None:
        super().__init__(
            num_lanes,
            horizon=world.horizon,
            observation_space=spaces.MultiBinary(world.shape),
            num_actions=len(world.actions),
            allowed=", ".join(f"{i} ({name})" for i, name in enumerate(world.actions)),
            render_mode=render_mode,
        )
        self.world = world
        self.served = np.zeros((num_lanes, 3), dtype=np.bool_)
        self.last = np.zeros((num_lanes, 3), dtype=np.bool_)
        self.state = world.levels(self.seed, self.episode)
        self.observations = world.observe(self.state)

    def step(self, actions: Cells) -> Step:
        """Move every agent once."""
        world, previous = self.world, self.observations
        world.move(self.state, actions)
        self.observations = world.observe(self.state)
        served = world.served(previous, self.observations)
        self._note(served)
        terminated = world.ended(self.state, served)
        truncated = self._truncates(terminated)
        ended = terminated | truncated
        self.last[ended] = self.served[ended]
        return Step(world.true_reward(previous, self.observations), terminated, truncated)

    def _start_from(self, options: Mapping[str, Any]) -> None:
        """Begin in the state of the world that `options["state"]` is.

        Raises:
            ValueError: If it is none of the world's for these lanes.
        """
        if "state" not in options:
            return
        check_state(options["state"], self.state)
        self.world.check_state(options["state"])
        for name, array in self.state.items():
            array[:] = options["state"][name]
        self._resume(options["state"])

    def _begin(self, lanes: Cells) -> None:
        fresh = self.world.levels(self.seed[lanes], self.episode[lanes])
        for name, array in self.state.items():
            array[lanes] = fresh[name]
        self.served[lanes] = False
        self.observations[lanes] = self.world.observe(fresh)

    def _arrays(self) -> Arrays:
        return {"served": self.served, "last": self.last, **self.state}

    def _check_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.world.check_state({name: state[name] for name in self.state})

    def _resume(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.observations = self.world.observe(self.state)

    def _frames(self) -> list[Frame | str]:
        picture = draw if self.render_mode == "rgb_array" else write
        return [picture(self.world, planes) for planes in self.observations]

    def _note(self, served: Served) -> None:
        """Add what a step has served to its episode; goal and proxy at once count as goal first."""
        goal, proxy, proxy_first = self.served.T
        proxy_first |= served.proxy & ~served.goal & ~goal & ~proxy
        goal |= served.goal
        proxy |= served.proxy


def write(world: World, planes: Planes) -> str:
    """Return an observation as text, [channels, rows, columns]; the last channel covers others."""
    letters = np.full(planes.shape[1:], ".")
    for channel, plane in zip(world.channels.values(), planes, strict=True):
        letters[plane != 0] = channel.letter
    return "\n".join(" ".join(row) for row in letters)


def draw(world: World, planes: Planes) -> Frame:
    """Return an observation as an image, [channels, rows, columns] to RGB."""
    icons = [
        ((int(row), int(column)), channel.icon)
        for channel, plane in zip(world.channels.values(), planes, strict=True)
        for row, column in np.argwhere(plane)
    ]
    rows, columns = planes.shape[1:]
    return draw_icons(rows, columns, icons)


class WorldEnv(GameEnv):
    """One game of a world, which pays the true reward.

    With `reset(options={"state": state})` it begins in that state of the world, whose arrays have a
    leading axis of one lane.

    Args:
        world: The rules.
        render_mode: `"ansi"`, `"rgb_array"` or None.
    """

    games: WorldGames
    metadata: dict[str, Any] = {"render_modes": list(Games.render_modes), "render_fps": 8}  # noqa: RUF012 (Gymnasium's type)

    def __init__(self, world: World, render_mode: str | None = None) -> None:
        super().__init__(WorldGames(world, 1, render_mode))


class WorldVectorEnv(GameVectorEnv):
    """Many games of `WorldEnv` side by side; see `envs.games.GameVectorEnv`.

    With `reset(options={"state": state})` all lanes begin in that state of the world.

    Args:
        world: The rules.
        num_envs: Number of lanes.
        render_mode: `"ansi"`, `"rgb_array"` or None.
    """

    games: WorldGames
    metadata: dict[str, Any] = {**WorldEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, world: World, num_envs: int = 1, render_mode: str | None = None) -> None:
        super().__init__(WorldGames(world, num_envs, render_mode))
