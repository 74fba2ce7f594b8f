"""Grid worlds as Gymnasium environments, single and vectorized.

Both step the same `Games`. They pay the true reward, and know nothing of oversight.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from envs.observers import random_streams
from envs.observers.observer import Mask, check_count
from envs.rendering import Frame, draw_icons
from envs.worlds.world import Cells, Numbers, Planes, Served, World
from envs.wrappers.vector.infos import check_arrays

RENDER_MODES = ("ansi", "rgb_array")


class Games:
    """The games of some lanes: which level each lane plays, and where everything is.

    Attributes:
        planes: the observation of each lane.
        goal, proxy: whether the running episode has served the goal, and the proxy, [n].
        proxy_first: whether it served the proxy before the goal, [n].
        last: what each lane's last episode has served: goal, proxy, and proxy first, [n, 3].

    Args:
        world: The rules.
        num_lanes: Number of games.
        render_mode: One of `RENDER_MODES`, or None.

    Raises:
        ValueError: If the render mode is neither.
    """

    def __init__(self, world: World, num_lanes: int, render_mode: str | None) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(
                f"render_mode must be one of {RENDER_MODES} or None, got {render_mode!r}"
            )
        self.world, self.render_mode = world, render_mode
        self.started = False
        self.seed = np.zeros(num_lanes, dtype=np.uint64)
        self.episode = np.zeros(num_lanes, dtype=np.uint64)
        self.elapsed = np.zeros(num_lanes, dtype=np.intp)
        self.served = np.zeros((num_lanes, 3), dtype=np.bool_)
        self.last = np.zeros((num_lanes, 3), dtype=np.bool_)
        self.state = world.levels(self.seed, self.episode)
        self.planes = world.observe(self.state)

    def reset(
        self, seeds: random_streams.Words | None, options: Mapping[str, Any] | None = None
    ) -> None:
        """Start episode 0 of each lane's seed, [n], or without seeds every lane's next episode.

        With `options={"state": state}` episodes begin in that state of the world.

        Raises:
            ValueError: If that state is none of the world's for these lanes.
        """
        if seeds is None:
            self.episode += np.uint64(1)
        else:
            self.seed[:], self.episode[:] = seeds, 0
        self.started = True
        self._begin(np.arange(len(self.seed)))
        if options and "state" in options:
            self._put(options["state"], self.state)

    def begin_next(self, lanes: Cells) -> None:
        """Start the next episode of some lanes."""
        self.episode[lanes] += np.uint64(1)
        self._begin(lanes)

    def step(self, actions: Cells) -> tuple[Numbers, Mask, Mask]:
        """Move every agent once; return the true rewards and which lanes ended, [n] each.

        Returns:
            The rewards, which lanes terminated, and which were truncated.
        """
        world, previous = self.world, self.planes
        world.move(self.state, actions)
        self.planes = world.observe(self.state)
        self.elapsed += 1
        served = world.served(previous, self.planes)
        self._note(served)
        terminated = world.ended(self.state, served)
        truncated = (self.elapsed >= world.horizon) & ~terminated
        ended = terminated | truncated
        self.last[ended] = self.served[ended]
        return world.true_reward(previous, self.planes), terminated, truncated

    def render(self) -> tuple[Frame | str, ...] | None:
        """Draw every lane in the render mode, or return None without one."""
        if self.render_mode is None:
            return None
        self.check_started()
        picture = draw if self.render_mode == "rgb_array" else write
        return tuple(picture(self.world, planes) for planes in self.planes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that the future depends on, one row a lane."""
        counters = {"seed": self.seed, "episode": self.episode, "elapsed": self.elapsed}
        return {**counters, "served": self.served, "last": self.last, **self.state}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue with other arrays.

        Raises:
            ValueError: If a name, shape, dtype or value is not that of a running episode.
        """
        elapsed = state.get("elapsed", self.elapsed)
        if np.any((elapsed < 0) | (elapsed >= self.world.horizon)):
            raise ValueError(f"state['elapsed'] must be from 0 to {self.world.horizon - 1}")
        self._put(state, self.arrays())
        self.started = True

    def check_started(self) -> None:
        """Raise ResetNeeded before the first reset."""
        if not self.started:
            raise ResetNeeded("no episode is running: call reset() first")

    def _put(self, state: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Overwrite arrays, among them those of the world's state, by others."""
        if state.keys() != arrays.keys():
            raise ValueError(f"state must hold {sorted(arrays)}, got {sorted(state)}")
        check_arrays(state, arrays)
        self.world.check_state({name: state[name] for name in self.state})
        for name, array in arrays.items():
            array[:] = state[name]
        self.planes = self.world.observe(self.state)

    def _note(self, served: Served) -> None:
        """Add what a step has served to its episode; goal and proxy at once count as goal first."""
        goal, proxy, proxy_first = self.served.T
        proxy_first |= served.proxy & ~served.goal & ~goal & ~proxy
        goal |= served.goal
        proxy |= served.proxy

    def _begin(self, lanes: Cells) -> None:
        """Lay out the current episode of some lanes."""
        fresh = self.world.levels(self.seed[lanes], self.episode[lanes])
        for name, array in self.state.items():
            array[lanes] = fresh[name]
        self.elapsed[lanes] = 0
        self.served[lanes] = False
        planes = self.planes.copy()  # the caller may hold the old ones
        planes[lanes] = self.world.observe(fresh)
        self.planes = planes


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


class WorldEnv(gym.Env[Planes, np.int64]):
    """One game of a world, which pays the true reward.

    Args:
        world: The rules.
        render_mode: `"ansi"`, `"rgb_array"` or None.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 8}  # noqa: RUF012 (Gymnasium's type)

    def __init__(self, world: World, render_mode: str | None = None) -> None:
        self.games = Games(world, 1, render_mode)
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(len(world.actions))
        self.observation_space = spaces.MultiBinary(world.shape)
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Planes, dict[str, Any]]:
        """Start episode 0 of the lane `seed`, or the next episode of the running lane.

        With `options={"state": state}` it begins in that state of the world, whose arrays have a
        leading axis of one lane.
        """
        super().reset(seed=seed, options=options)
        next_episode = seed is None and self.games.started
        seeds = None if next_episode else random_streams.lane_seeds(self.np_random_seed, 1)
        self.games.reset(seeds, options)
        self._over = False
        return self.games.planes[0].copy(), {}

    def step(self, action: np.int64 | int) -> tuple[Planes, float, bool, bool, dict[str, Any]]:
        """Move once.

        Raises:
            ResetNeeded: Before the first reset, and after the end of an episode.
            ValueError: If the action is none of the world's.
        """
        if self._over:
            raise ResetNeeded("no episode is running: call reset() before step()")
        taken = check_actions(action, (), self.games.world).reshape(1)
        reward, terminated, truncated = (each[0] for each in self.games.step(taken))
        self._over = bool(terminated or truncated)
        return self.games.planes[0].copy(), float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> Frame | str | None:
        """Draw the running episode in the render mode, or return None without one."""
        frames = self.games.render()
        return None if frames is None else frames[0]


class WorldVectorEnv(VectorEnv[Planes, Any, NDArray[Any]]):
    """Many games of a world side by side, on arrays instead of in a loop.

    It equals `SyncVectorEnv` of `WorldEnv` with same-step autoreset, lane by lane and bit by bit;
    `final_obs` is one array. `reset(seed=s)` starts episode 0 of the lanes s, s + 1, ...

    Args:
        world: The rules.
        num_envs: Number of lanes.
        render_mode: `"ansi"`, `"rgb_array"` or None.
    """

    def __init__(self, world: World, num_envs: int = 1, render_mode: str | None = None) -> None:
        check_count(num_envs, "num_envs", 1)
        self.games = Games(world, num_envs, render_mode)
        self.render_mode = render_mode
        self.metadata = {**WorldEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(len(world.actions))
        self.single_observation_space = spaces.MultiBinary(world.shape)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Planes, dict[str, Any]]:
        """Start episode 0 of the given seeds, or the next episode of every lane.

        With `options={"state": state}` they begin in that state of the world.
        """
        if options and "reset_mask" in options:
            raise ValueError("reset_mask is not supported: a lane resets in the step that ends it")
        if seed is None or isinstance(seed, int):
            super().reset(seed=seed)
        if seed is None and self.games.started:
            self.games.reset(None, options)
        else:
            drawn = self.np_random_seed if seed is None else seed
            assert drawn is not None
            self.games.reset(random_streams.lane_seeds(drawn, self.num_envs), options)
        return self.games.planes.copy(), {}

    def step(self, actions: ArrayLike) -> tuple[Planes, Numbers, Mask, Mask, dict[str, Any]]:
        """Move every lane once, and reset those that ended.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If the actions are not [num_envs] of the world's.
        """
        games = self.games
        games.check_started()
        taken = check_actions(actions, (self.num_envs,), games.world)
        reward, terminated, truncated = games.step(taken)
        ended = terminated | truncated
        infos: dict[str, Any] = {}
        lanes = np.flatnonzero(ended)
        if lanes.size:
            infos = {"final_obs": games.planes, "_final_obs": ended}
            infos |= {"final_info": {}, "_final_info": ended.copy()}
            games.begin_next(lanes)
        return games.planes.copy(), reward, terminated, truncated, infos

    def render(self) -> tuple[Frame | str, ...] | None:
        """Draw every lane in the render mode, or return None without one."""
        return self.games.render()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy all that the future depends on, given the same arguments and actions."""
        self.games.check_started()
        return {name: array.copy() for name, array in self.games.arrays().items()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue exactly where `get_state` was called.

        Raises:
            ValueError: If a name, shape, dtype or value is not that of a state of these lanes.
        """
        self.games.set_state(state)


def check_actions(actions: ArrayLike, shape: tuple[int, ...], world: World) -> Cells:
    """Return actions as an index array.

    Raises:
        ValueError: If they are not integers of the given shape that number the world's actions.
    """
    array = np.asarray(actions)
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise ValueError(
            f"actions must be integers of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    if array.min() < 0 or array.max() >= len(world.actions):
        numbered = ", ".join(f"{i} ({name})" for i, name in enumerate(world.actions))
        raise ValueError(
            f"actions must be {numbered}, got values from {array.min()} to {array.max()}"
        )
    return array.astype(np.intp, copy=False)
