"""PartialOversight for vector environments: every lane as the single wrapper, without a loop."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs import random_streams
from envs.observers import InformationLevel, Observer
from envs.observers.observer import Mask
from envs.wrappers.checks import check_inside
from envs.wrappers.options import (
    Proxy,
    Reward,
    Settings,
    add_flag,
    allowed,
    before_reset,
    choose_observer,
    split_action,
)
from envs.wrappers.oversight_state import Flag, OversightState
from envs.wrappers.vector.infos import (
    Arrays,
    Ends,
    Seen,
    autoreset_mode,
    check_array,
    check_rewards,
    joined,
    parted,
    told,
    told_of_step,
    widen,
)
from envs.wrappers.vector.plain import Plain, shortcut

PREFIX = "oversight_"  # of what the state holds beside the environment's own
RESETTING, BEFORE = PREFIX + "resetting", PREFIX + "observation"

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
        observed_probability, observer, proxy, reward, flag, allow, seed: As the single wrapper;
            functions receive and return all lanes at once.

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
        self._mode = autoreset_mode(env)
        self._same_step = self._mode is AutoresetMode.SAME_STEP
        self._next_step = self._mode is AutoresetMode.NEXT_STEP
        widen(self, self.settings)
        self._doubles, self._visible = self.settings.doubles, self.settings.shows
        self._reads = self.settings.reads
        self._short: Plain | None = None
        self._clock = OversightState(chosen, env.num_envs, seed or 0, flag=flag)
        self._num_lanes = env.num_envs  # the wrapper's own `num_envs` is a property
        self._all = np.ones(env.num_envs, dtype=np.bool_)
        self._silent = ~self._all  # no question
        self._started = self._plain = False
        self._resetting = self._silent.copy()  # the lanes that the next step resets
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
            self._clock.restart(random_streams.lane_seeds(first, self.num_envs)[lanes], lanes)
        self._started = True
        self._plain = self.settings.plain and self._clock.flips is None
        if self._plain and self._short is None:
            self._short = shortcut(self._clock, self._mode)
        self._resetting[lanes] = False
        nothing = told(np.zeros_like(self._all), np.zeros(self._num_lanes), mask)
        return self._look(observations), allowed(infos, self.settings.allow) | nothing

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
        observations, rewards, terminated, truncated, inner = stepped = self.env.step(actions)
        if self._short is not None:
            given = self._short.step(rewards, terminated, truncated, self._resetting, inner)
            if given is not None:
                return observations, given[0], terminated, truncated, given[1]
        return self._step(actions, question, stepped)

    def _step(self, actions: Any, question: Mask, stepped: Step) -> Step:  # noqa: ANN401
        """Do in NumPy what follows the environment's step; if it is plain, what the kernel does."""
        observations, rewards, terminated, truncated, inner = stepped
        rewards = check_rewards(rewards, self._num_lanes)
        ended = (terminated | truncated).astype(np.bool_, copy=False)
        resetting = self._resetting
        beginning = (ended if self._same_step else resetting).nonzero()[0]
        ends = (
            (ended, beginning, inner["final_obs"]) if self._same_step and beginning.size else None
        )
        if self._plain:
            seen = Seen.of(rewards, self._clock.watched, resetting)
            paid, infos = seen.paid, told_of_step(seen, self._all, ends)
        else:
            arrived = self._arrived(observations, ends)
            if self._clock.information_level >= InformationLevel.ACTION:
                self._clock.look(self._before, question, arrived)
            seen = Seen.of(rewards, self._clock.watched, resetting, self._clock.flips)
            paid = self._paid(seen, resetting, actions, arrived, terminated, truncated)
            self._clock.tick(resetting)
            infos = self._infos(seen, inner, arrived, ends)
        if self._next_step:
            self._resetting = ended
        if beginning.size:
            self._clock.begin(beginning)
        return self._look(observations), paid, terminated, truncated, infos

    def _paid(self, seen: Seen, resetting: Mask, *step: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return what was observed, or the proxy's guess, less the price of a first question."""
        guess: NDArray[Any] | float = 0.0
        if self.settings.proxy is not None:
            guess = self.settings.guess(self._before, *step)
        guessed = ~seen.observed if self.settings.reward == "observed" else self._all.copy()
        asks = self._clock.asks.copy()
        for lanes in (guessed, asks):
            lanes[resetting] = False
        paid = np.where(guessed, guess, seen.paid).astype(seen.paid.dtype)
        return np.where(asks, paid - paid.dtype.type(self.settings.price), paid)

    def _arrived(self, observations: Any, ends: Ends | None) -> Any:  # noqa: ANN401
        """Return what each step led to, before any reset, if somebody reads it."""
        if not (self._reads or self._visible):
            return None
        return observations if ends is None else before_reset(observations, ends[2], ends[0])

    def _infos(
        self,
        seen: Seen,
        inner: dict[str, Any],
        arrived: Any,  # noqa: ANN401
        ends: Ends | None,
    ) -> dict[str, Any]:
        """Return the infos of a step; those of episodes that it ended and reset lie apart."""
        allow = self.settings.allow
        if ends is not None and self._visible:
            self._clock.look(arrived if self._reads else None)
            ends = (*ends[:2], self._flagged(arrived))
        infos = allowed(inner, allow) | told_of_step(seen, self._all, ends)
        if ends is not None:
            infos["final_info"] |= allowed(inner.get("final_info", {}), allow)
        return infos

    def get_state(self) -> Arrays:
        """Copy all that the future depends on, given the same arguments and actions.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If the environment inside has no state to copy.
        """
        return joined(self._state(), self.env)

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on exactly where `get_state` was called; a reset must come first.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If a name, shape or dtype is not that of a state of these lanes.
        """
        own, inside = parted(state, self._state())
        if own[RESETTING].any() and not self._next_step:
            raise ValueError(
                f"state[{RESETTING!r}] must be all False with {self._mode}, where no step resets: "
                "was it saved with another autoreset mode?"
            )
        self.env.set_state(inside)  # type: ignore[attr-defined]
        self._clock.set_state({name: own[PREFIX + name] for name in self._clock.get_state()})
        self._resetting[:] = own[RESETTING]
        self._before = own.get(BEFORE)
        self._clock.look(self._before)

    def _state(self) -> Arrays:
        """Return the arrays of this wrapper alone."""
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() first")
        own = {PREFIX + name: array for name, array in self._clock.get_state().items()}
        own[RESETTING] = self._resetting.copy()
        if self._reads:
            own[BEFORE] = check_array(self._before, self.env.single_observation_space)
        return own

    def _look(self, observations: Any) -> Any:  # noqa: ANN401
        """Decide about the steps to come, and show the observations with their flags."""
        if self._reads:
            self._before = deepcopy(observations)
        self._clock.look(self._before)
        return self._flagged(observations) if self._visible else observations

    def _flagged(self, observations: Any) -> NDArray[Any]:  # noqa: ANN401
        return add_flag(self.env.single_observation_space, observations, self._clock.cue)
