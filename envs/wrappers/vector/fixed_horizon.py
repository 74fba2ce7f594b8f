"""FixedHorizon for native vector environments, whose lanes start and end together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs.observers.observer import check_count
from envs.wrappers.fixed_horizon import check_keep, select_entries
from envs.wrappers.vector.infos import Arrays, StatefulWrapper, keeps_state
from envs.wrappers.vector.record_truth import RecordTruth

PREFIX = "horizon_"  # of the wrapper's own names in a state
ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)


class FixedHorizon(StatefulWrapper, RecordConstructorArgs):
    """Gives every episode of every lane exactly `horizon` steps, so that its end reveals nothing.

    Lane by lane it equals `SyncVectorEnv` of `envs.FixedHorizon` with same-step autoreset. The
    lanes start together and so end together: on step `horizon` all are truncated, all restart, and
    `final_obs` and `final_info` hold what the episodes ended with.

    A vector environment steps all of its lanes, so that lanes which ended play on unseen, and are
    put back to the start of their next episode on step `horizon`. That requires SAME_STEP, and
    `get_state` and `set_state` whose arrays have one row for each lane, as `PartialGrid-v0` has.
    For any other environment use the single wrapper in each lane, in any autoreset mode:
    `SyncVectorEnv([lambda: FixedHorizon(make(), 100)] * 8)`.

    Args:
        env: The vector environment; its observations must be arrays.
        horizon: Steps of every episode, at least 1.
        keep: Names of the info entries that are kept, as in `envs.FixedHorizon`.

    Raises:
        ValueError: If an argument is invalid, lanes of the environment cannot be restored, or a
            `RecordTruth` lies inside, where it would record steps that are undone.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], horizon: int, *, keep: Sequence[str] = ()
    ) -> None:
        RecordConstructorArgs.__init__(self, horizon=horizon, keep=keep)
        StatefulWrapper.__init__(self, env)
        check_count(horizon, "horizon", 1)
        self.horizon = int(horizon)
        self.keep = check_keep(keep)
        _check_lanes(env)
        self._elapsed = self.horizon
        self._absorbed = np.zeros(env.num_envs, dtype=np.bool_)
        self._last: NDArray[Any]  # what an absorbed lane shows
        self._next: NDArray[Any]  # what its next episode starts with
        self._start: dict[str, NDArray[Any]]  # kept info at the start of the running episodes
        self._next_start: dict[str, NDArray[Any]]
        self._next_state: Arrays  # the environment's, of which the rows of absorbed lanes count

    @property
    def absorbed(self) -> NDArray[np.bool_]:
        """Whether each lane has ended, so that steps only repeat its last observation, [n]."""
        return self._absorbed.copy()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every lane."""
        if options and "reset_mask" in options:
            raise ValueError(
                "reset_mask is not supported: the lanes of FixedHorizon start and end together"
            )
        if seed is None and not options and self._absorbed.any():
            observations = self._restart()
        else:
            observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
            self._begin(select_entries(infos, self.keep))
            self._last, self._next = observations.copy(), observations.copy()
        return observations, self._infos(self._start)

    def step(self, actions: object) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the running lanes, and repeat the last observation of the absorbed ones.

        Actions of absorbed lanes have no effect, but must be in the action space.

        Raises:
            ResetNeeded: Before the first reset.
        """
        self._check_started()
        before = self._absorbed.copy()
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self._elapsed += 1
        ended = (terminated | truncated) & ~before
        info = select_entries(infos, self.keep)
        if ended.any():
            info = self._absorb(ended, observations, infos)
        self._absorbed |= ended
        observations = _choose(self._absorbed, self._last, observations)
        info = {name: _choose(before, self._start[name], info[name]) for name in self.keep}
        rewards = np.where(before, 0.0, rewards)
        over = np.full(self.num_envs, self._elapsed == self.horizon)
        infos = self._infos(info)
        if over.all():
            final = {"final_obs": observations, "final_info": infos}
            masks = {f"_{name}": over.copy() for name in final}
            observations = self._restart()
            infos = self._infos(self._start) | final | masks
        return observations, rewards, np.zeros_like(over), over, infos

    def _own_state(self) -> Arrays:
        own: Arrays = {
            "elapsed": np.full(self.num_envs, self._elapsed),
            "absorbed": self._absorbed,
            "last": self._last,
            "next": self._next,
        }
        own |= {f"start.{name}": array for name, array in self._start.items()}
        own |= {f"next_start.{name}": array for name, array in self._next_start.items()}
        own |= {f"next_state.{name}": array for name, array in self._next_state.items()}
        return {PREFIX + name: array for name, array in own.items()}

    def _check_own_state(self, own: Arrays) -> None:
        elapsed = own[PREFIX + "elapsed"]
        if elapsed.min() != elapsed.max() or not 0 <= elapsed[0] < self.horizon:
            raise ValueError(
                f"state['{PREFIX}elapsed'] must be one number in all lanes, from 0 to "
                f"{self.horizon - 1}, got {elapsed.min()} to {elapsed.max()}"
            )

    def _set_own_state(self, own: Arrays) -> None:
        super()._set_own_state(own)
        self._elapsed = int(own[PREFIX + "elapsed"][0])

    def _absorb(
        self, ended: NDArray[np.bool_], observations: NDArray[Any], infos: dict[str, Any]
    ) -> dict[str, NDArray[Any]]:
        """Store how lanes ended and what they start with next; return the info of this step."""
        self._last[ended] = np.stack(infos["final_obs"][ended])
        self._next[ended] = observations[ended]
        for name, array in self.env.get_state().items():  # type: ignore[attr-defined]
            self._next_state[name][ended] = array[ended]
        info = select_entries(infos, self.keep)
        final = select_entries(infos["final_info"], self.keep)
        for name in self.keep:
            self._next_start[name][ended] = info[name][ended]
        return {name: _choose(ended, final[name], info[name]) for name in self.keep}

    def _restart(self) -> NDArray[Any]:
        """Start the next episode of every lane; absorbed lanes are at its start already."""
        observations, start, state = self._next.copy(), self._next_start, self._next_state
        if not self._absorbed.all():
            fresh, infos = self.env.reset()
            begun = self.env.get_state()  # type: ignore[attr-defined]
            state = {name: _choose(self._absorbed, state[name], begun[name]) for name in begun}
            observations = _choose(self._absorbed, self._next, fresh)
            info = select_entries(infos, self.keep)
            start = {name: _choose(self._absorbed, start[name], info[name]) for name in self.keep}
        self.env.set_state(state)  # type: ignore[attr-defined]
        self._begin(start)
        return observations

    def _begin(self, start: dict[str, NDArray[Any]]) -> None:
        self._started = True
        self._elapsed = 0
        self._absorbed[:] = False
        self._start = {name: array.copy() for name, array in start.items()}
        self._next_start = {name: array.copy() for name, array in start.items()}
        self._next_state = self.env.get_state()  # type: ignore[attr-defined]

    def _infos(self, info: dict[str, NDArray[Any]]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for name, array in info.items():
            infos |= {name: array.copy(), f"_{name}": np.ones(self.num_envs, dtype=np.bool_)}
        return infos


def _choose(lanes: NDArray[np.bool_], ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """Return a fresh array of `ours` in some lanes and `theirs` in the others."""
    chosen = theirs.copy()
    chosen[lanes] = ours[lanes]
    return chosen


def _check_lanes(env: VectorEnv[Any, Any, Any]) -> None:
    """Raise a ValueError if lanes of an environment cannot be restored."""
    mode = env.metadata.get("autoreset_mode")
    layer, recorded = env, False
    while isinstance(layer, VectorWrapper):
        recorded |= isinstance(layer, RecordTruth)
        layer = layer.env
    if recorded:
        raise ValueError(
            "FixedHorizon got a vector environment with RecordTruth inside, which would record "
            "steps that no episode contains: wrap it as RecordTruth(FixedHorizon(env, horizon), "
            "path)"
        )
    able = keeps_state(env)
    if mode is not AutoresetMode.SAME_STEP or not able:
        raise ValueError(
            f"FixedHorizon needs SAME_STEP and get_state and set_state, got {mode!r} and {env!r} "
            f"{'with' if able else 'without'} them: wrap each single environment in "
            "envs.FixedHorizon and batch those with SyncVectorEnv, which works in every mode"
        )
    if not isinstance(env.single_observation_space, ARRAYS):
        raise ValueError(
            f"FixedHorizon needs observations that are arrays, got {env.single_observation_space}: "
            "flatten them first"
        )
