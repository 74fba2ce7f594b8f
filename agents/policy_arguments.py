"""Arguments of a policy's network: what each may be, in the words of SB3's users."""

from collections.abc import Mapping, Sequence
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch.optim import Adam, AdamW, Optimizer, SparseAdam

from oversight.runs.settings import COUNT, Numbers, require_number

FINITE = Numbers("a finite number", lambda value: -inf < value < inf)


def module_names(names: object) -> tuple[str, ...]:
    """Return the names of motivation modules as a tuple.

    Raises:
        ValueError: if they are not one or two different words.
    """
    given = tuple(names) if isinstance(names, list | tuple) else ()
    words = all(isinstance(name, str) and name and "." not in name for name in given)
    if len(given) not in (1, 2) or not words or len(set(given)) != len(given):
        raise ValueError(f"one or two motivation modules have names, got {names!r}")
    return given


def require_truth(name: str, value: object) -> None:
    """Raise a ValueError for a value that is neither True nor False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def require_truths(settings: Mapping[str, Any], *names: str) -> None:
    """Raise a ValueError for one of some settings, by default all, that is no truth value."""
    for name in names or settings:
        if name in settings:
            require_truth(name, settings[name])


def require_mapping(name: str, given: object) -> dict[str, Any]:
    """Return keyword arguments as a dictionary, an empty one for None.

    Raises:
        ValueError: if they are none.
    """
    arguments = {} if given is None else given
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise ValueError(
            f"{name} must be a dictionary of arguments by name, such as {{'net_arch': [64, 64]}}, "
            f"got {given!r}"
        )
    return dict(arguments)


def policy_class(
    policy: object, aliases: Mapping[str, type[BasePolicy]]
) -> type[ActorCriticPolicy]:
    """Return the class of the policy that an agent is given by name or as a class.

    Raises:
        ValueError: if it is neither.
    """
    chosen = aliases.get(policy) if isinstance(policy, str) else policy
    if not isinstance(chosen, type) or not issubclass(chosen, ActorCriticPolicy):
        raise ValueError(
            f"policy must be one of {', '.join(aliases)}, or a class derived from SB3's "
            f"ActorCriticPolicy, got {policy!r}"
        )
    return chosen


def require_fit(
    policy: type[BasePolicy], observations: spaces.Space[Any], arguments: Mapping[str, Any]
) -> None:
    """Raise a ValueError for a policy of SB3 that reads dictionaries where there are none.

    The same goes for one that reads none where there are some, unless its arguments name a feature
    extractor.
    """
    of_arrays = policy in (ActorCriticPolicy, ActorCriticCnnPolicy)
    of_arrays &= "features_extractor_class" not in arguments
    if of_arrays and isinstance(observations, spaces.Dict):
        raise ValueError(
            f"{policy.__name__} reads observations that are arrays, the environment has "
            f"{' '.join(str(observations).split())}: use MultiInputPolicy or MotivationPolicy"
        )
    if issubclass(policy, MultiInputActorCriticPolicy) and not isinstance(
        observations, spaces.Dict
    ):
        raise ValueError(
            "MultiInputPolicy reads observations of a Dict space, the environment has "
            f"{' '.join(str(observations).split())}: use MlpPolicy, or CnnPolicy for images"
        )


def check_widths(name: str, sizes: object) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple.

    Raises:
        ValueError: if there is none, or one is no positive integer.
    """
    given = tuple(sizes) if isinstance(sizes, Sequence) and not isinstance(sizes, str) else ()
    whole = all(COUNT.allow(size) for size in given)
    if not given or not whole:
        raise ValueError(f"{name} must be positive widths such as (64, 64), got {sizes!r}")
    return tuple(int(size) for size in given)


def require_common(kwargs: Mapping[str, Any]) -> None:
    """Raise a ValueError for an argument of any actor-critic policy of SB3 that is out of range."""
    require_truths(kwargs, "normalize_images", "ortho_init", "share_features_extractor")
    require_number("log_std_init", kwargs.get("log_std_init", 0.0), FINITE)
    require_mapping("features_extractor_kwargs", kwargs.get("features_extractor_kwargs"))
    if kwargs.get("optimizer_class") is SparseAdam:
        raise ValueError(
            "optimizer_class SparseAdam was given, but gradients of a policy are dense: use Adam"
        )


def refuse_arguments(kwargs: Mapping[str, Any], own_features: type | None) -> None:
    """Raise a ValueError for arguments of SB3's policies that would have no effect, or break.

    Args:
        kwargs: further arguments of `MotivationPolicy`.
        own_features: class of the features that the policy must have, if it is decided.
    """
    require_common(kwargs)
    require_truths(kwargs, "use_sde")
    by_state = {"use_expln": True, "full_std": False, "squash_output": True}
    for name, without_effect in by_state.items():
        if kwargs.get(name) is not None:
            require_truth(name, kwargs[name])
        if kwargs.get(name) == without_effect and not kwargs.get("use_sde"):
            raise ValueError(
                f"{name}={kwargs[name]} has an effect only if the policy explores by state, with "
                f"use_sde=True: leave {name} out, or give that to RoutedPPO"
            )
    if not kwargs.get("share_features_extractor", True):
        raise ValueError(
            "share_features_extractor=False was given, but in MotivationPolicy modules, mixture "
            "and critic read the same features: leave it out"
        )
    given = kwargs.get("features_extractor_class", own_features)
    if "features_extractor_class" in kwargs:
        require_class("features_extractor_class", given, BaseFeaturesExtractor)
    alone = "features_extractor_class" not in kwargs and kwargs.get("features_extractor_kwargs")
    if own_features is not None and (given is not own_features or alone):
        raise ValueError(
            "features_extractor_class or features_extractor_kwargs were given, but centered "
            "boards are features of their own, and a method with a reward map or score maps reads "
            "its scores: leave them out, or choose a method without one"
        )


def refuse_with_boards(
    centered: bool, score_maps: Sequence[str], has_reward_map: bool, others: Mapping[str, Any]
) -> None:
    """Raise a ValueError for arguments that have no effect beside centered boards.

    Args:
        centered: whether boards are centered by request.
        score_maps: names of score maps, which read centered boards.
        has_reward_map: whether the policy has a reward map, which has features of its own.
        others: further arguments by name.
    """
    if has_reward_map and (centered or score_maps):
        raise ValueError(
            "a reward map decides what the policy sees, which leaves no place for centered boards "
            "or score maps: set centered=False (--ppo.no-centered), or choose another method"
        )
    given = [name for name, value in others.items() if value]
    if given and (centered or score_maps):
        raise ValueError(
            f"{given[0]} {others[given[0]]} has no effect on centered boards, which score maps "
            "read as well: leave it out, or set centered=False and choose another method"
        )


def optimizer_arguments(optimizer: object, arguments: object) -> dict[str, Any]:
    """Return the arguments of an optimizer, if it is a class of PyTorch that a policy can use.

    Raises:
        ValueError: if it is none, or they are no arguments by name.
    """
    require_class("optimizer_class", optimizer, Optimizer)
    require_common({"optimizer_class": optimizer})
    given = require_mapping("optimizer_kwargs", arguments)
    if "lr" in given:
        raise ValueError("optimizer_kwargs name lr, which is learning_rate: give that to RoutedPPO")
    if arguments is None and optimizer in (Adam, AdamW):
        return {"eps": 1e-5, "fused": True}
    return given


def channels(name: str, given: object) -> tuple[int | str, ...]:
    """Return channels or keys of an observation as a tuple.

    Raises:
        ValueError: if they are neither.
    """
    listed = tuple(given) if isinstance(given, list | tuple | range | np.ndarray) else ()
    numbers = all(isinstance(each, Integral) for each in listed)
    keys = all(isinstance(each, str) for each in listed)
    if len(listed) != np.size(given) or not (numbers or keys):  # type: ignore[arg-type]
        raise ValueError(
            f"{name} must be a tuple of channels, such as (3,), or of keys of a Dict observation, "
            f"such as ('observed',), got {given!r}"
        )
    return listed if keys else tuple(int(each) for each in listed)


def check_convolutions(
    conv_channels: object, masked_channels: Sequence[int | str] = ()
) -> tuple[int, ...]:
    """Return the numbers of channels of convolutions as a tuple, which may be empty.

    Args:
        conv_channels: what was given.
        masked_channels: channels of an observation that the modules do not see.

    Raises:
        ValueError: if one is no positive integer, or channels are masked, which a convolution
            would mix with the others.
    """
    if isinstance(conv_channels, list | tuple) and not conv_channels:
        return ()
    given = check_widths("conv_channels", conv_channels)
    if masked_channels:
        raise ValueError(
            f"conv_channels {given} and masked_channels {tuple(masked_channels)} were given, but a "
            "convolution mixes all channels: leave one of them out"
        )
    return given


def require_class(name: str, given: object, kind: type) -> None:
    """Raise a ValueError for an argument that is no class of a kind."""
    if not isinstance(given, type) or not issubclass(given, kind):
        raise ValueError(
            f"{name} must be a class of {kind.__module__}.{kind.__name__}, got {given!r}"
        )


def widths(
    hidden_sizes: Sequence[int] | None, net_arch: object
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the widths of the hidden layers of the critic, after those of all other parts."""
    if net_arch is None:
        sizes = check_widths("hidden_sizes", (128, 128) if hidden_sizes is None else hidden_sizes)
        return sizes, sizes
    if hidden_sizes is not None:
        raise ValueError(
            f"net_arch {net_arch} and hidden_sizes {tuple(hidden_sizes)} are two names for the "
            "widths of the same layers: give one of them"
        )
    if isinstance(net_arch, list) and len(net_arch) == 1 and isinstance(net_arch[0], dict):
        net_arch = net_arch[0]  # the older form, which SB3 takes as well
    if isinstance(net_arch, dict):
        if set(net_arch) != {"pi", "vf"}:
            raise ValueError(
                f"net_arch must name the widths of pi and of vf, got {net_arch}: give both, or one "
                "list for all parts"
            )
        return check_widths("net_arch['pi']", net_arch["pi"]), check_widths(
            "net_arch['vf']", net_arch["vf"]
        )
    sizes = check_widths("net_arch", net_arch)
    return sizes, sizes
