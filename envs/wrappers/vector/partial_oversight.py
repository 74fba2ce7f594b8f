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
from envs.wrappers.noisy_flag import Flag
from envs.wrappers.order import check_inside
from envs.wrappers.question import asking_space, split_action
from envs.wrappers.settings import Proxy, Reward, Settings, choose_observer
from envs.wrappers.vector.infos import Seen, check_rewards, reported, scrubbed

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
        reward: Whether an observed step pays what was observed, or the proxy.
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
        reward: Reward = "observed",
        flag: Flag = "hidden",
        allow: tuple[str, ...] = (),
        seed: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            observed_probability=observed_probability,
            observer=observer,
            proxy=proxy,
            reward=reward,
            flag=flag,
            allow=allow,
            seed=seed,
        )
        VectorWrapper.__init__(self, env)
        check_inside(env)
        chosen = choose_observer(observed_probability, observer)
        self.settings = Settings(chosen, proxy, reward, flag, allow, seed)
        self._mode = env.metadata.get("autoreset_mode")
        if not isinstance(self._mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of the vector environment must be one of "
                f"{[str(mode) for mode in AutoresetMode]}, got {self._mode!r}: set it there"
            )
        if self.settings.shows:
            self.single_observation_space = flagged_space(env.single_observation_space)
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._doubles = self.settings.doubles
        if self._doubles:
            self.single_action_space = asking_space(env.single_action_space)
            self.action_space = batch_space(self.single_action_space, env.num_envs)
        self._price = self.settings.price
        self._visible = self.settings.shows
        self._reads = self.settings.reads
        self._clock = Clock(chosen, env.num_envs, seed or 0, flag=flag)
        self._all = np.ones(env.num_envs, dtype=np.bool_)
        self._silent = ~self._all  # no question
        self._started = False
        self._resetting = np.arange(0)  # the lanes that the next step resets
        self._before: Any = None

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of the lanes seeded, or the next episode of every lane.

        With `options={"reset_mask": mask}` it does so in some lanes only.
        """
        mask = self._all
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
        self._resetting = np.setdiff1d(self._resetting, lanes)
        seen = Seen(np.zeros(self.num_envs, dtype=np.bool_), np.zeros(self.num_envs))
        return self._look(observations), scrubbed(seen, mask, infos, self.settings.allow)

    def step(self, actions: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Step every lane, and pay the rewards that are observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not finite, rewards are not one a lane, or an
                action has no meaning.
        """
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        question = self._silent
        if self._doubles:
            actions, question = split_action(self.env.single_action_space, np.asarray(actions))  # type: ignore[arg-type]
        observations, rewards, terminated, truncated, inner = self.env.step(actions)
        rewards = check_rewards(rewards, self.num_envs)
        ended = terminated | truncated
        over = ended.nonzero()[0]
        same_step = self._mode is AutoresetMode.SAME_STEP
        final = inner["final_obs"] if same_step and over.size else None
        arrived = self._arrived(observations, final, ended)
        if self._clock.scope >= Scope.ACTION:
            self._clock.look(self._before, question, arrived)
        resetting = self._resetting
        seen = self._watch(rewards, resetting)
        guess: NDArray[Any] | float = 0.0
        if self.settings.proxy is not None:
            guess = self.settings.guess(self._before, actions, arrived, terminated, truncated)
        paid = self._paid(seen, guess)
        self._clock.tick(resetting)
        infos = self._infos(seen, inner, ended, arrived, final)
        self._begin(over if same_step else resetting)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = over
        return self._look(observations), paid, terminated, truncated, infos

    def _watch(self, rewards: NDArray[Any], resetting: NDArray[np.intp]) -> Seen:
        """Return which steps were observed, and their rewards."""
        observed = self._clock.watched.copy()
        if resetting.size:
            observed[resetting] = False
        seen = Seen.of(rewards, observed)
        flips = self._clock.flips
        return seen if flips is None else Seen(observed, reported(seen.rewards, flips))

    def _paid(self, seen: Seen, guess: NDArray[Any] | float) -> NDArray[Any]:
        """Return what was observed, or the proxy's guess, less the price of a first question."""
        guessed = ~seen.observed if self.settings.reward == "observed" else self._all.copy()
        asks = self._clock.asks.copy()
        for lanes in (guessed, asks):
            lanes[self._resetting] = False
        paid = np.where(guessed, guess, seen.rewards).astype(seen.rewards.dtype)
        return np.where(asks, paid - paid.dtype.type(self._price), paid)

    def _arrived(self, observations: Any, final: Any, ended: Mask) -> Any:  # noqa: ANN401
        """Return what each step led to, before any reset, if somebody reads it."""
        if not (self._reads or self._visible):
            return None
        return observations if final is None else before_reset(observations, final, ended)

    def _infos(
        self,
        seen: Seen,
        inner: dict[str, Any],
        ended: Mask,
        arrived: Any,  # noqa: ANN401
        final: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Return the infos of a step; those of episodes that it ended and reset lie apart."""
        allow = self.settings.allow
        if final is None:
            return scrubbed(seen, self._all, inner, allow)
        rest, last = seen.divided(ended)
        if self._visible:
            self._clock.look(arrived if self._reads else None)
            final = self._flagged(arrived)
        return scrubbed(rest, self._all, inner, allow) | {
            "final_info": scrubbed(last, ended, inner.get("final_info", {}), allow),
            "_final_info": ended.copy(),
            "final_obs": final,
            "_final_obs": ended.copy(),
        }

    def _begin(self, lanes: NDArray[np.intp]) -> None:
        if lanes.size:
            self._clock.begin(lanes)

    def _look(self, observations: Any) -> Any:  # noqa: ANN401
        """Decide about the steps to come, and show the observations with their flags."""
        if self._reads:
            self._before = deepcopy(observations)
        self._clock.look(self._before)
        return self._flagged(observations) if self._visible else observations

    def _flagged(self, observations: Any) -> NDArray[Any]:  # noqa: ANN401
        return add_flag(self.env.single_observation_space, observations, self._clock.cue)
