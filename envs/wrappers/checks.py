"""What wrappers may wrap: the order of wrappers, and rewards that are numbers."""

import gc
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, VectorEnv, VectorRewardWrapper, VectorWrapper
from gymnasium.wrappers import NormalizeReward, OrderEnforcing
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
NORMALIZING = (NormalizeReward, VectorNormalizeReward)
CHANGING = (gym.RewardWrapper, VectorRewardWrapper, *NORMALIZING)

NO_REALS = (str, bytes, bytearray, complex, np.complexfloating)  # though `float` takes some

TWICE = (
    "which would observe rewards already hidden: wrap once, and compose observers with &, | and ~, "
    "or build the environment inside with reward='true' if it has that argument"
)


def check_inside(env: AnyEnv) -> bool:
    """Check that PartialOversight may wrap an environment.

    Returns:
        Whether its info may say what is observed, since an oversight inside pays the truth.

    Raises:
        ValueError: If a wrapper inside hides rewards or sees some that should be hidden, or reset
            takes no seed.
    """
    for layer in layers(env):
        names = [parent.__name__ for parent in type(layer).__mro__]
        name = type(layer).__name__
        for misplaced in MISPLACED.keys() & set(names):
            raise ValueError(
                f"{name} lies inside PartialOversight, where {MISPLACED[misplaced]}: "
                f"the right order is {name}(PartialOversight(env)){_in_make_vec_env(misplaced)}"
            )
        parameters = inspect.signature(layer.reset).parameters
        if "seed" not in parameters and not any(
            each.kind is each.VAR_KEYWORD for each in parameters.values()
        ):
            raise ValueError(
                f"{name}.reset takes no seed, so that levels and oversight "
                f"could not be paired: give it the signature reset(*, seed=None, options=None)"
            )
    oversights = list(_oversights(env))
    if not all(oversights):
        raise ValueError(f"PartialOversight lies inside PartialOversight, {TWICE}")
    return bool(oversights)


def if_given(options: dict[str, Any] | None) -> dict[str, Any]:
    """Return the argument `options` of `reset`, unless it is empty: some environments take none."""
    return {"options": options} if options else {}


def check_tells_nothing(info: dict[str, Any]) -> None:
    """Check the info of a reset of the environment inside PartialOversight.

    Raises:
        ValueError: If it says what is observed, so that something inside already hides rewards.
    """
    if "observed" in info and "observed_reward" in info:
        raise ValueError(
            "the environment inside PartialOversight says in info what is observed: an oversight "
            f"lies inside it, {TWICE}, or drop 'observed' from its info if it pays its true reward"
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


def check_pays_truth(env: AnyEnv, rewards_define_task: bool = False) -> None:
    """Check every wrapper inside RecordTruth, and every lane of a vector environment.

    A reward wrapper of the user's own may define the task, so that what it pays is the truth, and
    one inside what `gym.make` returned belongs to the registered task. Others of Gymnasium and SB3
    (`NormalizeReward`, `ClipReward`) change rewards for a learner.

    Args:
        env: The environment.
        rewards_define_task: Whether those others define the task, too; normalizers never do.

    Raises:
        ValueError: If a wrapper changes or hides rewards.
    """
    if not all(_oversights(env)):
        raise ValueError(_changed("PartialOversight"))
    registered = False
    for layer in layers(env):
        name = type(layer).__name__
        if name in HIDING and name != "PartialOversight":
            raise ValueError(_changed(name))
        if isinstance(layer, NORMALIZING):
            raise ValueError(_changed(name))
        if _may_change(layer) and not (registered or rewards_define_task):
            raise ValueError(
                f"{_changed(name)}, or give rewards_define_task=True if what {name} pays is the "
                "task's true reward"
            )
        registered = isinstance(layer, gym.Wrapper) and (
            registered or isinstance(layer, OrderEnforcing)
        )


def _may_change(layer: AnyEnv) -> bool:
    """Return whether a layer is a reward wrapper that Gymnasium or SB3 ships."""
    shipped = type(layer).__module__.split(".")[0] in ("gymnasium", "stable_baselines3")
    return shipped and isinstance(layer, CHANGING)


def layers(env: AnyEnv) -> Iterator[AnyEnv]:
    """Yield an environment and its wrappers from the outside in, and those of its lanes."""
    while isinstance(env, gym.Wrapper | VectorWrapper):
        yield env
        env = env.env
    yield env
    for lane in getattr(env, "envs", None) or ():
        if isinstance(lane, gym.Env):
            yield from layers(lane)


def as_float(reward: object, wrapper: str) -> float:
    """Return a reward as a float, which may be infinite or NaN.

    Raises:
        ValueError: If it is not a number, or one that no float holds.
    """
    if isinstance(reward, float):
        return float(reward)
    numeric: Any = reward
    try:
        if not isinstance(reward, NO_REALS) and _is_scalar(reward):
            return float(numeric)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(not_a_reward(reward, wrapper))


def as_finite(reward: object, wrapper: str) -> float:
    """Return a reward as a float, or raise a ValueError if it is not a finite number."""
    value = float(reward) if isinstance(reward, float) else as_float(reward, wrapper)
    if math.isfinite(value):
        return value
    raise ValueError(not_a_reward(reward, wrapper))


def as_entry(info: Mapping[str, Any], name: str) -> float:
    """Return an entry of an info that a proxy is, as a float.

    Raises:
        ValueError: If there is no such entry, or it is not a number.
    """
    if name not in info:
        raise ValueError(no_entry(info, name))
    return as_float(info[name], "the proxy of PartialOversight")


def no_entry(info: Mapping[str, Any], name: str) -> str:
    """Return the message about an info without the entry that a proxy is."""
    own = sorted(key for key in info if not key.startswith(("_", "final_")))
    return (
        f"proxy {name!r} is no entry of the environment's info, which has {own}: name an entry "
        "that is present at every step, or give a function, on a command line as module:name"
    )


def not_a_reward(reward: object, wrapper: str) -> str:
    """Return the message about what an environment gave as its reward, in one line."""
    try:
        given = " ".join(repr(reward).split())
    except ValueError:  # Python prints no integer of more than 4,300 digits
        given = f"{type(reward).__name__} too long to print"
    given = given if len(given) <= 60 else f"{given[:60]}..."
    return (
        f"{wrapper} needs a finite number as reward, the environment gave {given}: "
        f"repair the environment, or replace its reward in a wrapper inside {wrapper}"
    )


def _is_scalar(reward: object) -> bool:
    """Return whether a reward has no axes; a list has one, whatever it contains."""
    return not isinstance(reward, list | tuple) and getattr(reward, "ndim", 0) == 0


def _oversights(env: object, seen: set[int] | None = None) -> Iterator[bool]:
    """Yield of each PartialOversight in an environment whether it pays the truth.

    It looks into wrappers, into lanes, also those in other processes, and into environments that
    other environments hold.
    """
    seen = set() if seen is None else seen
    if id(env) in seen:
        return
    seen.add(id(env))
    if any(parent.__name__ == "PartialOversight" for parent in type(env).__mro__):
        yield getattr(getattr(env, "oversight", None), "reward", None) == "true"
    if isinstance(env, AsyncVectorEnv):
        # the outermost oversight of a lane decides about its rewards; a worker ends when asked
        # for an attribute that it lacks
        if all(env.call("has_wrapper_attr", "paid_reward")):
            yield from (paid == "true" for paid in env.call("paid_reward"))
        return
    # what else a wrapper holds takes no part in its steps; `vars` of an environment would make its
    # attributes slower from then on, since Python then keeps them in a dictionary
    wraps = isinstance(env, gym.Wrapper | VectorWrapper)
    for inside in [env.env] if wraps else _environments(gc.get_referents(env)):  # type: ignore[attr-defined]
        yield from _oversights(inside, seen)


def _environments(values: Iterable[object], depth: int = 2) -> Iterator[AnyEnv]:
    """Yield the environments among some values, and in lists and dictionaries among them."""
    for value in values:
        if isinstance(value, gym.Env | VectorEnv):
            yield value
        elif depth and isinstance(value, list | tuple | dict):
            inside = value.values() if isinstance(value, dict) else value
            yield from _environments(inside, depth - 1)


def _changed(name: str) -> str:
    return (
        f"RecordTruth got an environment whose rewards {name} has changed: put RecordTruth "
        f"around the raw environment and {name} around RecordTruth, or build the "
        "environment with reward='true' if it has that argument"
    )


def _in_make_vec_env(misplaced: str) -> str:
    """Return what to do where SB3's `make_vec_env` has put its Monitor inside."""
    if misplaced != "Monitor":
        return ""
    return (
        "; SB3's make_vec_env puts wrapper_class around its Monitor, so give it the function that "
        "builds the environment: make_vec_env(lambda: PartialOversight(gym.make(id)))"
    )
