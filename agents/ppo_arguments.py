"""Arguments of `RoutedPPO`: what each may be, and what must fit together."""

from collections.abc import Iterable, Mapping
from typing import Any

from agents.losses import AdvantageNormalization
from agents.methods import Method
from agents.rollout_buffer import RoutedBuffer, require_choice
from oversight.routing import Gate


def policy_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `policy_kwargs`, or raise a ValueError for one that `RoutedPPO` gives itself."""
    given = dict(kwargs.get("policy_kwargs") or {})
    if "use_sde" in given:
        raise ValueError("policy_kwargs name use_sde, which RoutedPPO gives: leave it out")
    return given


def check_normalization(chosen: AdvantageNormalization, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the normalization, and put SB3's `normalize_advantage` in line with it.

    Raises:
        ValueError: if there is none of that name, or SB3's argument turns it off.
    """
    require_choice("advantage_normalization", chosen, AdvantageNormalization)
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
    given = kwargs.get("rollout_buffer_kwargs") or {}
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
    """Raise a ValueError for a propensity that is none, or that a method lacks."""
    if propensity is not None and not 0 < propensity <= 1:  # true for NaN as well
        raise ValueError(f"propensity must be above 0 and at most 1, got {propensity}")
    if propensity is None and method.needs_propensity:
        raise ValueError(
            f"method {method.name!r} needs the probability that the end of an episode is "
            "observed: give propensity, which the design of the oversight states"
        )
