"""PartialOversight for vector environments: every lane as the single wrapper, without a loop."""

from collections.abc import Mapping, Sequence
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
from envs.wrappers.settings import Flag, Proxy, Settings, allowed, check_finite, choose_observer
from envs.wrappers.vector.infos import check_rewards, only, told, told_apart
from envs.wrappers.vector.mode import autoreset_mode
from envs.wrappers.vector.state import Arrays, check_array, joined, parted

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
        self.settings = Settings(chosen, proxy, flag, allow, seed)
        self._mode = autoreset_mode(env)
        self._same_step = self._mode is AutoresetMode.SAME_STEP
        self._next_step = self._mode is AutoresetMode.NEXT_STEP
        if flag == "visible":
            self.single_observation_space = flagged_space(env.single_observation_space)
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._visible = flag == "visible"
        self._reads = self.settings.reads
        self._clock = Clock(chosen, env.num_envs, seed or 0, cued=self._visible)
        self._num_lanes = env.num_envs  # the wrapper's own `num_envs` is a property
        self._all = np.ones(env.num_envs, dtype=np.bool_)
        # If so, a step needs no more than the coin of its episode.
        self._plain = not (self._clock.scope > Scope.EPISODE or proxy is not None or self._visible)
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
        nothing = told(np.zeros(self._num_lanes, np.bool_), np.zeros(self._num_lanes), mask)
        return self._look(observations), allowed(infos, self.settings.allow) | nothing

    def step(self, actions: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Step every lane, and pay the rewards that are observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not finite, or rewards are not one a lane.
        """
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        observations, rewards, terminated, truncated, inner = self.env.step(actions)
        ended = terminated | truncated
        over = ended.nonzero()[0]
        final = inner["final_obs"] if self._same_step and over.size else None
        arrived = None if self._plain else self._arrived(observations, final, ended)
        observed, paid = self._watch(rewards)
        seen = paid.astype(np.float64)
        if not self._plain:
            if self.settings.proxy is not None:
                guess = self.settings.guess(self._before, actions, arrived, terminated, truncated)
                self._pay(paid, guess, observed)
            self._clock.tick(self._resetting)
            final = self._final(final, arrived)
        if final is None:
            infos = told(observed, seen, self._all)
        else:
            infos = told_apart(observed, seen, self._all, ended, over, final)
        if self.settings.allow:
            infos = self._let_through(inner, infos)
        self._begin(over)
        if not self._plain:
            observations = self._look(observations)
        return observations, paid, terminated, truncated, infos

    def _watch(self, rewards: NDArray[Any]) -> tuple[Mask, NDArray[Any]]:
        """Return which steps were observed, and their rewards, 0.0 where none was."""
        observed = self._clock.watched.copy()
        if self._next_step:
            observed[self._resetting] = False
        shown = only(observed, check_rewards(rewards, self._num_lanes))
        return observed, check_finite(shown, "the environment")

    def _pay(self, paid: NDArray[Any], guess: NDArray[Any], observed: Mask) -> None:
        """Put the proxy's reward where a step was hidden."""
        hidden = ~observed
        hidden[self._resetting] = False
        paid[hidden] = guess[hidden]

    def _arrived(self, observations: Any, final: Any, ended: Mask) -> Any:  # noqa: ANN401
        """Return what each step led to, before any reset, if somebody reads it."""
        arrived = None
        if self._reads or self._visible:
            arrived = observations if final is None else before_reset(observations, final, ended)
        if self._clock.scope == Scope.ARRIVAL:
            self._clock.look(self._before, arrived)
        return arrived

    def _final(self, final: Any, arrived: Any) -> Any:  # noqa: ANN401
        """Return what the episodes ended on, with the flag of a step that is never taken."""
        if final is None or not self._visible:
            return final
        self._clock.look(arrived if self._reads else None)
        return self._flagged(arrived)

    def _let_through(self, inner: dict[str, Any], infos: dict[str, Any]) -> dict[str, Any]:
        """Add what is allowed of the environment's own infos."""
        allow = self.settings.allow
        if "final_info" in infos:
            last = allowed(inner.get("final_info", {}), allow)
            infos["final_info"] = last | infos["final_info"]
        return allowed(inner, allow) | infos

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
        self._resetting = np.flatnonzero(own[RESETTING])
        self._before = own.get(BEFORE)
        self._clock.look(self._before)

    def _state(self) -> Arrays:
        """Return the arrays of this wrapper alone."""
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() first")
        own: Arrays = {PREFIX + name: array for name, array in self._clock.get_state().items()}
        own[RESETTING] = np.isin(np.arange(self._num_lanes), self._resetting)
        if self._reads:
            own[BEFORE] = check_array(self._before, self.env.single_observation_space)
        return own

    def _begin(self, over: NDArray[np.intp]) -> None:
        """Count the episodes that begin after a step that some lanes are over with."""
        begun = over if self._same_step else self._resetting
        if begun.size:
            self._clock.begin(begun)
        if self._next_step:
            self._resetting = over

    def _look(self, observations: Any) -> Any:  # noqa: ANN401
        """Decide about the steps to come, and show the observations with their flags."""
        if self._reads:
            self._before = deepcopy(observations)
        self._clock.look(self._before)
        return self._flagged(observations) if self._visible else observations

    def _flagged(self, observations: Any) -> NDArray[Any]:  # noqa: ANN401
        return add_flag(self.env.single_observation_space, observations, self._clock.cue)
