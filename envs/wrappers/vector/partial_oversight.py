"""PartialOversight for vector environments: the single wrapper in every lane, on arrays."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from envs.observers import Observer
from envs.observers.observer import Mask
from envs.wrappers.checks import as_float, check_inside, check_tells_nothing
from envs.wrappers.oversight import Flag, Oversight, Proxy, Reward
from envs.wrappers.spaces import add_flag, asking_space, flagged_space, split_action
from envs.wrappers.vector.infos import (
    Arrays,
    StatefulWrapper,
    autoreset_mode,
    before_reset,
    make_infos,
    make_step_infos,
    parse_entry,
)

PREFIX = "oversight_"  # of the wrapper's own names in a state
RESETTING, PREVIOUS = PREFIX + "resetting", PREFIX + "observation"

Step = tuple[Any, NDArray[Any], Mask, Mask, dict[str, Any]]


class PartialOversight(StatefulWrapper, RecordConstructorArgs):
    """Shows the reward of some steps and hides that of all others, lane by lane.

    Lane i equals `envs.wrappers.PartialOversight` around the same environment, reset with the
    lane's seed: s + i, or the i-th of a sequence. Every autoreset mode is kept:
    - next step: the step that resets a lane pays 0.0 and is not observed;
    - same step: the flags of the step that ended an episode are in `final_info`, those beside it
      belong to the next episode, as everywhere in Gymnasium;
    - disabled: `reset(options={"reset_mask": mask})` starts the next episode of some lanes.

    Args:
        env: The vector environment. Wrappers that store or show rewards belong outside.
        observed_probability: Chance that an episode is observed; 0.1 if no observer is given.
        observer: One of `envs.observers`, instead of `observed_probability`.
        proxy: Function that returns the rewards of hidden steps, of all lanes at once, or the name
            of an entry of the environment's own infos.
        reward: Whether steps pay their reports (`"observed"`), the `"proxy"` or `"true"` rewards.
        flag: Whether observations show that the next step is observed; perhaps with errors.
        allow: Keys of the environment's own infos that are kept.
        seed: Selects another oversight of the same levels.

    Raises:
        ValueError: If an argument is out of its range, or a wrapper inside would leak rewards.
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
        arguments: dict[str, Any] = {
            "observed_probability": observed_probability,
            "observer": observer,
            "proxy": proxy,
            "reward": reward,
            "flag": flag,
            "allow": allow,
            "seed": seed,
        }
        RecordConstructorArgs.__init__(self, **arguments)
        StatefulWrapper.__init__(self, env)
        self._truth_inside = check_inside(env)
        check_lane_rewards(env)
        self.oversight = Oversight(env.num_envs, **arguments)
        if self.oversight.has_flag:
            self.single_observation_space = flagged_space(env.single_observation_space)
            self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        if self.oversight.agent_asks:
            self.single_action_space = asking_space(env.single_action_space)
            self.action_space = batch_space(self.single_action_space, env.num_envs)
        self._mode = autoreset_mode(env)
        self._none = np.zeros(env.num_envs, dtype=np.bool_)
        self._resetting = self._none  # the lanes that the next step only resets
        self._previous: Any = None  # the observations before the next step, if they are read

    @property
    def paid_reward(self) -> Reward:
        """What its steps pay: the argument `reward`, by which a learner can refuse another one."""
        return self.oversight.reward

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episode 0 of the lanes' seeds, or the next episode of every lane.

        With `options={"reset_mask": mask}` only the lanes of the mask are reset.
        """
        mask = ~self._none
        if options is not None and "reset_mask" in options:
            mask = np.array(options["reset_mask"])
        # A copy, since Gymnasium takes the mask out of the options that it is given.
        inside = None if options is None else dict(options)
        observations, inner = self.env.reset(seed=seed, options=inside)  # type: ignore[arg-type]
        if not self._truth_inside:
            check_tells_nothing(inner)
        self.oversight.reset(seed, np.flatnonzero(mask))
        self._started = True
        self._resetting = self._resetting & ~mask
        infos = make_infos(self._none.copy(), np.zeros(self.num_envs), mask)
        return self._look(observations), self.oversight.select_infos(inner) | infos

    def step(self, actions: Any) -> Step:  # noqa: ANN401 (the environment's)
        """Take a step in every lane, and pay the rewards that are observed.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If an observed reward is not finite, rewards are not one number for each
                lane, or an action is not one of the action space with queries.
        """
        if not self._started:
            raise ResetNeeded("no episode is running: call reset() before step()")
        question = self._none
        if self.oversight.agent_asks:
            actions, question = split_action(self.env.single_action_space, np.asarray(actions))  # type: ignore[arg-type]
        try:
            observations, rewards, terminated, truncated, inner = self.env.step(actions)
        except OverflowError as error:  # of the array in which lanes of Gymnasium put rewards
            name = type(self.env.unwrapped).__name__
            raise ValueError(
                f"PartialOversight needs finite rewards, a step of {name} gave a number that no "
                f"float holds ({error}): repair the environment, or scale its reward in a wrapper "
                "inside PartialOversight"
            ) from error
        rewards = check_rewards(rewards, self.num_envs)
        ended = (terminated | truncated).astype(np.bool_, copy=False)
        # the lanes that ended and already are in their next episode
        restarted = ended if self._mode is AutoresetMode.SAME_STEP and ended.any() else None
        arrival = self._arrival(observations, inner, restarted)
        if self.oversight.decides_late:
            self.oversight.look(self._previous, question, arrival)
        resting, entry = self._resetting, self._proxy_entry(inner, restarted)
        observed = self.oversight.observed & ~resting
        reported = self.oversight.report(rewards, observed)
        step = (self._previous, actions, arrival, terminated, truncated)
        paid = self.oversight.pay(rewards, reported, observed, step, resting=resting, entry=entry)
        self.oversight.advance(self._resetting)
        infos = self._make_infos(observed, reported, inner, restarted, arrival)
        beginning = self._resetting if restarted is None else restarted
        if beginning.any():
            self.oversight.begin(np.flatnonzero(beginning))
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended
        return self._look(observations), paid, terminated, truncated, infos

    def _proxy_entry(
        self, inner: dict[str, Any], restarted: Mask | None
    ) -> NDArray[np.float64] | None:
        """Return the entry of the infos that the proxy is, [n], or None if it is a function."""
        name = self.oversight.proxy_entry
        return None if name is None else parse_entry(inner, name, restarted, self._resetting)

    def _arrival(self, observations: Any, inner: dict[str, Any], restarted: Mask | None) -> Any:  # noqa: ANN401
        """Return what each step led to, before any reset, as far as it is read."""
        if restarted is None or not (self.oversight.reads_observations or self.oversight.has_flag):
            return observations
        space = self.env.single_observation_space
        return before_reset(space, observations, inner["final_obs"], restarted)

    def _make_infos(
        self,
        observed: Mask,
        reported: NDArray[Any],
        inner: dict[str, Any],
        restarted: Mask | None,
        arrival: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Return the infos of a step, with the environment's own entries that are allowed."""
        final_obs = inner.get("final_obs")
        if restarted is not None and self.oversight.has_flag:
            self.oversight.look(arrival)  # for the flags of the last observations
            final_obs = self._last_of(self._with_flags(arrival), restarted)
        infos = make_step_infos(observed, reported.astype(np.float64), restarted, final_obs)
        if self.oversight.allow and restarted is not None:
            infos["final_info"] |= self.oversight.select_infos(inner.get("final_info", {}))
        return self.oversight.select_infos(inner) | infos

    def _own_state(self) -> Arrays:
        own = {PREFIX + name: array for name, array in self.oversight.get_state().items()}
        own[RESETTING] = self._resetting
        if self.oversight.reads_observations:
            if not isinstance(self._previous, np.ndarray):
                raise ValueError(
                    "the state of PartialOversight holds the observations that its observer or "
                    f"proxy reads, which must be arrays, got {self.env.single_observation_space}: "
                    "flatten them in a wrapper inside"
                )
            own[PREVIOUS] = self._previous
        return own

    def _check_own_state(self, own: Arrays) -> None:
        if own[RESETTING].any() and self._mode is not AutoresetMode.NEXT_STEP:
            raise ValueError(
                f"state[{RESETTING!r}] must be all False with {self._mode}, where no step resets: "
                "was it saved with another autoreset mode?"
            )

    def _set_own_state(self, own: Arrays) -> None:
        self.oversight.set_state({name: own[PREFIX + name] for name in self.oversight.get_state()})
        self._resetting = own[RESETTING]
        self._previous = own.get(PREVIOUS)
        self.oversight.look(self._previous)

    def _look(self, observations: Any) -> Any:  # noqa: ANN401
        """Decide about the next steps, and return the observations with their flags."""
        if self.oversight.reads_observations:
            self._previous = deepcopy(observations)
        self.oversight.look(self._previous)
        return self._with_flags(observations) if self.oversight.has_flag else observations

    def _last_of(self, observations: Any, ended: Mask) -> NDArray[Any]:  # noqa: ANN401
        """Return Gymnasium's `final_obs`: an array, or an object for each lane that ended."""
        if isinstance(observations, np.ndarray):
            return observations
        final = np.full(self.num_envs, None, dtype=np.object_)
        for lane, observation in enumerate(iterate(self.observation_space, observations)):
            if ended[lane]:
                final[lane] = observation
        return final

    def _with_flags(self, observations: Any) -> Any:  # noqa: ANN401
        return add_flag(self.env.single_observation_space, observations, self.oversight.shown)


class LaneRewards(np.ndarray[Any, np.dtype[np.float64]]):
    """An array of rewards that converts no text and no list to a number, as NumPy's own do."""

    def __setitem__(self, lane: Any, reward: object) -> None:  # noqa: ANN401 (as in NumPy)
        super().__setitem__(lane, as_float(reward, "PartialOversight"))


def check_lane_rewards(env: VectorEnv[Any, Any, NDArray[Any]]) -> None:
    """Let the lanes of a `SyncVectorEnv` pay nothing that the single wrapper refuses.

    It writes what each lane pays into an array, which takes "1" or a tensor of one value for 1.0.
    """
    if isinstance(env.unwrapped, SyncVectorEnv):
        env.unwrapped._rewards = np.zeros(env.num_envs).view(LaneRewards)


def check_rewards(rewards: object, num_envs: int) -> NDArray[Any]:
    """Return the rewards of a vector environment as an array of floats.

    Raises:
        ValueError: If they are not one number for each lane.
    """
    array = np.asarray(rewards)
    kind = array.dtype.kind
    if array.shape != (num_envs,) or kind not in "fiub":
        raise ValueError(
            f"PartialOversight needs one scalar reward a lane, numbers of shape ({num_envs},), "
            f"the environment gave {array.dtype} of shape {array.shape}: combine several rewards "
            f"into one in a wrapper inside PartialOversight"
        )
    return array if kind == "f" else array.astype(np.float64)
