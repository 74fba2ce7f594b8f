"""RecordTruth: write each step's true reward to a ledger, and change nothing."""

import os
from typing import Any, NoReturn

import gymnasium as gym
from gymnasium.error import ResetNeeded

from envs.ledger import LedgerWriter
from envs.wrappers.order import check_pays_truth


class RecordTruth(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Write each step's true reward to a ledger, and change nothing.

    It goes around the raw environment (or around `FixedHorizon` of it) and inside whatever hides
    rewards. Episodes are numbered by the resets, on lane 0, and go on after those in the file.
    `observed` is what the environment's own info says, if it says anything.

    **Threat model.** Agent-visible is what the *outermost* environment returns: observation,
    reward, `terminated`, `truncated` and info of `reset` and `step`. The Python object graph is
    not: code that walks `env.env` reaches this wrapper, its path and the raw environment. So no
    learner, buffer or callback may hold the wrapped environment for anything but `reset` and
    `step`, and the ledger is read by evaluation alone, by its path. Nothing here reads it back
    into an episode.

    The file is opened at the first reset, so that a spec can be rebuilt beside a running
    environment, and closed by `close`. Copying and pickling are refused, since a copy would write
    the same history twice.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "truth.ledger")
        >>> env = RecordTruth(gym.make("CartPole-v1"), path)
        >>> _ = env.reset(seed=0)
        >>> while not env.step(0)[2]:
        ...     pass
        >>> env.close()
        >>> from envs import read_ledger, summarize_episodes
        >>> summarize_episodes(read_ledger(path))["true_return"]
        array([11.])

    Args:
        env: The environment that pays the true reward.
        path: The ledger, which is made or gone on with; one file for each environment.

    Raises:
        ValueError: If a wrapper inside changes rewards; at the first reset, if the file is no
            ledger or has a writer already.
    """

    def __init__(self, env: gym.Env[Any, Any], path: str | os.PathLike[str]) -> None:
        check_pays_truth(env)
        gym.utils.RecordConstructorArgs.__init__(self, path=os.fspath(path))
        gym.Wrapper.__init__(self, env)
        self._path = os.fspath(path)
        self._ledger: LedgerWriter | None = None
        self._episode = -1
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode."""
        start = self.env.reset(seed=seed, options=options)
        if self._ledger is None:
            self._ledger = LedgerWriter(self._path)
            self._episode = int(self._ledger.next_episodes(1)[0]) - 1
        self._ledger.flush()
        self._episode += 1
        self._elapsed = 0
        return start

    def step(self, action: object) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, record, and return what the environment returned.

        Raises:
            ResetNeeded: Before the first reset.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        observed = info.get("observed")
        if self._ledger is None:
            raise ResetNeeded("no episode is running: call reset() before step()")
        self._ledger.append_step(
            0,
            self._episode,
            self._elapsed,
            float(reward),
            observed=-1 if observed is None else bool(observed),
            ended=terminated + 2 * truncated,
        )
        self._elapsed += 1
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Flush and close the ledger, and the environment."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        super().close()

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"RecordTruth writes {self._path} and cannot be copied or pickled: build "
            "another one with a path of its own"
        )
