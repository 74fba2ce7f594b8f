"""Arguments of `RoutedPPO`: what each may be, and what must fit together."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from agents.losses import AdvantageNormalization
from agents.method_definition import Method
from agents.policy_arguments import require_common, require_mapping, require_truths
from agents.reward_model import Learner
from agents.rollout_buffer import RewardSource, RoutedBuffer, RoutedDictBuffer, require_choice
from oversight.routing import Gate
from oversight.runs.settings import (
    ABOVE_0,
    COUNT,
    INDEX,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY_ABOVE_0,
    SEED,
    UNIT,
    Numbers,
    require_number,
)

TIMESTEPS = Numbers("a number, 0 or more", lambda value: 0 <= value <= inf)

NUMBERS = {
    **dict.fromkeys(("n_steps", "batch_size", "n_epochs", "stats_window_size"), COUNT),
    **dict.fromkeys(("clip_range", "clip_range_vf", "target_kl"), POSITIVE),
    "max_grad_norm": ABOVE_0,  # infinity switches it off
    **dict.fromkeys(("learning_rate", "ent_coef", "vf_coef"), NOT_NEGATIVE),
    **dict.fromkeys(("mixture_coef", "kl_coef"), NOT_NEGATIVE),
    **dict.fromkeys(("gamma", "gae_lambda"), UNIT),
    "propensity": PROBABILITY_ABOVE_0,
    "agent_channel": INDEX,
    "seed": SEED,
}
"""The numbers that each setting of `RoutedPPO` may be; those of `PPOConfig` are among them."""

OPTIONAL = ("clip_range_vf", "target_kl", "propensity", "agent_channel", "seed")
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
"""Settings that may also be functions of the remaining progress, which only a run can check."""


class ArgumentError(ValueError, AssertionError):
    """An argument is refused.

    It is an AssertionError as well, since SB3 raises one for such arguments and code around SB3
    catches it.
    """


def require_settings(settings: Mapping[str, Any]) -> None:
    """Raise a ValueError if a setting, among others that have no numbers, is out of its range."""
    for name, allowed in NUMBERS.items():
        value = settings.get(name)
        absent = name not in settings or (value is None and name in OPTIONAL)
        if absent or (callable(value) and name in SCHEDULES):
            continue
        try:
            require_number(name, value, allowed)
        except ValueError as error:
            raise ArgumentError(str(error)) from None
    require_truths(settings, "normalize_advantage", "use_sde")
    device = settings.get("device", "auto")
    try:
        torch.device("cpu" if device == "auto" else device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device {device!r} was given: give auto, cpu, cuda or another device of PyTorch"
        ) from error


def require_names(agent: type[PPO], settings: Mapping[str, Any]) -> None:
    """Raise a ValueError for a setting that an agent lacks, since SB3's `load` takes any."""
    spaces = {"observation_space", "action_space"}
    takes = [inspect.signature(each.__init__).parameters for each in agent.__mro__]  # type: ignore[misc]
    own = {*inspect.signature(PPO.load).parameters, *spaces}.union(*takes)
    if unknown := sorted(settings.keys() - (own - {"policy"})):
        raise ValueError(
            f"{agent.__name__} has no setting {', '.join(unknown)}: give arguments of its "
            "constructor, or leave it out"
        )


@contextmanager
def refusals_of_sb3() -> Iterator[None]:
    """Raise what SB3 and Gymnasium say about arguments as a ValueError of one line."""
    try:
        yield
    except (AssertionError, gym.error.Error) as error:  # the latter of an unknown id
        raise ArgumentError(" ".join(str(error).split()) or repr(error)) from error


@contextmanager
def refusals_of_parts() -> Iterator[None]:
    """Raise a ValueError of one line where a part cannot be built with its arguments."""
    try:
        yield
    except (AttributeError, TypeError) as error:  # also of a feature extractor
        raise ValueError(
            "policy_kwargs or rollout_buffer_kwargs do not fit what they build: "
            f"{' '.join(str(error).split())}"
        ) from error


def reward_source(method: Method, learner: Learner) -> RewardSource:
    """Return the reward source of an agent, or raise a ValueError if its method makes none."""
    source = method.source(learner)
    if not isinstance(source, RewardSource):
        raise ValueError(
            f"the source of method {method.name!r} must return a RewardSource, got {source!r}: "
            "return an object of agents.rollout_buffer.RewardSource or of a class derived from it"
        )
    return source


POLICY_SET_BY_PPO = ("observation_space", "action_space", "lr_schedule", "use_sde")
"""Arguments of the policy that `RoutedPPO` gives."""


def policy_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `policy_kwargs`, or raise a ValueError for one that `RoutedPPO` gives itself."""
    given = require_mapping("policy_kwargs", kwargs.get("policy_kwargs"))
    if own := [name for name in POLICY_SET_BY_PPO if name in given]:
        raise ValueError(
            f"policy_kwargs name {', '.join(own)}, which RoutedPPO gives: leave it out"
        )
    require_common(given)
    return given


def check_normalization(chosen: AdvantageNormalization, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the normalization, and put SB3's `normalize_advantage` in line with it.

    Raises:
        ValueError: if there is none of that name, or SB3's argument turns it off.
    """
    require_choice("advantage_normalization", chosen, AdvantageNormalization)
    require_truths(kwargs, "normalize_advantage")
    if kwargs.get("normalize_advantage", True):
        kwargs["normalize_advantage"] = chosen != "none"
    elif chosen not in ("all", "none"):
        raise ValueError(
            f"normalize_advantage=False turns advantage_normalization={chosen!r} off: give one only"
        )
    return chosen


SET_BY_PPO = ("seed", "timeouts", "assignment", "propensity", "device", "gamma", "gae_lambda")
"""Arguments of the rollout buffer that `RoutedPPO` sets by its own ones and its method."""


def buffer_class(kwargs: Mapping[str, Any]) -> type[RoutedBuffer]:
    """Return the class of the rollout buffer that the arguments of `RoutedPPO` ask for.

    Raises:
        ValueError: if it does not store routes, or an argument of it would have no effect.
    """
    chosen = kwargs.get("rollout_buffer_class") or RoutedBuffer
    if not isinstance(chosen, type) or not issubclass(chosen, RoutedBuffer):
        raise ValueError(
            "rollout_buffer_class must be a subclass of agents.rollout_buffer.RoutedBuffer, which "
            f"stores the route of each step, got {chosen!r}: derive it from that, or leave it out"
        )
    given = require_mapping("rollout_buffer_kwargs", kwargs.get("rollout_buffer_kwargs"))
    if own := sorted(set(given).intersection(SET_BY_PPO)):
        raise ValueError(
            f"rollout_buffer_kwargs name {', '.join(own)}, which RoutedPPO sets: give them as "
            "arguments of RoutedPPO, or of its method"
        )
    if given and chosen is RoutedBuffer:
        raise ValueError(
            f"rollout_buffer_kwargs name {', '.join(sorted(given))}, but RoutedBuffer has no such "
            "argument: leave them out, or give a subclass that has it as rollout_buffer_class"
        )
    return chosen


def fitting_buffer(chosen: object, observations: spaces.Space[Any]) -> type[RoutedBuffer]:
    """Return the class of the rollout buffer for observations of a space.

    Raises:
        ValueError: if a class of the user's own stores no dictionaries, but observations are some.
    """
    if not isinstance(observations, spaces.Dict):
        return chosen  # type: ignore[return-value]
    if chosen is RoutedBuffer:
        return RoutedDictBuffer
    if not isinstance(chosen, type) or not issubclass(chosen, RoutedDictBuffer):
        raise ValueError(
            "rollout_buffer_class must be a subclass of agents.rollout_buffer.RoutedDictBuffer, "
            f"since observations are of a Dict space, got {chosen!r}: derive it from that"
        )
    return chosen


def require_batch_size(
    batch_size: int, normalization: AdvantageNormalization, name: str = "batch_size"
) -> None:
    """Raise a ValueError for a batch that is empty, or whose advantages cannot be normalized.

    Args:
        batch_size: samples per minibatch.
        normalization: as for `RoutedPPO`.
        name: of the setting, for the error.
    """
    least, why = (1, "") if normalization == "none" else (2, ", since advantages are normalized")
    if batch_size < least:
        raise ValueError(f"{name} must be at least {least}{why}, got {batch_size}")


def require_rollout(batch_size: int, n_steps: int, n_envs: int, name: str = "batch_size") -> None:
    """Raise a ValueError for a batch that no rollout can fill; `name` is that of the setting."""
    rollout = n_steps * n_envs
    if batch_size > rollout:
        raise ValueError(
            f"{name} {batch_size} is larger than a rollout: a batch of {batch_size} does not fit "
            f"into {n_steps} steps x {n_envs} environments = {rollout}; lower it, or raise n_steps "
            "or num_envs"
        )


def require_parts(
    method: Method, policy: object, gates: Iterable[Gate], has_reward_map: bool
) -> None:
    """Raise a ValueError for a policy without the gates or the reward map that a method needs."""
    name = type(policy).__name__
    targets = dict.fromkeys(target for gate in gates for target in gate.targets)
    if not targets and method.needs_gates:
        raise ValueError(
            f"{name} has no gates, so method {method.name!r} could not route: use "
            "MotivationPolicy, or a method whose table is all ones"
        )
    if method.network.has_reward_map and not has_reward_map:
        raise ValueError(
            f"{name} has no reward map, from which method {method.name!r} learns: use "
            "MotivationPolicy with its has_reward_map"
        )
    if has_reward_map and not method.network.has_reward_map:
        raise ValueError(
            f"{name} acts on a reward map, which method {method.name!r} does not teach: choose a "
            "method with a reward map, or build a new policy"
        )
    own = [each.table for each in method.auxiliary if each.table is not None]
    for table in (method.table, *own):
        if targets and set(table.target_names) != set(targets):
            raise ValueError(
                f"a table of method {method.name!r} has the targets "
                f"{', '.join(table.target_names)}, but the gates of the policy are "
                f"{', '.join(targets)}: name those in every row, or give the method the network "
                "and the policy that it was made for"
            )


def require_propensity(method: Method, propensity: float | None) -> None:
    """Raise a ValueError if a method lacks the propensity that it needs."""
    if propensity is None and method.needs_propensity:
        raise ValueError(
            f"method {method.name!r} needs the probability that the end of an episode is "
            "observed: give propensity, which the design of the oversight states"
        )
