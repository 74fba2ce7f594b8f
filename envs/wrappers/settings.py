"""What PartialOversight is built with, single or vector, checked once; and its proxy rewards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.observers import EpisodeCoin, Observer, Query, Scope
from envs.observers.function import check_function
from envs.observers.observer import Mask, check_observer, parts
from envs.wrappers.noisy_flag import Flag, NoisyFlag

Reward = Literal["observed", "proxy"]
Proxy = Callable[[Any, Any, Any, Mask, Mask], ArrayLike]
Numbers = NDArray[np.float64]

KEYS = ("observed", "observed_reward")
SEEN = ("previous_observation", "action", "observation", "terminated", "truncated")


@dataclass(frozen=True)
class Settings:
    """Who watches, what is paid where nobody does, and what the agent is told.

    Raises:
        ValueError: If an argument is out of its range.
    """

    observer: Observer
    proxy: Proxy | None
    reward: Reward
    flag: Flag
    allow: tuple[str, ...]
    seed: int | None

    def __post_init__(self) -> None:
        if self.reward not in get_args(Reward):
            raise ValueError(f"reward must be one of {get_args(Reward)}, got {self.reward!r}")
        self._check_oversight()
        if self.proxy is not None:
            check_function(self.proxy, "proxy", SEEN)
        if isinstance(self.allow, str) or not all(isinstance(key, str) for key in self.allow):
            raise ValueError(f"allow must be a tuple of info keys, got {self.allow!r}")
        if refused := {*KEYS, "final_info", "final_obs", "episode"} & set(self.allow):
            raise ValueError(
                f"allow must name keys of the environment itself, got {sorted(refused)}: "
                f"PartialOversight writes its own, and statistics belong outside it"
            )
        integer = isinstance(self.seed, int | np.integer)
        if self.seed is not None and not (integer and 0 <= self.seed < 2**64):
            raise ValueError(f"seed must be None or from 0 to 2**64 - 1, got {self.seed!r}")

    def _check_oversight(self) -> None:
        if not isinstance(self.flag, NoisyFlag) and self.flag not in ("hidden", "visible"):
            raise ValueError(f"flag must be 'hidden', 'visible' or a NoisyFlag, got {self.flag!r}")
        if self.shows and self.observer.scope >= Scope.ACTION:
            raise ValueError(
                f"flag={self.flag!r} tells before a step whether it is observed, which an observer "
                f"of arrivals or of the agent's questions cannot: take Region(..., at='start'), "
                f"Query(rule=...), or flag='hidden'"
            )
        queries = [each for each in parts(self.observer) if isinstance(each, Query)]
        if len(queries) > 1:
            raise ValueError(
                f"observer must have one Query at most, so that a question has one price, got "
                f"{queries}: compose one Query with other observers"
            )

    @property
    def shows(self) -> bool:
        """Whether the observation has a flag."""
        return self.flag != "hidden"

    @property
    def query(self) -> Query | None:
        """What asks the overseer, if anything does."""
        return next((each for each in parts(self.observer) if isinstance(each, Query)), None)

    @property
    def price(self) -> float:
        """What the first question of an episode costs."""
        return 0.0 if self.query is None else self.query.cost

    @property
    def doubles(self) -> bool:
        """Whether each action can also be taken with a question."""
        return self.query is not None and self.query.rule is None

    @property
    def reads(self) -> bool:
        """Whether an observation is read: by the observer or by the proxy."""
        return self.proxy is not None or self.observer.scope >= Scope.OBSERVATION

    def first_seed(self) -> int:
        """Return the seed of lane 0 for a first reset that names none."""
        if self.seed is not None:
            return 0
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])

    @property
    def plain(self) -> bool:
        """Whether a step takes no more than the coin of its episode."""
        by_episode = self.observer.scope == Scope.EPISODE and self.proxy is None
        return by_episode and (self.reward, self.flag, self.allow) == ("observed", "hidden", ())

    def guess(self, *seen: Any) -> Numbers:  # noqa: ANN401 (the proxy's arguments)
        """Return the proxy's reward of each lane.

        Raises:
            ValueError: If it is not one finite number for each.
        """
        assert self.proxy is not None
        rewards = np.asarray(self.proxy(*seen))
        shape = seen[-1].shape
        if rewards.shape != shape or rewards.dtype.kind not in "fiub":
            raise ValueError(
                f"proxy must return one reward for each lane, numbers of shape {shape}, "
                f"got {rewards.dtype} of shape {rewards.shape}"
            )
        return check_finite(rewards.astype(np.float64), "proxy")


def choose_observer(observed_probability: float | None, observer: Observer | None) -> Observer:
    """Return the observer given, or the coin of an episode.

    Raises:
        ValueError: If both are given, or what is given is none.
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


def check_finite(rewards: NDArray[Any], source: str) -> NDArray[Any]:
    """Return rewards that are all finite.

    Raises:
        ValueError: If one is not.
    """
    finite = np.isfinite(rewards)
    if np.count_nonzero(finite) < finite.size:  # quicker than all()
        raise ValueError(
            f"PartialOversight needs finite rewards, {source} gave "
            f"{rewards[~finite][0]}: mend the environment, or replace its reward in "
            f"a wrapper inside PartialOversight"
        )
    return rewards


def allowed(infos: Mapping[str, Any], allow: Sequence[str]) -> dict[str, Any]:
    """Return the named entries of an environment's infos, with their masks."""
    names = [name for key in allow for name in (key, f"_{key}")]
    return {name: infos[name] for name in names if name in infos}
