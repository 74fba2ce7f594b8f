"""DelayedOversight for vector environments: the single wrapper in every lane, on arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from envs.observers.observer import Mask
from envs.wrappers.checks import check_shows_oversight
from envs.wrappers.delayed_oversight import check_infos, choose_delay
from envs.wrappers.vector.infos import (
    Arrays,
    StatefulWrapper,
    autoreset_mode,
    make_step_infos,
    parse_step_infos,
)


class DelayedOversight(StatefulWrapper, RecordConstructorArgs):
    """Shows and pays observed rewards some steps or some episodes later, lane by lane.

    Lane i equals `envs.DelayedOversight` around the same environment. Every autoreset mode is kept;
    with same-step autoreset, `final_info` has what is shown on the last step of an episode.

    If the environment has `get_state` and `set_state`, the wrapper's include the pending rewards.

    Args:
        env: A vector environment whose infos say what is observed.
        steps: Steps of delay, at least 1.
        episodes: Episodes of delay, at least 1, instead of steps.

    Raises:
        ValueError: If not exactly one delay is given, a wrapper inside changes or stores observed
            rewards, or infos do not contain them.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, NDArray[Any]],
        *,
        steps: int | None = None,
        episodes: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(self, steps=steps, episodes=episodes)
        StatefulWrapper.__init__(self, env)
        self._pays = check_shows_oversight(env)
        self._delay = choose_delay(steps, episodes, env.num_envs)
        self._mode = autoreset_mode(env)
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)  # lanes that the next step resets

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode of every lane, or of those in `options["reset_mask"]`."""
        mask = np.ones(self.num_envs, dtype=np.bool_)
        if options is not None and "reset_mask" in options:
            mask = np.array(options["reset_mask"])
        inside = None if options is None else dict(options)  # Gymnasium takes the mask out
        observations, infos = self.env.reset(seed=seed, options=inside)  # type: ignore[arg-type]
        check_infos(infos)
        if seed is None and self._started:
            self._delay.begin(mask)
        else:
            self._delay.restart(mask)
        self._started = True
        self._resetting &= ~mask
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], Mask, Mask, dict[str, Any]]:  # noqa: ANN401
        """Take a step in every lane, store what it showed, and show what is due.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If infos do not say what is observed.
        """
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        check_infos(infos)
        ended = terminated | truncated
        reset = ended if self._mode is AutoresetMode.SAME_STEP and ended.any() else None
        if reset is not None:
            check_infos(infos["final_info"])
        observed, seen = parse_step_infos(infos, reset)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._delay.begin(self._resetting)
            self._resetting = ended.copy()
        shown, due = self._delay.show(observed, seen, ended)
        if self._pays:
            paid = np.where(observed, rewards - seen, rewards)
            rewards = np.where(shown, paid + due, paid).astype(rewards.dtype)
        late = make_step_infos(shown, due, reset, infos.get("final_obs"))
        if reset is not None:
            self._delay.begin(reset)
            late["final_info"] = {**infos["final_info"], **late["final_info"]}
        return observations, rewards, terminated, truncated, {**infos, **late}

    def _own_state(self) -> Arrays:
        return {**self._delay.arrays, "delayed_resetting": self._resetting}
