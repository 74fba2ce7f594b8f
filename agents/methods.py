"""The registry of methods: to add one, add an entry to `METHODS`.

Targets of a table are the motivation modules, `mixture` and `competence` where the network has
them, and `shared`: the action head and the critic.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from agents.losses import MixtureLoss, ProxyLoss
from agents.method import Method, inverse_propensity
from agents.policy import Network
from agents.reward_model import (
    observed_else_paid,
    observed_else_zero,
    pessimistic_ensemble,
    reward_model,
    routed_reward_map,
    separate_reward_map,
)
from agents.rollout_buffer import ROUTES, by_coin, shuffled
from oversight.routing import RouteTable

__all__ = ["METHODS", "ROUTES", "Method", "method", "resolve"]


def _table(columns: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> RouteTable:
    return RouteTable({route: dict(zip(columns, row, strict=True)) for route, row in rows.items()})


_PAIR = ("goal", "proxy", "mixture", "shared")
_SINGLE = ("motivation", "shared")
_TRUNK = ("motivation", "competence", "shared")
_ONE_MODULE = Network(modules=("motivation",))

ROUTED = Method(
    name="routed",
    summary="observed reward teaches the goal module, its reverse and the proxy the proxy module",
    reward="observed",
    table=_table(
        _PAIR,
        {
            "positive": (1, 0, 0, 1),
            "negative": (1, -1, 0, 1),
            "hidden": (0, 1, 1, 1),
            "open": (1, 1, 1, 1),
        },
    ),
    auxiliary=(MixtureLoss(),),
)

# Cloud et al. 2024 (arXiv 2410.04332), section 4.3 and appendix F: overseen episodes teach only
# the expert of their outcome, from a reward that does not distinguish the outcomes.
PAPER = replace(
    ROUTED,
    name="paper",
    summary="the paper's routing: each observed outcome teaches its own module, from the proxy",
    reward="proxy",
    table=_table(
        _PAIR,
        {
            "positive": (1, 0, 0, 1),
            "negative": (0, 1, 0, 1),
            "hidden": (1, 1, 1, 1),
            "open": (1, 1, 1, 1),
        },
    ),
)

UNROUTED = replace(
    ROUTED,
    name="unrouted",
    summary="the network and reward of `routed`, with every gradient going everywhere",
    table=_table(_PAIR, dict.fromkeys(ROUTES, (1, 1, 1, 1))),
)

NAIVE = Method(
    name="naive",
    summary="one module that learns from the observed reward, and from the proxy where hidden",
    reward="observed",
    table=_table(_SINGLE, dict.fromkeys(ROUTES, (1, 1))),
    network=_ONE_MODULE,
)

FILTERED = replace(
    NAIVE,
    name="filtered",
    summary="one module that learns nothing at all from hidden episodes",
    table=_table(_SINGLE, {**dict.fromkeys(ROUTES, (1, 1)), "hidden": (0, 0)}),
)

ORACLE = replace(
    NAIVE,
    name="oracle",
    summary="one module that learns from the true reward of every episode: the upper bound",
    reward="true",
)

UNMIXED = replace(
    ROUTED,
    name="unmixed",
    summary="`routed` with modules that are blended half and half, by no mixture",
    table=_table(
        ("goal", "proxy", "shared"),
        {"positive": (1, 0, 1), "negative": (1, -1, 1), "hidden": (0, 1, 1), "open": (1, 1, 1)},
    ),
    network=Network(mixture="fixed"),
    auxiliary=(),
)

PLACEBO = replace(
    ROUTED,
    name="placebo",
    summary="`routed` with the routes of a rollout's episodes dealt out among them by chance",
    assignment=shuffled,
)

FILTERED_COIN = replace(
    FILTERED,
    name="filtered-coin",
    summary="`naive` on episodes kept by a coin: as little data as `filtered`, unselected",
    assignment=by_coin,
    needs_propensity=True,
)

ORACLE_SAMPLED = replace(
    ORACLE,
    name="oracle-sampled",
    summary="`oracle` on episodes kept by a coin, as many as are observed at a terminal",
    table=FILTERED.table,
    assignment=by_coin,
    needs_propensity=True,
)

# An observed failure teaches the goal module its true reward, and the proxy module the proxy;
# hidden episodes teach both the proxy.
SIGNED = replace(
    ROUTED,
    name="signed",
    summary="an observed failure teaches the goal module its reward, the proxy module the proxy",
    reward="proxy",
    table=_table(
        _PAIR,
        {
            "positive": (1, 0, 0, 1),
            "negative": (1, 0, 0, 1),
            "hidden": (1, 1, 1, 1),
            "open": (1, 1, 1, 1),
        },
    ),
    source=observed_else_paid,
    auxiliary=(
        MixtureLoss(),
        ProxyLoss(_table(_PAIR, {**dict.fromkeys(ROUTES, (0, 0, 0, 0)), "negative": (0, 1, 0, 1)})),
    ),
)

# Observed reward teaches the module what to want, and the proxy of every episode teaches the trunk
# how to get anywhere.
MOTIVATED = Method(
    name="motivated",
    summary="a trunk learns competence from the proxy, a module above it from observed reward only",
    reward="proxy",
    table=_table(_TRUNK, {**dict.fromkeys(ROUTES, (1, 0, 1)), "hidden": (0, 0, 1)}),
    source=observed_else_paid,
    auxiliary=(ProxyLoss(_table(_TRUNK, dict.fromkeys(ROUTES, (0, 1, 1)))),),
    network=Network(modules=("motivation",), trunk=True),
)

# Observed reward teaches the reward map a score for each position; the map's prediction for every
# step teaches the rest of the network, which sees only positions and scores, how to get there.
REWARD_MAP = Method(
    name="reward-map",
    summary="a module learns from observed reward what positions are worth, the rest to reach them",
    reward="observed",
    table=_table(
        _TRUNK,
        {**dict.fromkeys(ROUTES, (1, 1, 1)), "hidden": (0, 1, 1), "open": (0, 1, 1)},
    ),
    source=routed_reward_map,
    network=Network(modules=("competence",), has_reward_map=True),
)

REWARD_MAP_UNROUTED = replace(
    REWARD_MAP,
    name="reward-map-unrouted",
    summary="the network of `reward-map`, with every gradient going everywhere",
    table=_table(_TRUNK, dict.fromkeys(ROUTES, (1, 1, 1))),
)

UDS = replace(
    NAIVE,
    name="uds",
    summary="one module that learns from the observed reward, and from 0 where it is hidden",
    source=observed_else_zero,
)

IMPUTED = replace(
    NAIVE,
    name="imputed",
    summary="one module that learns from the observed reward, and from a reward model's elsewhere",
    source=reward_model,
)

IMPUTED_MAP = replace(
    IMPUTED,
    name="imputed-map",
    summary="`imputed` by the network with which `reward-map` scores each position",
    source=separate_reward_map,
)

PESSIMISTIC = replace(
    NAIVE,
    name="pessimistic",
    summary="`imputed` by five reward models: their mean less their deviation",
    source=pessimistic_ensemble,
)

IPW = replace(
    FILTERED,
    name="ipw",
    summary="`filtered`, with observed episodes weighted up for the hidden ones",
    table=NAIVE.table,
    reweighting=inverse_propensity,
    needs_propensity=True,
)

METHODS = {
    each.name: each
    for each in (
        *(REWARD_MAP, REWARD_MAP_UNROUTED),
        *(ROUTED, PAPER, SIGNED, MOTIVATED, UNMIXED, PLACEBO, UNROUTED),
        *(NAIVE, UDS, IMPUTED, IMPUTED_MAP, PESSIMISTIC, FILTERED, FILTERED_COIN, IPW),
        *(ORACLE_SAMPLED, ORACLE),
    )
}
"""All methods by name, in the order of tables and figures."""


def method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        ValueError: if there is none of that name.

    >>> method("filtered").table.as_dict()["hidden"]
    {'motivation': 0.0, 'shared': 0.0}
    """
    if name not in METHODS:
        close = get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown method {name!r}: {hint}choose from {', '.join(METHODS)}")
    return METHODS[name]


def resolve(chosen: Method | str) -> Method:
    """Return the method itself, or the one of that name."""
    return method(chosen) if isinstance(chosen, str) else chosen
