"""RecordTruth: writes each step's true reward to a ledger, and changes nothing."""

import os
from typing import Any, NoReturn

import gymnasium as gym
from gymnasium.error import ResetNeeded

from envs.wrappers.checks import as_float, check_pays_truth, if_given
from envs.wrappers.ledger import LedgerWriter


class RecordTruth(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Writes each step's true reward to a ledger, and changes nothing.

    It goes around the raw environment (or around `FixedHorizon` of it) and inside whatever hides
    rewards. Episodes are counted by resets, on lane 0, and continue the numbers in the file.
    `observed` is what the environment's own info says, if it says anything.

    **Threat model.** True rewards of hidden steps are protected from the learner.

    - *Agent-visible* is what the outermost environment returns: observation, reward, `terminated`,
      `truncated` and info of `reset` and `step`. No true reward that a wrapper outside hides is in
      any of these, and nothing here reads the ledger back into an episode. This holds always.
    - *In the object graph* of this process (`env.env`, `gc.get_referents`) are this wrapper, the
      path (in `spec` and the recorded constructor arguments), the raw environment, which pays the
      truth, and a writer. The writer cannot read: its descriptor is for writing only, and it holds
      the rewards of the steps since the last end of an episode alone. But code that walks there can
      open the path. So no learner may hold the environment for more than `reset` and `step`.
    - *Hard isolation* puts the lanes in processes of their own. The learner then holds pipes that
      carry what is agent-visible, and no `RecordTruth`, no writer and no raw environment exist in
      its process once the lanes run; `AsyncVectorEnv` keeps the functions that build the lanes, and
      in them the path, until they are dropped::

          lanes = AsyncVectorEnv(
              [lambda i=i: PartialOversight(RecordTruth(gym.make(name), f"{folder}/{i}.ledger"))
               for i in range(8)], autoreset_mode=AutoresetMode.SAME_STEP)
          lanes.env_fns = ()  # they were needed to start the lanes

    What no wrapper can stop is code of the same user that guesses the path and opens the file, or
    asks a lane for it (`lanes.call`, `lanes.get_attr`). Evaluation reads the ledger, by its path.

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
        path: The ledger, which is created or continued; one file for each environment.
        rewards_define_task: Whether reward wrappers inside define the task, so that what they pay
            is its true reward. Those inside what `gym.make` returned always do; wrappers that hide
            or normalize rewards never do.

    Raises:
        ValueError: If a wrapper inside changes rewards; at the first reset, if the file is not a
            ledger or already has a writer; at a step, if its reward is not a number.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        path: str | os.PathLike[str],
        *,
        rewards_define_task: bool = False,
    ) -> None:
        check_pays_truth(env, rewards_define_task)
        gym.utils.RecordConstructorArgs.__init__(
            self, path=os.fspath(path), rewards_define_task=rewards_define_task
        )
        gym.Wrapper.__init__(self, env)
        self._ledger: LedgerWriter | None = None
        self._episode = -1
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode."""
        start = self.env.reset(seed=seed, **if_given(options))
        if self._ledger is None:
            self._ledger = LedgerWriter(self._saved_kwargs["path"])
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
            as_float(reward, "RecordTruth"),
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
        path = self._saved_kwargs["path"]
        raise TypeError(
            f"RecordTruth writes {path} and cannot be copied or pickled: build another one with a "
            "path of its own"
        )
