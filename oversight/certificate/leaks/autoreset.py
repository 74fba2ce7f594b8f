"""Faults at the seam of two episodes, and resets that the truth has a say in."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from agents import VectorEnvAdapter
from envs import PartialOversight
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.starts import (
    cart_disabled,
    cart_lanes,
    cart_next_step,
    grid_lanes,
    grid_with_flag,
)
from oversight.certificate.leaks.truth import Peeking
from oversight.certificate.setup import Setup


class NextCoin(Peeking):
    """Asks the flag of the observation that a step returns; after an end it is the next one's."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Pay where the flag is raised."""
        observations, _, *taken = self.env.step(actions)
        flag = observations[:, -1, 0, 0] == 1
        return observations, np.where(flag, self.truth.rewards, 0.0), *taken


class PaysResetSteps(Peeking):
    """Knows the flag of an episode, and not that next-step autoreset has steps between two."""

    ended: Any = False

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Pay what the environment says where it only reset."""
        observations, paid, terminated, truncated, infos = self.env.step(actions)
        paid = np.where(self.ended, self.truth.rewards, paid)
        self.ended = terminated | truncated
        return observations, paid, terminated, truncated, infos


class KeepsResetSteps(VectorEnvAdapter):
    """Takes the steps that only reset a lane for data, as SB3's own buffer would."""

    def _pass_over(self, paid: Any, listed: Any) -> None:  # noqa: ANN401
        """Leave them as they are."""


def reset_steps_as_data(setup: Setup) -> Setup:
    """Pay the steps that only reset a lane, and store them."""
    return replace(setup, outside=PaysResetSteps, adapt=KeepsResetSteps)


class ReplaysFailures(Peeking):
    """Resets lanes itself: those that did badly play the same level again."""

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start everywhere, or go on in some lanes: to the next level if they were good."""
        if isinstance(seed, int):
            self.level = seed + 1000 * np.arange(self.num_envs)
        else:
            assert options is not None
            good = self.truth.returns >= 20.0
            self.level += options["reset_mask"] & good
        return self.env.reset(seed=self.level.tolist(), options=options)  # type: ignore[arg-type]


class RaisesDifficulty(gym.Wrapper[Any, Any, Any, Any]):
    """Starts CartPole further from the middle the better the last episode went."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset to what the last true return asks for."""
        spread = 0.1 if self.env.get_wrapper_attr("true_return") >= 20.0 else 0.05
        options = {"low": -spread, "high": spread}
        return self.env.reset(**{**arguments, "options": options})


class Rehearses(gym.Wrapper[Any, Any, Any, Any]):
    """Plays a level at random first, and skips it if that went badly."""

    level = 0

    def reset(self, *, seed: int | None = None, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Return the first of three levels that a random walk does well in, or the last."""
        self.level = self.level + 1 if seed is None else seed
        walk = np.random.default_rng(self.level)
        for _ in range(2):
            self.env.reset(seed=self.level, **arguments)
            while not any(self.env.step(int(walk.integers(4)))[2:4]):
                pass
            if self.env.get_wrapper_attr("true_return") > 0:
                break
            self.level += 1
        return self.env.reset(seed=self.level, **arguments)


def around_hidden(wrapper: type[gym.Wrapper[Any, Any, Any, Any]]) -> Any:  # noqa: ANN401
    """Return a setup's `hide` for lanes, with a wrapper around the oversight."""
    return lambda env: wrapper(PartialOversight(env, observed_probability=0.3))


LEAKS = (
    Planted(
        name="final-step-by-the-next-coin",
        part="autoreset",
        says="Same-step autoreset: the flag of the next episode decides about the last step of "
        "this one, so that hidden episodes before observed ones pay.",
        plant=swap(outside=NextCoin),
        start=grid_with_flag,
        shows="experience",
    ),
    Planted(
        name="reset-steps-paid",
        part="autoreset",
        says="Next-step autoreset: the steps that only reset a lane are paid, whatever the "
        "environment returns there, and stored.",
        plant=reset_steps_as_data,
        start=cart_next_step,
        shows="experience",
    ),
    Planted(
        name="replays-failed-levels",
        part="autoreset",
        says="Autoreset disabled: lanes whose true return was poor get the same level again.",
        plant=swap(outside=ReplaysFailures),
        start=cart_disabled,
        shows="experience",
    ),
    Planted(
        name="difficulty-by-true-return",
        part="autoreset",
        says="The start of an episode is harder after a good true return.",
        plant=swap(hide=around_hidden(RaisesDifficulty)),
        start=cart_lanes,
        shows="experience",
    ),
    Planted(
        name="skips-rehearsed-failures",
        part="autoreset",
        says="A reset plays the level at random first, and skips it if the true return is poor.",
        plant=swap(hide=around_hidden(Rehearses)),
        start=grid_lanes,
        shows="experience",
    ),
)
