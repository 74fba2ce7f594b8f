"""Vector environments of any id, whose state can be saved and restored.

Few environments can copy their state, but all of them are functions of their seeds and actions.
So a state is the seed of the running episode and the actions taken in it, and restoring it plays
these actions again. `SeededEpisodes` gives every episode a seed of its own, so that one episode is
the most that is replayed; a native vector environment, whose lanes share one generator, replays
its whole history.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs.observers import random_streams
from envs.wrappers.vector.infos import keeps_state

Vectorization = Literal["auto", "native", "sync", "async"]
Arrays = dict[str, NDArray[Any]]
MakeLane = Callable[[], gym.Env[Any, Any]]


class SeededEpisodes(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Gives every episode a seed of its own, so that the running episode can be replayed.

    `reset(seed=s)` starts episode 0 with the seed s, and each `reset()` the next episode with a
    seed that is a function of s and of the episode's number. Policies that play the same lane
    therefore meet the same episodes, however long theirs are.

    Args:
        env: The environment, which draws all its random numbers from the seed of `reset`.
        lane: Number of the lane in a vector environment.
    """

    def __init__(self, env: gym.Env[Any, Any], lane: int = 0) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, lane=lane)
        gym.Wrapper.__init__(self, env)
        self._lane = lane
        self._first_seed: int | None = None
        self._episode = 0
        self._actions: list[NDArray[Any]] = []
        self._shown: Any = None  # the last observation

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of a seed, or the next episode."""
        if seed is not None:
            self._first_seed, self._episode = seed, 0
        elif self._first_seed is None:
            self._first_seed = int(np.random.SeedSequence().generate_state(1)[0])
        else:
            self._episode += 1
        self._actions.clear()
        observation, info = self.env.reset(seed=self._seed(), options=options)
        self._shown = observation
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Take a step, and keep its action."""
        self._actions.append(np.array(action))
        result = self.env.step(action)
        self._shown = result[0]
        return result

    def running_episode(self) -> dict[str, Any]:
        """Return the first seed, the episode's number, its actions, and a sum of what it shows."""
        assert self._first_seed is not None, "a reset comes first"
        return {
            "seed": self._first_seed,
            "episode": self._episode,
            "actions": list(self._actions),
            "shown": checksum(self._shown),
        }

    def replay(self, episodes: Sequence[Mapping[str, Any]]) -> bool:
        """Play this lane's episode again; return whether it shows what it showed before."""
        given = episodes[self._lane]
        self._first_seed, self._episode = int(given["seed"]), int(given["episode"])
        self._actions.clear()
        self._shown, _ = self.env.reset(seed=self._seed())
        for action in given["actions"]:
            self.step(action)
        return checksum(self._shown) == int(given["shown"])

    def _seed(self) -> int:
        """Return the seed of the running episode."""
        assert self._first_seed is not None
        if self._episode == 0:
            return self._first_seed
        lane = random_streams.lane_seeds(self._first_seed, 1)
        word = random_streams.words(lane, np.array([self._episode], np.uint64), 1)
        return int(word[0, 0] >> np.uint64(33))


def checksum(observation: Any) -> int:  # noqa: ANN401 (of any space)
    """Return a checksum of an observation: of an array, a text, or a collection of these."""
    if isinstance(observation, dict):
        observation = tuple(observation[name] for name in sorted(observation))
    if isinstance(observation, tuple | list):
        return zlib.crc32(repr([checksum(part) for part in observation]).encode())
    if isinstance(observation, str):
        return zlib.crc32(observation.encode())
    return zlib.crc32(np.ascontiguousarray(observation).tobytes())


class _Replayable:
    """The state of a vector environment whose lanes are `SeededEpisodes`."""

    def get_state(self) -> Arrays:
        """Return the seeds and the actions of the running episodes."""
        lanes = self.call("running_episode")  # type: ignore[attr-defined]
        lengths = [len(lane["actions"]) for lane in lanes]
        numbers = {name: [lane[name] for lane in lanes] for name in ("seed", "episode", "shown")}
        actions = [np.stack(lane["actions"]) for lane in lanes if lane["actions"]]
        return {
            **{name: np.array(each, dtype=np.int64) for name, each in numbers.items()},
            "length": np.array(lengths, dtype=np.int64),
            "actions": np.concatenate(actions) if actions else np.zeros(0),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Play the running episodes again.

        Raises:
            ValueError: If a lane does not show what it showed before.
        """
        ends = np.cumsum(state["length"])
        each = np.split(state["actions"], ends[:-1])
        names = ("seed", "episode", "shown")
        lanes = [
            {"actions": actions, **{name: int(state[name][lane]) for name in names}}
            for lane, actions in enumerate(each)
        ]
        if not all(self.call("replay", lanes)):  # type: ignore[attr-defined]
            raise ValueError(NOT_REPLAYED)


NOT_REPLAYED = (
    "the environment showed something else for the same seed and actions, so that its episode "
    "cannot be restored: let it draw all random numbers from the seed of reset, and keep nothing "
    "from one episode to the next"
)


class SyncLanes(_Replayable, SyncVectorEnv):
    """Gymnasium's `SyncVectorEnv` of `SeededEpisodes`, with `get_state` and `set_state`."""


class AsyncLanes(_Replayable, AsyncVectorEnv):
    """Gymnasium's `AsyncVectorEnv` of `SeededEpisodes`, with `get_state` and `set_state`."""


class Replayed(VectorWrapper[Any, Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """A native vector environment whose state is its seed and all actions since.

    `reset()` without a seed derives one from the last, so that the history starts again.

    Args:
        env: The vector environment.
    """

    holds_whole_state = True
    """Whether this state restores the environments inside as well."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        VectorWrapper.__init__(self, env)
        self._seed: int | None = None
        self._actions: list[NDArray[Any]] = []
        self._resets: list[NDArray[np.bool_]] = []  # the lanes that were reset after each step
        self._shown: Any = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every lane, or in those of `options["reset_mask"]`.

        Raises:
            ValueError: If the lanes are given several seeds.
        """
        if options is not None and "reset_mask" in options:
            self._resets[-1] |= options["reset_mask"]
            observations, infos = self.env.reset(options=options)
        else:
            if seed is not None and not isinstance(seed, int | np.integer):
                raise ValueError(f"seed must be one number for all lanes, got {seed!r}")
            self._seed = self._next_seed() if seed is None else int(seed)
            self._actions.clear()
            self._resets.clear()
            observations, infos = self.env.reset(seed=self._seed, options=options)
        self._shown = observations
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step every lane, and keep the actions."""
        self._actions.append(np.array(actions))
        self._resets.append(np.zeros(self.num_envs, dtype=np.bool_))
        result = self.env.step(actions)
        self._shown = result[0]
        return result

    def get_state(self) -> Arrays:
        """Return the seed, and all actions and resets since."""
        return {
            "seed": np.array([self._seed]),
            "actions": np.stack(self._actions) if self._actions else np.zeros(0),
            "resets": np.stack(self._resets) if self._resets else np.zeros((0, self.num_envs)),
            "shown": np.array([checksum(self._shown)]),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Play all actions again.

        Raises:
            ValueError: If the environment does not show what it showed before.
        """
        self.reset(seed=int(state["seed"][0]))
        for actions, mask in zip(state["actions"], state["resets"], strict=True):
            self.step(actions)
            if mask.any():
                self.reset(options={"reset_mask": mask.copy()})
        if checksum(self._shown) != int(state["shown"][0]):
            raise ValueError(NOT_REPLAYED)

    def _next_seed(self) -> int:
        entropy = None if self._seed is None else [self._seed, 1]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def vectorize(
    make: MakeLane,
    num_envs: int,
    *,
    processes: bool = False,
    autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
) -> VectorEnv[Any, Any, Any]:
    """Return a vector environment of single ones, whose state can be saved and restored.

    Args:
        make: Function that makes the environment of a lane.
        num_envs: Number of lanes.
        processes: Whether each lane has a process of its own.
        autoreset_mode: When a lane resets after the end of an episode.
    """
    kind = AsyncLanes if processes else SyncLanes
    lanes = [partial(_seeded, make, lane) for lane in range(num_envs)]
    return kind(lanes, autoreset_mode=autoreset_mode)


def _seeded(make: MakeLane, lane: int) -> gym.Env[Any, Any]:
    return SeededEpisodes(make(), lane)


def restorable(env: VectorEnv[Any, Any, Any]) -> VectorEnv[Any, Any, Any]:
    """Return a native vector environment whose state can be saved and restored."""
    return env if keeps_state(env) else Replayed(env)
