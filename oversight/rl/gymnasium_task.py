"""Any registered environment as a task: whole episodes, their true returns, and how they end."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from agents.method_definition import Reward
from agents.ppo import PPOConfig
from envs.registration import require_registered
from envs.vectorization import vectorize
from envs.wrappers.vector.infos import parse_step_infos
from oversight.rl.config import TrainConfig
from oversight.rl.environment import (
    EPISODE_LIMIT,
    delay_and_normalize,
    hide,
    make_lane,
    make_lanes,
    propensity_of,
    with_propensity,
)
from oversight.rl.expressions import load_function
from oversight.rl.rendering import Screen, episode_screen, rendered
from oversight.rl.task import Metrics, Task, episodes_per_lane, mean

LANES = 64
"""Most lanes of an evaluation; each plays a fixed number of episodes, since counting the first ones
that end would favor short episodes."""
RATE = "_rate"
"""How the names of shares of episodes end."""
Outcome = Callable[[Any, float, bool, bool, dict[str, Any]], str | None]


@dataclass(slots=True)
class Episode:
    """The ground truth about an episode.

    Attributes:
        true_return: sum of its true rewards.
        length: its steps.
        success: the last value of `info["is_success"]`, if there was one.
        outcome: the name that the user's function gave its end, if any.
    """

    true_return: float = 0.0
    length: int = 0
    success: bool | None = None
    outcome: str | None = None


class TrueEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Records the ground truth about each episode; only evaluation wraps environments in it.

    Attributes:
        true_episodes: the episodes so far, the running one included.

    Args:
        env: the environment, which pays its true reward.
        outcome: function that names the end of an episode, if any.
    """

    def __init__(self, env: gym.Env[Any, Any], outcome: Outcome | None = None) -> None:
        super().__init__(env)
        self.true_episodes: list[Episode] = []
        self._outcome = outcome

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self.true_episodes.append(Episode())
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Take a step, and add it to its episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        episode = self.true_episodes[-1]
        episode.true_return += float(reward)
        episode.length += 1
        if "is_success" in info:
            episode.success = bool(info["is_success"])
        if self._outcome is not None and (terminated or truncated):
            last = (observation, float(reward), bool(terminated), bool(truncated), info)
            episode.outcome = check_outcome(self._outcome(*last))
        return observation, reward, terminated, truncated, info


def check_outcome(word: object) -> str | None:
    """Return the name that a function gave the end of an episode.

    Raises:
        ValueError: if that is not a word that can name a column.
    """
    if word is None or (isinstance(word, str) and word.isidentifier()):
        return word
    raise ValueError(f"outcome must return a word such as 'goal', or None, got {word!r}")


class Play(NamedTuple):
    """Episodes that a policy has played.

    Attributes:
        episodes: the ground truth about them, in the order of the lanes.
        observed: whether a step of each was observed, [episodes].
    """

    episodes: list[Episode]
    observed: NDArray[np.bool_]


class GymnasiumTask(Task):
    """Any registered environment, under the observer of the settings."""

    curves: ClassVar[Mapping[str, str]] = {
        "true_return": "all episodes",
        "true_return_observed": "observed episodes",
        "true_return_unobserved": "unobserved episodes",
        "length": "length of an episode",
    }

    @property
    def limit(self) -> int:
        """The horizon, the time limit of the id, or else `EPISODE_LIMIT`."""
        spec = require_registered(self.config.env)
        return self.config.horizon or spec.max_episode_steps or EPISODE_LIMIT

    @property
    def observation_size(self) -> int:
        """The numbers in an observation of a lane."""
        env = self._lane()
        env.close()
        return count_values(env.observation_space)

    def make_env(self, num_envs: int, reward: Reward) -> VectorEnv[Any, Any, Any]:
        """Return the environment of training, paying the reward that its user may see."""
        env = hide(self.config, make_lanes(self.config, num_envs), reward)
        return delay_and_normalize(self.config, env, self.config.ppo.gamma)

    def make_held_out(self, episodes: int) -> VectorEnv[Any, Any, Any]:
        """Return an environment for held-out episodes, with at most `LANES` lanes."""
        return self._make(episodes, "observed", self._lane)

    def measure(self, policy: BasePolicy, episodes: int, seed: int) -> Metrics:
        """Play whole episodes, and return the metrics."""
        return summarize_play(self.play(policy, episodes, seed))

    def play(self, policy: BasePolicy, episodes: int, seed: int) -> Play:
        """Play a fixed number of episodes in each lane, sampling actions."""
        outcome = None if self.config.outcome is None else load_function(self.config.outcome)
        record = partial(TrueEpisodes, outcome=outcome)
        env = self._make(episodes, "true", partial(self._lane, record))
        try:
            observed = play_episodes(policy, env, episodes, seed)
            played: Sequence[list[Episode]] = env.unwrapped.call("true_episodes")  # type: ignore[attr-defined]
        finally:
            env.close()
        first = [each[: len(flags)] for each, flags in zip(played, observed, strict=True)]
        return Play([*chain(*first)], np.array([*chain(*observed)], dtype=np.bool_))

    def flagged(self, observed: bool) -> TrainConfig | None:
        """Return the settings with all or no episodes observed; None if nothing shows that."""
        if self.config.flag == "hidden":
            return None
        return replace(self.config, observer=f"EpisodeCoin({int(observed)})", flag="visible")

    def headings(self, metrics: Mapping[str, Any]) -> dict[str, str]:
        """Return the columns of the table of results: returns, length, and what ended episodes."""
        return {
            "true_return": "return",
            "true_return_observed": "observed\nreturn",
            "true_return_unobserved": "unobserved\nreturn",
            "length": "length",
            "length_observed": "observed\nlength",
            "length_unobserved": "unobserved\nlength",
            **{name: name.removesuffix(RATE) for name in known_shares(metrics)},
        }

    def caption(self, metrics: Mapping[str, Any]) -> str:
        """Return what the columns of the table of results mean."""
        others = "; other columns: share of episodes" if known_shares(metrics) else ""
        return (
            f"{metrics['episodes']} fresh episodes each, of at most {self.limit:,} steps. return: "
            "mean sum of true rewards; length: mean number of steps; observed: of episodes of "
            f"which a step was observed; unobserved: of the others{others}"
        )

    def screen(self) -> Screen:
        """Return the pictures of the environment, under the oversight of the run."""
        make = partial(self._lane, render_mode="rgb_array")
        env = self._lane()
        modes = env.metadata.get("render_modes") or []
        env.close()
        if "rgb_array" not in modes:
            listed = ", ".join(str(mode) for mode in modes) or "nothing"
            raise ValueError(
                f"environment {self.config.env!r} renders no pictures for a film: its render_modes "
                f"must contain rgb_array, it has {listed}"
            )
        check_picture(make())
        return episode_screen(lambda: hide(self.config, make(), "true"))

    def complete(self, ppo: PPOConfig) -> PPOConfig:
        """Return hyperparameters with the probability that an episode is observed."""
        return with_propensity(ppo, propensity_of(self.config))

    def _make(
        self, episodes: int, reward: Reward, lane: Callable[[], gym.Env[Any, Any]]
    ) -> VectorEnv[Any, Any, Any]:
        """Return lanes for a number of episodes under oversight, which end by the limit.

        They are in this process, since starting others would take longer than a few episodes.
        """
        lanes = vectorize(lane, min(episodes, LANES))
        return hide(self.config, lanes, reward)  # type: ignore[no-any-return]

    def _lane(
        self,
        inside: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None,
        render_mode: str | None = None,
    ) -> gym.Env[Any, Any]:
        """Return a single environment whose episodes end by the limit."""
        return make_lane(
            self.config,
            inside,
            max_episode_steps=None if self.config.horizon else self.limit,
            render_mode=render_mode,
        )


def known_shares(metrics: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are shares of episodes, except those without any episode."""
    shares = [name for name in metrics if name.endswith(RATE)]
    return [name for name in shares if not math.isnan(metrics[name])]


def check_picture(env: gym.Env[Any, Any]) -> None:
    """Render one picture of an environment, since a package for that may be missing.

    Raises:
        ValueError: if it cannot be rendered.
    """
    try:
        env.reset(seed=0)
        rendered(env)
    except Exception as error:  # of the environment's own code
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{env} cannot be rendered for a film: {reason}") from error
    finally:
        env.close()


def count_values(space: gym.Space[Any]) -> int:
    """Return how many numbers a value of a space has; a text or a sequence counts as one."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return sum(count_values(part) for part in parts)
    return math.prod(space.shape or ())


def play_episodes(
    policy: BasePolicy, env: VectorEnv[Any, Any, Any], episodes: int, seed: int
) -> list[list[bool]]:
    """Play a fixed number of episodes in each lane; return whether a step of each was observed."""
    wanted = episodes_per_lane(episodes, env.num_envs)
    played: list[list[bool]] = [[] for _ in wanted]
    seen = np.zeros(env.num_envs, dtype=np.bool_)
    observations, _ = env.reset(seed=seed)
    while any(len(each) < number for each, number in zip(played, wanted, strict=True)):
        actions, _ = policy.predict(observations, deterministic=False)
        observations, _, terminated, truncated, infos = env.step(actions)
        ended = terminated | truncated
        seen |= parse_step_infos(infos, ended if ended.any() else None)[0]
        for lane in np.flatnonzero(ended).tolist():
            if len(played[lane]) < wanted[lane]:
                played[lane].append(bool(seen[lane]))
        seen &= ~ended
    return played


def summarize_play(play: Play) -> Metrics:
    """Return the metrics of some episodes; what there is none of is NaN."""
    episodes, observed = play
    returns = np.array([each.true_return for each in episodes])
    lengths = np.array([each.length for each in episodes])
    success = np.array([each.success for each in episodes if each.success is not None])
    named = sorted({each.outcome for each in episodes if each.outcome is not None})
    return {
        "true_return": mean(returns),
        "true_return_observed": mean(returns[observed]),
        "true_return_unobserved": mean(returns[~observed]),
        "length": mean(lengths),
        "length_observed": mean(lengths[observed]),
        "length_unobserved": mean(lengths[~observed]),
        f"success{RATE}": mean(success),
        **{
            f"{name}{RATE}": float(np.mean([each.outcome == name for each in episodes]))
            for name in named
        },
        "episodes": len(episodes),
    }
