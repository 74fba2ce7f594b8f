"""PartialOversight for vector environments: every lane as the single wrapper, without a loop."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs import streams
from envs.observers import Observer, Scope
from envs.observers.observer import Mask
from envs.wrappers.batch import before_reset
from envs.wrappers.clock import Clock
from envs.wrappers.flag import add_flag, flagged_space
from envs.wrappers.order import check_inside
from envs.wrappers.settings import Flag, Proxy, Settings, choose_observer
from envs.wrappers.vector.infos import Seen, check_rewards, scrubbed

Step = tuple[Any, NDArray[Any], Mask, Mask, dict[str, Any]]


class PartialOversight(VectorWrapper[Any, Any, Any, Any, NDArray[Any]], RecordConstructorArgs):
    """Shows the reward of some steps and hides the others, lane by lane.

    Lane i equals `envs.wrappers.PartialOversight` around the same environment, reset with the
    lane's seed: s + i, or the i-th of a sequence. All autoreset modes are kept as they are:
    - next step: the step that resets a lane pays 0.0 and is not observed;
    - same step: the flags of the step that ended are in `final_info`, those beside it belong to
      the next episode, as Gymnasium has it;
    - disabled: `reset(options={"reset_mask": mask})` starts the next episode of some lanes.

    Args:
        env: The vector environment. Wrappers that keep or show rewards belong outside.
        observed_probability: As the single wrapper, as are all that follow; functions receive and
            return all lanes at once.
        observer: Who watches.
        proxy: What a hidden step pays.
        flag: Whether the observation shows whether the coming step is observed.
        allow: Keys of the environment's own `infos` to let through.
        seed: Chooses another oversight of the same levels.

    Raises:
        ValueError: If an argument is out of its range, or the environment cannot be made safe.
    """

    def __init__(  # noqa: PLR0913 (as the single wrapper)
        self,
        env: VectorEnv[Any, Any, NDArray[Any]],
        *,
        observed_probability: float | None = None,
        observer: Observer | None = None,
        proxy: Proxy | None = None,
        flag: Flag = "hidden",
        allow: tuple[str, ...] = (),
        seed: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            observed_probability=observed_probability,
            observer=observer,
            proxy=proxy,
            flag=flag,
            allow=allow,
            seed=seed,
        )
        VectorWrapper.__init__(self, env)
        check_inside(env)
        chosen = choose_observer(observed_probability, observer)
        self.settings = Settings(chosen, proxy, flag, tuple(allow), seed)
        self._mode = env.metadata.get("autoreset_mode")
        if not isinstance(self._mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of the vector environment must be one of "
                f"{[str(mode) for mode in AutoresetMode]}, got {self._mode!r}: set it there"
            )
        if flag == "visible":
            self.single_observation_space = flagged_space(env.single_observation_space)
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._clock = Clock(chosen, env.num_envs, seed or 0)
        self._started = False
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)  # on the next step
        self._before: Any = None

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of the lanes seeded, or the next episode of every lane.

        With `options={"reset_mask": mask}` it does so in some lanes only.
        """
        mask = np.ones(self.num_envs, dtype=np.bool_)
        if options is not None and "reset_mask" in options:
            mask = np.array(options["reset_mask"])
        # a copy: Gymnasium takes the mask out of the options that it is given
        inside = None if options is None else dict(options)
        observations, infos = self.env.reset(seed=seed, options=inside)  # type: ignore[arg-type]
        lanes = np.flatnonzero(mask)
        if seed is None and self._started:
            self._clock.begin(lanes)
        else:
            first = self.settings.first_seed() if seed is None else seed
            self._clock.restart(streams.lane_seeds(first, self.num_envs)[lanes], lanes)
        self._started = True
        self._resetting[lanes] = False
        seen = Seen(np.zeros(self.num_envs, dtype=np.bool_), np.zeros(self.num_envs))
        return self._look(observations), scrubbed(seen, mask, infos, self.settings.allow)

    def step(self, actions: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Step every lane, and pay the rewards that are observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not finite, or rewards are not one a lane.
        """
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        observations, rewards, terminated, truncated, inner = self.env.step(actions)
        rewards = check_rewards(rewards, self.num_envs)
        ended = terminated | truncated
        over = np.flatnonzero(ended)
        reset = over if self._mode is AutoresetMode.SAME_STEP else over[:0]
        arrived = self._arrived(observations, inner, ended, reset)
        if self._clock.scope == Scope.ARRIVAL:
            self._clock.look(self._before, arrived)
        resetting = self._resetting
        seen = self._watch(rewards, resetting)
        paid = seen.rewards.astype(rewards.dtype)
        if self.settings.proxy is not None:
            guess = self.settings.guess(self._before, actions, arrived, terminated, truncated)
            hidden = ~(seen.observed | resetting)
            paid[hidden] = guess[hidden]
        self._clock.tick(~resetting)
        infos = self._infos(seen, ended, arrived, inner) if reset.size else None
        started = reset if self._mode is AutoresetMode.SAME_STEP else np.flatnonzero(resetting)
        if started.size:
            self._clock.begin(started)
        if infos is None:
            infos = scrubbed(seen, None, inner, self.settings.allow)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended
        return self._look(observations), paid, terminated, truncated, infos

    def _watch(self, rewards: NDArray[Any], resetting: Mask) -> Seen:
        """Return which steps were observed, and their rewards."""
        observed = self._clock.watched.copy()
        if self._mode is AutoresetMode.NEXT_STEP:
            observed &= ~resetting
        return Seen.of(rewards, observed)

    def _arrived(
        self, observations: Any, inner: dict[str, Any], ended: Mask, reset: NDArray[np.intp]
    ) -> Any:  # noqa: ANN401
        """Return what each step led to, before any reset, if somebody reads it."""
        if not (self.settings.reads or self.settings.flag == "visible"):
            return None
        return before_reset(observations, inner["final_obs"], ended) if reset.size else observations

    def _infos(
        self,
        seen: Seen,
        ended: Mask,
        arrived: Any,
        inner: dict[str, Any],  # noqa: ANN401
    ) -> dict[str, Any]:
        """Return the infos of a step after which some lanes were reset at once."""
        allow = self.settings.allow
        infos = scrubbed(seen.where(~ended), None, inner, allow)
        final = scrubbed(seen.where(ended), ended, inner.get("final_info", {}), allow)
        final_obs = inner["final_obs"]
        if self.settings.flag == "visible":
            self._clock.look(arrived)
            final_obs = self._flagged(arrived)
        return infos | {
            "final_info": final,
            "_final_info": ended.copy(),
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
        }

    def _look(self, observations: Any) -> Any:  # noqa: ANN401
        """Decide about the steps to come, and show the observations with their flags."""
        if self.settings.reads:
            self._before = deepcopy(observations)
        self._clock.look(self._before)
        return observations if self.settings.flag == "hidden" else self._flagged(observations)

    def _flagged(self, observations: Any) -> NDArray[Any]:  # noqa: ANN401
        return add_flag(self.env.single_observation_space, observations, self._clock.cue)
