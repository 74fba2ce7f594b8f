"""DelayedOversight for vector environments: the single wrapper in every lane, on arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from envs.observers.observer import Mask
from envs.wrappers.checks import check_shows_oversight
from envs.wrappers.delayed_oversight import Shown, check_infos, choose_delay
from envs.wrappers.vector.infos import Arrays, StatefulWrapper, autoreset_mode


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
        has_final_info = self._mode is AutoresetMode.SAME_STEP and bool(ended.any())
        observed, seen = infos["observed"], infos["observed_reward"]
        if has_final_info:
            final = infos["final_info"]
            check_infos(final)
            observed = np.where(ended, final["observed"], observed)
            seen = np.where(ended, final["observed_reward"], seen)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._delay.begin(self._resetting)
            self._resetting = ended.copy()
        seen = np.where(observed, seen, 0.0)
        shown, due = self._delay.show(observed, seen, ended)
        if has_final_info:
            self._delay.begin(ended)
        paid = _paid(rewards, (observed, seen), (shown, due)) if self._pays else rewards
        return (
            observations,
            paid,
            terminated,
            truncated,
            _late(infos, shown, due, ended, has_final_info),
        )

    def _own_state(self) -> Arrays:
        return {**self._delay.arrays, "delayed_resetting": self._resetting}


def _paid(rewards: NDArray[Any], now: Shown, late: Shown) -> NDArray[Any]:
    """Return the rewards without what was observed now, but with what is shown now."""
    (observed, seen), (shown, due) = now, late
    paid = np.where(observed, rewards - seen, rewards)
    return np.where(shown, paid + due, paid).astype(rewards.dtype)


def _late(
    infos: Mapping[str, Any],
    shown: Mask,
    due: NDArray[np.float64],
    ended: Mask,
    has_final_info: bool,
) -> dict[str, Any]:
    """Return the infos with what is shown at this step, for lanes that were reset in final_info."""
    if not has_final_info:
        return {**infos, "observed": shown, "observed_reward": due}
    final = {
        "observed": shown & ended,
        "observed_reward": np.where(ended, due, 0.0),
    }
    rest = {"observed": shown & ~ended, "observed_reward": np.where(ended, 0.0, due)}
    return {**infos, **rest, "final_info": {**infos["final_info"], **final}}
