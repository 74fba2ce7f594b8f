"""Oversight of some lanes: which steps are observed, what is reported of them, and what they pay.

`PartialOversight` wraps this core around vector environments, and around single ones as the case of
one lane.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.observers import (
    EpisodeCoin,
    Flips,
    InformationLevel,
    NoisyFlag,
    Observer,
    Query,
    StepContext,
    random_streams,
)
from envs.observers.observer import Mask, check_function, check_observer, parts

Flag = Literal["hidden", "visible"] | NoisyFlag
Reward = Literal["observed", "proxy", "true"]
Proxy = Callable[[Any, Any, Any, Mask, Mask], ArrayLike] | str
Lanes = slice | NDArray[np.intp] | Mask

OWN_KEYS = ("observed", "observed_reward")
OF_REWARDS = re.compile(r"reward|\breturns?\b|(^|_)returns?(_|$)", re.IGNORECASE)
"""Found in names of info entries that hold a reward, or a part of it."""
PROXY_ARGUMENTS = ("previous_observation", "action", "observation", "terminated", "truncated")


class Oversight:
    """Counts the episodes and steps of every lane, asks the observer about them, and pays them.

    An observer that decides by episode is asked when an episode begins; any other is asked about
    every step, by `look`.

    Attributes:
        started: Whether an episode was started.
        has_flag: Whether the observation has a flag.
        query: The observer's query, if it contains one.
        agent_asks: Whether the agent queries, so that each action has a version with a query.
        by_episode: Whether the observer decides about whole episodes.
        decides_late: Whether the observer decides about a step only after the agent's action.
        reads_observations: Whether the observer or the proxy reads observations.
        proxy_entry: The entry of the environment's infos that the proxy is, or None.
        observed: Whether the step that each lane takes next is observed, [n].
        shown: What the flag shows of that step, [n]; meaningless if the flag is hidden.
        flips: Which reports of that step are flipped, or None if the observer never flips any.
        noise: What is added to the report of that step, [n], or None if reports have no noise.
        asks: Whether that step is the first of its episode to query the overseer, [n].

    Args:
        num_lanes: Number of lanes.
        observed_probability: Chance that an episode is observed, if no observer is given.
        observer: Decides which steps are observed.
        proxy: Function of a step that returns what it pays if it is hidden, [n], or the name of
            the entry of its infos that says so.
        reward: Whether steps pay their reports, the proxy or the true reward.
        flag: What the observation shows of the decisions.
        allow: Keys of the environment's infos that are kept.
        seed: Selects one of many oversights of the same levels.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(  # noqa: PLR0913 (the arguments of `PartialOversight`)
        self,
        num_lanes: int,
        *,
        observed_probability: float | None,
        observer: Observer | None,
        proxy: Proxy | None,
        reward: Reward,
        flag: Flag,
        allow: tuple[str, ...],
        seed: int | None,
    ) -> None:
        self._observer = choose_observer(observed_probability, observer)
        check_oversight(self._observer, flag)
        check_payment(proxy, reward, allow, seed)
        self.allow, self.reward = allow, reward
        self._proxy, self._flag, self._seed_argument = proxy, flag, seed
        self._level = self._observer.information_level
        queries = (each for each in parts(self._observer) if isinstance(each, Query))
        self.query: Query | None = next(queries, None)
        self.has_flag = flag != "hidden"
        self.agent_asks = self.query is not None and self.query.rule is None
        self.by_episode = self._level == InformationLevel.EPISODE
        self.decides_late = self._level >= InformationLevel.ACTION
        self.proxy_entry = proxy if isinstance(proxy, str) else None
        self.reads_observations = callable(proxy) or self._level >= InformationLevel.OBSERVATION
        self.started = False
        self.observed: Mask = np.zeros(num_lanes, dtype=np.bool_)
        self.shown: Mask = self.observed.copy()
        self.flips: Flips | None = None
        self.noise: NDArray[np.float64] | None = None
        self.asks: Mask = self.observed.copy()
        self._asked: Mask = self.observed.copy()  # by earlier steps of the episode
        self._choice = np.array([seed or 0], dtype=np.uint64)
        counters = np.zeros((4, num_lanes), dtype=np.uint64)
        self._seed, self._episode, self._step, self._played = counters

    def reset(self, seed: int | Sequence[int] | None, lanes: Lanes) -> None:
        """Start episode 0 of the seeds of some lanes, or without seeds their next episodes.

        Args:
            seed: Seed of lane 0, to which others add their numbers, or every lane's seed. None
                starts the next episodes, and at the first call those of a random seed.
            lanes: The lanes that are reset.
        """
        if seed is None and self.started:
            self.begin(lanes)
            return
        if seed is None:
            drawn = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
            seed = drawn if self._seed_argument is None else 0
        seeds = random_streams.lane_seeds(seed, len(self._seed))[lanes]
        # Index 1, since the grid's levels come from index 0 of the same sequence.
        lane = random_streams.split(seeds, np.ones(1, dtype=np.uint64))
        self._seed[lanes] = random_streams.split(lane, self._choice)
        for counter in (self._episode, self._step, self._played):
            counter[lanes] = 0
        self._asked[lanes] = False
        if self.by_episode:
            self._decide_episodes(lanes)
        self.started = True

    def begin(self, lanes: Lanes) -> None:
        """Go to the next episode of some lanes."""
        self._episode[lanes] += np.uint64(1)
        if self.by_episode:
            self._decide_episodes(lanes)
            return
        self._played[lanes] += self._step[lanes]
        self._step[lanes] = 0
        self._asked[lanes] = False

    def advance(self, resting: Mask) -> None:
        """Count the step just taken in every lane, except in those that only rested."""
        if self.by_episode:  # decisions do not depend on the step
            return
        self._step += np.uint64(1)
        self._step[resting] -= np.uint64(1)
        if self.query is not None:
            self._asked |= self.asks

    def look(
        self,
        observation: Any = None,  # noqa: ANN401
        question: Mask | None = None,
        arrival: Any = None,  # noqa: ANN401
    ) -> None:
        """Decide about the next step of every lane, if that takes more than the episode's number.

        An observer that decides late does so only in the call that passes `question`.

        Args:
            observation: What the agents see before the step, [n, ...]; read from level
                `OBSERVATION` on.
            question: Whether their actions query the overseer, [n].
            arrival: What they see after the step, [n, ...]; read at level `ARRIVAL`.
        """
        if self.by_episode or (self.decides_late and question is None):
            return
        asked = None
        if self.query is not None:
            if self.query.rule is not None:
                question = self.query.asks(observation, len(self._asked))
            assert question is not None
            self.asks = question & ~self._asked
            asked = question | self._asked
        counters = self._seed, self._episode, self._step, self._played
        context = StepContext(*counters, observation, asked, arrival)
        observed, flips, noise = self._observer.decide(context)
        # Copies, since an observer may return an array that it goes on writing to.
        self.observed = observed.copy()
        self.flips = None if flips is None else Flips(*(mask.copy() for mask in flips))
        self.noise = None if noise is None else noise.copy()
        self.shown = self._flag_of(self.observed, context)

    def report(self, rewards: NDArray[Any], observed: Mask) -> NDArray[Any]:
        """Return what the observer reports of each lane's step, [n], and 0.0 for hidden steps.

        Raises:
            ValueError: If an observed reward is not finite.
        """
        shown = np.where(observed, rewards, rewards.dtype.type(0))
        check_finite(shown, "the environment")
        if self.flips is not None:
            wrong = np.where(shown > 0, self.flips.rewards, self.flips.punishments & (shown < 0))
            shown = np.where(wrong, -shown, shown)
        if self.noise is not None:
            np.add(shown, self.noise, out=shown, where=observed, casting="same_kind")
        return shown

    def pay(
        self,
        rewards: NDArray[Any],
        reported: NDArray[Any],
        observed: Mask,
        step: tuple[Any, ...],
        *,
        resting: Mask,
        entry: Any = None,  # noqa: ANN401 (of the environment)
    ) -> NDArray[Any]:
        """Return what every step pays, in the dtype of the rewards, [n].

        Args:
            rewards: The true rewards, [n]; read only if they are paid.
            reported: What the observer reported, [n].
            observed: Whether each lane's step was observed, [n].
            step: The proxy's arguments.
            resting: The lanes whose step only reset them, [n].
            entry: The entry of the infos that the proxy is, [n]; None if it is a function.

        Raises:
            ValueError: If the proxy does not return one finite number for each lane.
        """
        if self.reward == "true":
            return rewards.copy()
        hidden = ~observed if self.reward == "observed" else np.ones_like(observed)
        paid = np.where(hidden, reported.dtype.type(0), reported)
        hidden &= ~resting
        if self._proxy is not None and hidden.any():
            if callable(self._proxy):
                guess = check_proxy(self._proxy(*step), hidden.shape)
            else:  # other lanes may lack the entry
                guess = check_proxy(np.where(hidden, entry, 0.0), hidden.shape)
            np.copyto(paid, guess, "same_kind", where=hidden)
        if self.query is not None:
            paid[self.asks & ~resting] -= paid.dtype.type(self.query.cost)
        return paid

    def select_infos(self, infos: Mapping[str, Any]) -> dict[str, Any]:
        """Return the allowed entries of an environment's infos, with their masks."""
        names = [name for key in self.allow for name in (key, f"_{key}")]
        return {name: infos[name] for name in names if name in infos}

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy where every lane is, [n] each; all decisions follow from it."""
        return {
            "seed": self._seed.copy(),
            "episode": self._episode.copy(),
            "step": self._step.copy(),
            "played": self._played.copy(),
            "asked": self._asked.copy(),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go to where `get_state` was called; `look` must follow, with what the agents see."""
        self._seed[:], self._episode[:] = state["seed"], state["episode"]
        self._step[:], self._played[:] = state["step"], state["played"]
        self._asked[:] = state["asked"]
        if self.by_episode:
            self._decide_episodes(slice(None))

    def _decide_episodes(self, lanes: Lanes) -> None:
        """Decide about the running episodes of some lanes."""
        seed, episode = self._seed[lanes], self._episode[lanes]
        zero = np.zeros_like(seed)
        context = StepContext(seed, episode, zero, zero)
        self.observed[lanes], flips, noise = self._observer.decide(context)
        self.shown[lanes] = self._flag_of(self.observed[lanes], context)
        if flips is not None:
            if self.flips is None:
                self.flips = Flips(np.zeros_like(self.observed), np.zeros_like(self.observed))
            self.flips.rewards[lanes], self.flips.punishments[lanes] = flips
        if noise is not None:
            if self.noise is None:
                self.noise = np.zeros(len(self.observed))
            self.noise[lanes] = noise

    def _flag_of(self, observed: Mask, context: StepContext) -> Mask:
        if isinstance(self._flag, NoisyFlag):
            return self._flag.show(observed, context, self._level)
        return observed


def choose_observer(observed_probability: float | None, observer: Observer | None) -> Observer:
    """Return the given observer, or an episode coin with the given probability.

    Raises:
        ValueError: If both are given, or the observer is not one.
    """
    if observer is None:
        return EpisodeCoin(0.1 if observed_probability is None else observed_probability)
    if observed_probability is not None:
        raise ValueError(
            f"give observed_probability or observer, not both: "
            f"got {observed_probability!r} and {observer!r}"
        )
    check_observer(observer)
    return observer


def check_oversight(observer: Observer, flag: Flag) -> None:
    """Raise a ValueError if a flag is none, or the observer decides too late for one."""
    if not isinstance(flag, NoisyFlag) and flag not in ("hidden", "visible"):
        raise ValueError(f"flag must be 'hidden', 'visible' or a NoisyFlag, got {flag!r}")
    if flag != "hidden" and observer.information_level >= InformationLevel.ACTION:
        raise ValueError(
            f"flag={flag!r} shows before a step whether it is observed, which an observer "
            f"of arrivals or of the agent's queries cannot know: take Region(..., at='start'), "
            f"Query(rule=...), or flag='hidden'"
        )
    queries = [each for each in parts(observer) if isinstance(each, Query)]
    if len(queries) > 1:
        raise ValueError(
            f"observer must contain at most one Query, so that a query has one price, got "
            f"{queries}: compose one Query with other observers"
        )


def check_payment(
    proxy: Proxy | None, reward: Reward, allow: tuple[str, ...], seed: int | None
) -> None:
    """Raise a ValueError if one of the other arguments is out of its range."""
    if reward not in get_args(Reward):
        raise ValueError(f"reward must be one of {get_args(Reward)}, got {reward!r}")
    if isinstance(proxy, str):
        check_keys("proxy", (proxy,))
    elif proxy is not None:
        check_function(proxy, "proxy", PROXY_ARGUMENTS)
    if not isinstance(allow, list | tuple) or not all(isinstance(key, str) for key in allow):
        raise ValueError(f"allow must be a tuple of info keys, got {allow!r}")
    check_keys("allow", allow)
    integer = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if seed is not None and not (integer and 0 <= seed < 2**64):
        raise ValueError(f"seed must be None or from 0 to 2**64 - 1, got {seed!r}")


def check_keys(name: str, keys: Sequence[str]) -> None:
    """Raise a ValueError if an argument names info entries of wrappers, or such as hold rewards."""
    if refused := {*OWN_KEYS, "final_info", "final_obs", "episode"} & set(keys):
        raise ValueError(
            f"{name} must name keys of the environment itself, got {sorted(refused)}: "
            f"PartialOversight writes its own, and statistics belong outside it"
        )
    rewards = sorted(key for key in keys if OF_REWARDS.search(key))
    if rewards:
        raise ValueError(
            f"{name} must name keys that do not contain the reward, got {rewards}, which would "
            "show the learner what is hidden: leave them out, or, if an entry of such a name "
            "holds no reward, rename it in a wrapper inside"
        )


def check_proxy(rewards: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a proxy's rewards as an array, [n].

    Raises:
        ValueError: If they are not one finite number for each lane.
    """
    array = np.asarray(rewards)
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ValueError(
            f"proxy must return one reward for each lane, numbers of shape {shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return check_finite(array.astype(np.float64), "proxy")


def check_finite(rewards: NDArray[Any], source: str) -> NDArray[Any]:
    """Return rewards, or raise a ValueError if one of them is not finite."""
    finite = np.isfinite(rewards)
    if not finite.all():
        raise ValueError(
            f"PartialOversight needs finite rewards, {source} gave "
            f"{rewards[~finite][0]}: repair the environment, or replace its reward in "
            f"a wrapper inside PartialOversight"
        )
    return rewards
