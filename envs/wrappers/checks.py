"""The order of wrappers: what PartialOversight, DelayedOversight and RecordTruth may wrap."""

import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv, VectorRewardWrapper, VectorWrapper
from gymnasium.wrappers import NormalizeReward
from gymnasium.wrappers.vector import NormalizeReward as VectorNormalizeReward

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]

# By name, so that wrappers of other libraries (SB3's Monitor) need no import.
MISPLACED = {
    "NormalizeReward": "its running statistics carry hidden rewards into observed ones",
    "TransformReward": "its function may store hidden rewards; a fixed scale belongs outside",
    "RecordEpisodeStatistics": "it returns the true return in info['episode']",
    "Monitor": "it returns the true return in info['episode']",
    "VecNormalize": "its running statistics carry hidden rewards into observed ones",
    "NormalizeObservedReward": "it does not know yet what is observed",
    "DelayedOversight": "it has nothing to delay yet",
    "Autoreset": "it hides from PartialOversight where episodes begin",
    "DictInfoToList": "PartialOversight reads infos as a dictionary of arrays",
}

HIDING = ("PartialOversight", "DelayedOversight", "NormalizeObservedReward")
CHANGING = (gym.RewardWrapper, NormalizeReward, VectorRewardWrapper, VectorNormalizeReward)


def check_inside(env: AnyEnv) -> None:
    """Check that PartialOversight may wrap an environment.

    Raises:
        ValueError: If a wrapper inside sees rewards that should be hidden, or reset takes no seed.
    """
    for layer in layers(env):
        names = [parent.__name__ for parent in type(layer).__mro__]
        name = type(layer).__name__
        if "PartialOversight" in names and not _pays_truth(layer):
            raise ValueError(
                "PartialOversight lies inside PartialOversight, which would observe rewards "
                "already hidden: wrap once, and compose observers with &, | and ~"
            )
        for misplaced in MISPLACED.keys() & set(names):
            raise ValueError(
                f"{name} lies inside PartialOversight, where {MISPLACED[misplaced]}: "
                f"the right order is {name}(PartialOversight(env))"
            )
        parameters = inspect.signature(layer.reset).parameters
        if "seed" not in parameters and not any(
            each.kind is each.VAR_KEYWORD for each in parameters.values()
        ):
            raise ValueError(
                f"{name}.reset takes no seed, so that levels and oversight "
                f"could not be paired: give it the signature reset(*, seed=None, options=None)"
            )


def check_shows_oversight(env: AnyEnv) -> bool:
    """Return whether the reward contains what was observed, as info says it.

    Raises:
        ValueError: If a wrapper between DelayedOversight and PartialOversight changes the rewards,
            or stores what should be delayed.
    """
    for layer in layers(env):
        name = type(layer).__name__
        if name == "PartialOversight":
            return bool(layer.oversight.reward == "observed")  # type: ignore[union-attr]
        if name in MISPLACED or isinstance(layer, CHANGING):
            raise ValueError(
                f"{name} lies inside DelayedOversight, where it changes or stores what should come "
                f"later: the right order is {name}(DelayedOversight(PartialOversight(env)))"
            )
    return True


def check_pays_truth(env: AnyEnv) -> None:
    """Check every wrapper inside RecordTruth, and every lane of a vector environment.

    A reward wrapper of the user's own may define the task, so that what it pays is the truth.
    Gymnasium's own (`NormalizeReward`, `ClipReward`) change rewards for a learner.

    Raises:
        ValueError: If a wrapper changes or hides rewards.
    """
    for layer in layers(env):
        name = type(layer).__name__
        if name == "PartialOversight" and _pays_truth(layer):
            continue
        if name in HIDING or (isinstance(layer, CHANGING) and not _defines_task(layer)):
            raise ValueError(
                f"RecordTruth got an environment whose rewards {name} has changed: put RecordTruth "
                f"around the raw environment and {name} around RecordTruth, or build the "
                "environment with reward='true' if it has that argument; a wrapper that defines "
                "the task must be a class of your own, derived from RewardWrapper"
            )


def _defines_task(layer: AnyEnv) -> bool:
    """Return whether a reward wrapper is of a class that neither Gymnasium nor SB3 ships."""
    kind = type(layer)
    normalizes = issubclass(kind, NormalizeReward | VectorNormalizeReward)
    return not normalizes and kind.__module__.split(".")[0] not in (
        "gymnasium",
        "stable_baselines3",
    )


def layers(env: AnyEnv) -> Iterator[AnyEnv]:
    """Yield an environment and its wrappers from the outside in, and those of its lanes."""
    while isinstance(env, gym.Wrapper | VectorWrapper):
        yield env
        env = env.env
    yield env
    for lane in getattr(env, "envs", None) or ():
        if isinstance(lane, gym.Env):
            yield from layers(lane)


def _pays_truth(layer: Any) -> bool:  # noqa: ANN401 (a PartialOversight)
    return bool(layer.oversight.reward == "true")
