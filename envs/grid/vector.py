"""GridVectorEnv: the kernel with n lanes, as a native Gymnasium vector environment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from envs import streams
from envs.grid import kernel, render
from envs.grid.rules import Flag, Reward, Rules
from envs.grid.state import check_state


class GridVectorEnv(VectorEnv[kernel.Planes, Any, NDArray[Any]]):
    """Many games of `GridEnv` side by side, without a loop over them.

    ## Description
    Equal, lane by lane and bit by bit, to `SyncVectorEnv` of `GridEnv` with same-step autoreset.
    The rules, rewards and levels are documented there.

    ## Action Space
    `MultiDiscrete([4] * num_envs)`; any integer array of that shape is accepted.

    ## Observation Space
    `Box(0, 1, (num_envs, 4, size, size), int8)`. Every call returns a fresh array.

    ## Starting State
    `reset(seed=s)` starts episode 0 of the lanes s, s + 1, ...; a sequence names each lane's seed.
    `reset()` goes on to every lane's next episode. As with `SyncVectorEnv`, runs whose seeds
    differ by less than `num_envs` share levels.

    ## Reward
    As `GridEnv`, [num_envs] float64.

    ## Episode End
    As `GridEnv`. An ended lane resets in the same step (`AutoresetMode.SAME_STEP`): its reward
    and flags are those of the step that ended, its observation is the next episode's first.

    ## Information
    `observed` and `observed_reward`, [num_envs], with masks `_observed` and `_observed_reward`.
    In an ended lane they belong to the new episode; those of the step that ended are in
    `final_info`, a dictionary of the same four arrays masked by the ended lanes. `final_obs`
    holds the observations before the reset as one array, [num_envs, 4, size, size], where
    `SyncVectorEnv` has an array of objects. `final_info`, `final_obs` and their
    masks `_final_info`, `_final_obs` are there only when a lane ended.

    ## Arguments
    - `num_envs`: number of lanes; the others as `GridEnv`.

    ## Version History
    - v0: initial version.
    """

    def __init__(  # noqa: PLR0913 (Gymnasium passes flat keyword arguments)
        self,
        num_envs: int = 1,
        *,
        size: int = 5,
        horizon: int = 32,
        oversight_probability: float = 0.1,
        flag: Flag = "visible",
        reward: Reward = "observed",
        render_mode: str | None = None,
    ) -> None:
        if not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ValueError(f"num_envs must be an integer of at least 1, got {num_envs!r}")
        self.rules = Rules(size, horizon, oversight_probability, flag, reward)
        self.render_mode = render.check_mode(render_mode)
        self.metadata = {
            "render_modes": list(render.MODES),
            "render_fps": 4,
            "autoreset_mode": AutoresetMode.SAME_STEP,
        }
        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(kernel.NUM_ACTIONS)
        self.single_observation_space = spaces.MultiBinary((kernel.NUM_PLANES, size, size))
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

        self._started = False
        self._seed = np.zeros(num_envs, dtype=np.uint64)
        self._episode = np.zeros(num_envs, dtype=np.uint64)
        self._elapsed = np.zeros(num_envs, dtype=np.intp)
        self._board = kernel.layout(self._seed, self._episode, self.rules)
        self._planes = kernel.observe(self._board, self.rules)
        # Where each lane's agent plane starts in the flattened planes.
        self._origin = np.arange(num_envs) * self._planes[0].size

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[kernel.Planes, dict[str, Any]]:
        """Start episode 0 of the lanes seeded, or the next episode of every lane."""
        if options and "reset_mask" in options:
            raise ValueError("reset_mask is not supported: a lane resets in the step that ends it")
        if seed is None or isinstance(seed, int):
            super().reset(seed=seed)
        if seed is None and self._started:
            self._episode += np.uint64(1)
        else:
            drawn = self.np_random_seed
            assert drawn is not None
            self._seed[:] = streams.lane_seeds(drawn if seed is None else seed, self.num_envs)
            self._episode[:] = 0
        self._started = True
        self._begin(slice(None))
        return self._planes.copy(), self._infos()

    def step(
        self, actions: ArrayLike
    ) -> tuple[kernel.Planes, kernel.Numbers, kernel.Mask, kernel.Mask, dict[str, Any]]:
        """Move every lane once and reset those that ended.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If the actions are not [num_envs] integers from 0 to 3.
        """
        self._check_started()
        self._move(kernel.check_actions(actions, (self.num_envs,)))
        self._elapsed += 1
        outcome = kernel.judge(self._board, self.rules.reward, self.true_reward())
        truncated = (self._elapsed >= self.rules.horizon) & ~outcome.terminated
        ended = outcome.terminated | truncated
        infos = self._infos()
        lanes = np.flatnonzero(ended)
        if lanes.size:
            infos |= self._final(outcome, ended)
            self._episode[lanes] += np.uint64(1)
            self._begin(lanes)
        return self._planes.copy(), outcome.reward, outcome.terminated, truncated, infos

    def render(self) -> tuple[render.Frame | str, ...] | None:
        """Draw every lane in the render mode, or return None without one."""
        if self.render_mode is None:
            return None
        self._check_started()
        return render.frames(self._board, self.rules.size, self.render_mode)

    @property
    def board(self) -> kernel.Board:
        """A copy of where everything is in the running episodes."""
        return kernel.Board._make(array.copy() for array in self._board)

    @property
    def overseen(self) -> kernel.Mask:
        """Whether each running episode's diamond and ghost are overseen, [num_envs, 2]."""
        return self._board.overseen.copy()

    def true_reward(self) -> kernel.Numbers:
        """Return what each agent earns in truth where it stands; the only source of the truth.

        The certificate replaces it where nobody watches, and sees that nothing changes.
        """
        return kernel.true_reward(self._board)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy all that the future depends on, given the same arguments and actions."""
        self._check_started()
        return {name: array.copy() for name, array in self._arrays().items()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on exactly where `get_state` was called.

        Raises:
            ValueError: If a name, shape, dtype or cell is not that of a state of these lanes.
        """
        arrays = self._arrays()
        check_state(state, arrays, self.rules)
        for name, array in arrays.items():
            array[:] = state[name]
        self._planes[:] = kernel.observe(self._board, self.rules)
        self._started = True

    def _arrays(self) -> dict[str, NDArray[Any]]:
        counters = {"seed": self._seed, "episode": self._episode, "elapsed": self._elapsed}
        return counters | self._board._asdict()

    def _begin(self, lanes: slice | kernel.Cells) -> None:
        """Lay out the current episode of some lanes."""
        board = kernel.layout(self._seed[lanes], self._episode[lanes], self.rules)
        for held, fresh in zip(self._board, board, strict=True):
            held[lanes] = fresh
        self._elapsed[lanes] = 0
        self._planes[lanes] = kernel.observe(board, self.rules)

    def _move(self, actions: kernel.Cells) -> None:
        """Move every agent, on the board and in the planes, of which two bits a lane change."""
        agent = self._board.agent
        bits = self._planes.reshape(-1)
        bits[self._origin + agent] = 0
        agent[:] = kernel.move(agent, actions, self.rules.size)
        bits[self._origin + agent] = 1

    def _infos(self) -> dict[str, Any]:
        # Reaching an overseen square ends the episode, so a running one has observed nothing.
        return _masked(
            np.ones(self.num_envs, dtype=np.bool_),
            observed=np.zeros(self.num_envs, dtype=np.bool_),
            observed_reward=np.zeros(self.num_envs),
        )

    def _final(self, outcome: kernel.Outcome, ended: kernel.Mask) -> dict[str, Any]:
        final_info = _masked(
            ended, observed=outcome.observed, observed_reward=outcome.observed_reward
        )
        return _masked(ended, final_info=final_info, final_obs=self._planes.copy())

    def _check_started(self) -> None:
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() first")


def _masked(mask: kernel.Mask, **values: object) -> dict[str, Any]:
    """Pair each value with its mask, as Gymnasium does: `_name` beside `name`."""
    return values | {f"_{name}": mask.copy() for name in values}
