"""Games in lanes as Gymnasium environments, single and vectorized.

Rules such as those of the grid bring their levels and moves as `Games`. What all of them share is
here: seeds and numbers of episodes, the reset of lanes that ended, infos, and saved states. The
environments pay the true reward, and know nothing of oversight.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from reprlib import repr as shorten
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from envs.observers import random_streams
from envs.observers.observer import Mask, check_count
from envs.wrappers.vector.infos import check_arrays

Arrays = dict[str, NDArray[Any]]
Lanes = NDArray[np.intp]


class Step(NamedTuple):
    """What a step of every lane led to, before any reset, [n] each.

    Attributes:
        rewards: true rewards.
        terminated: lanes in which the rules ended the episode.
        truncated: lanes in which the horizon did.
    """

    rewards: NDArray[np.float64]
    terminated: Mask
    truncated: Mask


class Games(ABC):
    """The games of some lanes: which episode each lane plays, and where everything is.

    A level is a pure function of its lane's seed and its episode's number.

    Attributes:
        render_modes: what `render` can draw.
        observations: the observation of each lane, [n, ...].
        seed, episode: what the level of each lane follows from, [n].
        elapsed: steps of the running episode, [n].
        started: whether any episode was started.

    Args:
        num_lanes: Number of games.
        horizon: Steps after which an episode is truncated.
        observation_space: Space of one lane's observation.
        num_actions: Number of actions.
        allowed: What the actions must be, as messages say it.
        render_mode: One of `render_modes`, or None.

    Raises:
        ValueError: If there are no lanes, or no such render mode.
    """

    render_modes: ClassVar[tuple[str, ...]] = ("ansi", "rgb_array")
    observations: NDArray[Any]

    def __init__(
        self,
        num_lanes: int,
        *,
        horizon: int,
        observation_space: spaces.Space[Any],
        num_actions: int,
        allowed: str,
        render_mode: str | None,
    ) -> None:
        check_count(num_lanes, "num_envs", 1)
        if render_mode is not None and render_mode not in self.render_modes:
            modes = self.render_modes
            choice = f"one of {modes}" if len(modes) > 1 else repr(modes[0])
            raise ValueError(f"render_mode must be {choice} or None, got {render_mode!r}")
        self.horizon, self.render_mode = horizon, render_mode
        self.observation_space, self.action_space = observation_space, spaces.Discrete(num_actions)
        self._allowed = allowed
        self.started = False
        self.seed = np.zeros(num_lanes, dtype=np.uint64)
        self.episode = np.zeros(num_lanes, dtype=np.uint64)
        self.elapsed = np.zeros(num_lanes, dtype=np.intp)

    @abstractmethod
    def step(self, actions: Lanes) -> Step:
        """Step every game once."""

    @abstractmethod
    def _begin(self, lanes: Lanes) -> None:
        """Lay out the current episode of some lanes."""

    @abstractmethod
    def _arrays(self) -> Arrays:
        """Return all that the future depends on besides seed, episode and elapsed, [n, ...] each.

        They are the games' own arrays, which a saved state overwrites.
        """

    @abstractmethod
    def _check_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Raise a ValueError if a value is none of a running episode."""

    @abstractmethod
    def _resume(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Observe after the arrays were overwritten by those of a saved state."""

    @abstractmethod
    def _frames(self) -> Sequence[Any]:
        """Draw every lane in the render mode."""

    def infos(self) -> Arrays:
        """Return the entries of Gymnasium's info, [n] each; by default none."""
        return {}

    def _start_from(self, options: Mapping[str, Any]) -> None:  # noqa: B027 (it may do nothing)
        """Change the first states as the options of a reset say; by default none does."""

    def _outside(self) -> Arrays:
        """Return copies of what a state holds besides rows of arrays; by default nothing."""
        return {}

    def reset(
        self, seeds: random_streams.Words | None, options: Mapping[str, Any] | None = None
    ) -> None:
        """Start episode 0 of each lane's seed, [n], or without seeds every lane's next episode."""
        if seeds is None:
            self.episode += np.uint64(1)
        else:
            self.seed[:], self.episode[:] = seeds, 0
        self.started = True
        self.elapsed[:] = 0
        self._begin(np.arange(len(self.seed)))
        self._start_from(options or {})

    def begin_next(self, lanes: Lanes) -> None:
        """Start the next episode of some lanes."""
        self.episode[lanes] += np.uint64(1)
        self.elapsed[lanes] = 0
        self._begin(lanes)

    def render(self) -> tuple[Any, ...] | None:
        """Draw every lane in the render mode, or return None without one."""
        if self.render_mode is None:
            return None
        self.check_started()
        return tuple(self._frames())

    def get_state(self) -> Arrays:
        """Copy all that the future depends on, given the same arguments and actions.

        Raises:
            ResetNeeded: Before the first reset.
        """
        self.check_started()
        return {name: array.copy() for name, array in self._rows().items()} | self._outside()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue exactly where `get_state` was called.

        Raises:
            ValueError: If a name, shape, dtype or value is not that of a state of these lanes.
        """
        rows = self._rows()
        check_state(state, rows, self._outside())
        elapsed = state["elapsed"]
        if elapsed.min() < 0 or elapsed.max() >= self.horizon:
            raise ValueError(f"state['elapsed'] must be from 0 to {self.horizon - 1}")
        self._check_state(state)
        for name, array in rows.items():
            array[:] = state[name]
        self._resume(state)
        self.started = True

    def check_started(self) -> None:
        """Raise ResetNeeded before the first reset."""
        if not self.started:
            raise ResetNeeded("no episode is running: call reset() first")

    def check_actions(self, actions: ArrayLike, shape: tuple[int, ...]) -> Lanes:
        """Return actions as an index array.

        Raises:
            ValueError: If they are not integers of the given shape that number actions.
        """
        array = np.asarray(actions)
        if array.dtype.kind not in "iu" or array.shape != shape:
            raise ValueError(
                f"actions must be integers of shape {shape}, got {array.dtype} of shape "
                f"{array.shape}"
            )
        if array.min() < 0 or array.max() >= self.action_space.n:
            raise ValueError(
                f"actions must be {self._allowed}, got values from {array.min()} to {array.max()}"
            )
        return array.astype(np.intp, copy=False)

    def _rows(self) -> Arrays:
        counters = {"seed": self.seed, "episode": self.episode, "elapsed": self.elapsed}
        return {**counters, **self._arrays()}

    def _truncates(self, terminated: Mask) -> Mask:
        """Count a step of every lane, and return in which of them it is the last one in time."""
        self.elapsed += 1
        truncated: Mask = (self.elapsed >= self.horizon) & ~terminated
        return truncated


def check_state(
    state: Mapping[str, NDArray[Any]],
    rows: Mapping[str, NDArray[Any]],
    others: Collection[str] = (),
) -> None:
    """Check that a state holds arrays like the current ones, and others of any shape.

    Raises:
        ValueError: If it does not.
    """
    whole = isinstance(state, Mapping)
    if not whole or not all(isinstance(each, np.ndarray) for each in state.values()):
        given = " ".join(shorten(state).split())
        raise ValueError(f"state must map names to arrays, got {given}")
    if state.keys() != (names := {*rows, *others}):
        raise ValueError(f"state must hold {sorted(names)}, got {sorted(state)}")
    check_arrays(state, rows)


class GameEnv(gym.Env[NDArray[Any], np.int64]):
    """A single game, which pays the true reward.

    Args:
        games: The game, in one lane.
    """

    def __init__(self, games: Games) -> None:
        self.games = games
        self.render_mode = games.render_mode
        self.action_space = games.action_space
        self.observation_space = games.observation_space
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start episode 0 of the lane `seed`, or the next episode of the running lane."""
        super().reset(seed=seed, options=options)
        next_episode = seed is None and self.games.started
        seeds = None if next_episode else random_streams.lane_seeds(self.np_random_seed, 1)
        self.games.reset(seeds, options)
        self._over = False
        return self.games.observations[0].copy(), self._info()

    def step(
        self, action: np.int64 | int
    ) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            ResetNeeded: Before the first reset, and after the end of an episode.
            ValueError: If there is no such action.
        """
        if self._over:
            raise ResetNeeded("no episode is running: call reset() before step()")
        step = self.games.step(self.games.check_actions(action, ()).reshape(1))
        reward, terminated, truncated = (each[0].item() for each in step)
        self._over = terminated or truncated
        return self.games.observations[0].copy(), reward, terminated, truncated, self._info()

    def render(self) -> Any:  # noqa: ANN401 (text or an image)
        """Draw the running episode in the render mode, or return None without one."""
        frames = self.games.render()
        return None if frames is None else frames[0]

    def _info(self) -> dict[str, Any]:
        return {name: array[0].item() for name, array in self.games.infos().items()}


class GameVectorEnv(VectorEnv[NDArray[Any], Any, NDArray[Any]]):
    """Many games side by side, on arrays instead of in a loop.

    Lane by lane and bit by bit equal to `SyncVectorEnv` of `GameEnv` with same-step autoreset, but
    `final_obs` and the entries of `final_info` are arrays like the others; with their masks, they
    are present only when a lane ended. Every call returns fresh arrays.

    Args:
        games: The games, one for each lane.
    """

    def __init__(self, games: Games) -> None:
        self.games = games
        self.render_mode = games.render_mode
        self.num_envs = len(games.seed)
        self.single_action_space = games.action_space
        self.single_observation_space = games.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._every = np.ones(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start episode 0 of the given seeds, or the next episode of every lane.

        An integer s gives the lanes the seeds s, s + 1, ...; a sequence gives each lane's seed.
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
        return self.games.observations.copy(), self._infos()

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[np.float64], Mask, Mask, dict[str, Any]]:
        """Step every lane once, and reset those that ended.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If the actions are not one for each lane.
        """
        games = self.games
        games.check_started()
        rewards, terminated, truncated = games.step(games.check_actions(actions, (self.num_envs,)))
        ended, final = terminated | truncated, {}
        lanes = np.flatnonzero(ended)
        if lanes.size:
            final = {
                "final_obs": games.observations.copy(),
                "_final_obs": ended,
                "final_info": masked(games.infos(), ended),
                "_final_info": ended.copy(),
            }
            games.begin_next(lanes)
        infos = self._infos() | final
        return games.observations.copy(), rewards, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Draw every lane in the render mode, or return None without one."""
        return self.games.render()

    def get_state(self) -> Arrays:
        """Copy all that the future depends on, given the same arguments and actions."""
        return self.games.get_state()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue exactly where `get_state` was called.

        Raises:
            ValueError: If a name, shape, dtype or value is not that of a state of these lanes.
        """
        self.games.set_state(state)

    def _infos(self) -> dict[str, Any]:
        return masked(self.games.infos(), self._every)


def masked(infos: Mapping[str, NDArray[Any]], mask: Mask) -> dict[str, Any]:
    """Return infos with Gymnasium's masks, and zeros outside of the mask."""
    values = {name: np.where(mask, array, array.dtype.type(0)) for name, array in infos.items()}
    return {**values, **{f"_{name}": mask.copy() for name in infos}}
