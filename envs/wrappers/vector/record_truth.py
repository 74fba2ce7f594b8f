"""RecordTruth for vector environments: every lane's true rewards in one ledger."""

import os
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from envs.wrappers.checks import check_pays_truth
from envs.wrappers.ledger import LedgerWriter
from envs.wrappers.vector.infos import Arrays, StatefulWrapper, autoreset_mode


class RecordTruth(StatefulWrapper, RecordConstructorArgs):
    """Writes every lane's true rewards to one ledger, and changes nothing.

    The documentation of `envs.RecordTruth`, including its threat model, holds here. All autoreset
    modes give the same records: a step's reward belongs to the episode in which the action was
    taken, and steps of NEXT_STEP that only reset are not recorded.

    If the environment has `get_state` and `set_state`, the wrapper's include the ledger's counters:
    a resumed run replaces what it had recorded after its checkpoint.

    Args:
        env: The vector environment that pays the true reward.
        path: The ledger, which is created or continued; one file for each environment.
        rewards_define_task: As for the single wrapper.

    Raises:
        ValueError: If a wrapper inside changes rewards, or the environment does not state its
            autoreset mode; at the first reset, if the file is not a ledger or has a writer.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        path: str | os.PathLike[str],
        *,
        rewards_define_task: bool = False,
    ) -> None:
        check_pays_truth(env, rewards_define_task)
        RecordConstructorArgs.__init__(
            self, path=os.fspath(path), rewards_define_task=rewards_define_task
        )
        StatefulWrapper.__init__(self, env)
        self._mode = autoreset_mode(env)
        self._ledger: LedgerWriter | None = None
        self._lanes = np.arange(env.num_envs)
        self._episode = np.full(env.num_envs, -1, dtype=np.int64)
        self._elapsed = np.zeros(env.num_envs, dtype=np.int64)
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode of every lane, or of those in `options["reset_mask"]`."""
        mask = (options or {}).get("reset_mask")  # SyncVectorEnv takes it out
        lanes = slice(None) if mask is None else np.array(mask)
        start = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._started = True
        self._open().flush()
        self._begin(lanes)
        return start

    def step(self, actions: object) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, record, and return what the environment returned."""
        returned = self.env.step(actions)
        _, rewards, terminated, truncated, infos = returned
        ended = terminated | truncated
        played = ~self._resetting  # else this step was a reset of NEXT_STEP
        if self._mode is AutoresetMode.NEXT_STEP:
            self._begin(self._resetting.nonzero()[0])
        lanes = slice(None) if played.all() else played
        self._open().append(
            self._lanes[lanes],
            self._episode[lanes],
            self._elapsed[lanes],
            np.asarray(rewards, dtype=np.float64)[lanes],
            observed=self._observed(infos, ended)[lanes],
            ended=(terminated + np.uint8(2) * truncated)[lanes],
        )
        self._elapsed[lanes] += 1
        if self._mode is AutoresetMode.SAME_STEP:
            self._begin(ended.nonzero()[0])
        elif self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = np.array(ended)
        return returned

    def close(self, **kwargs: object) -> None:
        """Flush and close the ledger, and the environment."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        super().close(**kwargs)

    def _open(self) -> LedgerWriter:
        """Open the ledger at the first call, and number the episodes after those in it."""
        if self._ledger is None:
            self._ledger = LedgerWriter(self._saved_kwargs["path"])
            self._episode[:] = self._ledger.next_episodes(self.num_envs) - 1
        return self._ledger

    def _own_state(self) -> Arrays:
        self._open().flush()  # so that the file and the counters agree
        return {
            "ledger_episode": self._episode,
            "ledger_elapsed": self._elapsed,
            "ledger_resetting": self._resetting,
        }

    def _begin(self, lanes: slice | NDArray[np.bool_ | np.intp]) -> None:
        self._episode[lanes] += 1
        self._elapsed[lanes] = 0
        self._resetting[lanes] = False

    def _observed(self, infos: dict[str, Any], ended: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Return what the info of each lane's step says, -1 where it says nothing."""
        observed = _flags(infos, self.num_envs)
        if self._mode is AutoresetMode.SAME_STEP and np.count_nonzero(ended):
            lanes = ended.nonzero()[0]
            observed[lanes] = _flags(infos.get("final_info", {}), self.num_envs)[lanes]
        return observed

    def __getstate__(self) -> NoReturn:
        path = self._saved_kwargs["path"]
        raise TypeError(
            f"RecordTruth writes {path} and cannot be copied or pickled: build another one with a "
            "path of its own"
        )


def _flags(infos: dict[str, Any], num_envs: int) -> NDArray[np.int8]:
    nothing = np.int8(-1)
    if "observed" not in infos:
        return np.full(num_envs, nothing)
    observed = np.asarray(infos["observed"], dtype=np.bool_).view(np.int8)
    return np.where(infos["_observed"], observed, nothing) if "_observed" in infos else +observed
