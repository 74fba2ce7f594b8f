"""The methods: their tables, and the registry of all of them.

A method is a route table, a reward source, auxiliary losses, and the parts of a network. To add
one, add an entry to `METHODS`. Targets of a table are the motivation modules, `mixture`,
`competence` and `reference` where the network has them, and `shared`: the action head and the
critic.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np

from agents.losses import KLLoss, MixtureLoss, ProxyLoss, ReferenceLoss
from agents.method_definition import Method
from agents.network import Network
from agents.reward_model import (
    convolutional_model,
    observed_else_paid,
    observed_else_zero,
    pessimistic_convolutions,
    pessimistic_ensemble,
    reward_model,
    routed_reward_map,
    score_maps,
    separate_reward_map,
)
from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    POSITIVE,
    ROUTES,
    Routes,
    by_coin,
    in_route_order,
    shuffled,
)
from oversight.routing import RouteTable
from oversight.runs.settings import load_object


def inverse_propensity(table: RouteTable, routes: Routes, propensity: float) -> RouteTable:
    """Return a table whose target `shared` has inverse-propensity weights (Horvitz, Thompson 1952).

    An episode that was observed stands for the `1 / propensity` that ended alike, one that was
    hidden for none, and one that ended at no terminal for itself. The weights are divided by their
    mean over the rollout, so that the size of a step does not depend on the propensity. Where
    nothing has weight, nothing is learned.

    Args:
        table: table whose weights at `shared` are multiplied by these.
        routes: routes of a rollout's steps, of any shape; negative ones are no data.
        propensity: probability that the end of an episode is observed.

    >>> ones = RouteTable({route: {"shared": 1} for route in ROUTES})
    >>> routes = np.array([0, 2, 2, 2, 3], dtype=np.int8)
    >>> [row["shared"] for row in inverse_propensity(ones, routes, 0.25).as_dict().values()]
    [4.0, 4.0, 0.0, 1.0]
    """
    table = in_route_order(table)
    weights = np.ones(len(ROUTES))
    weights[[POSITIVE, NEGATIVE]], weights[HIDDEN] = 1 / propensity, 0
    rows = {
        route: {**row, "shared": row["shared"] * weight}
        for (route, row), weight in zip(table.as_dict().items(), weights.tolist(), strict=True)
    }
    mean = np.mean([rows[ROUTES[route]]["shared"] for route in routes[routes >= 0].tolist()])
    if mean > 0:
        for row in rows.values():
            row["shared"] /= float(mean)
    return RouteTable(rows)


def _table(columns: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> RouteTable:
    return RouteTable({route: dict(zip(columns, row, strict=True)) for route, row in rows.items()})


_PAIR = ("goal", "proxy", "mixture", "shared")
_SINGLE = ("motivation", "shared")
_REFERRED = ("motivation", "reference", "shared")
_TRUNK = ("motivation", "competence", "shared")
_ONE_MODULE = Network(modules=("motivation",))

ROUTED = Method(
    name="routed",
    summary=(
        "Positive episodes teach the goal module, negative ones also the proxy module in "
        "reverse, and hidden ones the proxy module alone."
    ),
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
    summary=(
        "As in the paper, each observed outcome teaches only its own module, from the proxy reward."
    ),
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
    summary=(
        "The network of `routed` learns from the same reward, but every gradient reaches "
        "every part."
    ),
    table=_table(_PAIR, dict.fromkeys(ROUTES, (1, 1, 1, 1))),
)

NAIVE = Method(
    name="naive",
    summary=(
        "One module learns from the observed reward, and from the proxy where the reward is hidden."
    ),
    reward="observed",
    table=_table(_SINGLE, dict.fromkeys(ROUTES, (1, 1))),
    network=_ONE_MODULE,
)

FILTERED = replace(
    NAIVE,
    name="filtered",
    summary="One module learns from all episodes but the hidden ones.",
    table=_table(_SINGLE, {**dict.fromkeys(ROUTES, (1, 1)), "hidden": (0, 0)}),
)

# In Selective Generalization (Azarbal et al. 2025) a KL penalty toward a trusted model was ahead of
# more complicated methods; here the policy that observed episodes alone give is trusted.
KL = replace(
    NAIVE,
    name="kl",
    summary=(
        "It is `naive` with a penalty for its divergence from a reference, which learns as "
        "`filtered` does."
    ),
    table=_table(_REFERRED, dict.fromkeys(ROUTES, (1, 0, 1))),
    network=Network(modules=("motivation",), has_reference=True),
    auxiliary=(
        ReferenceLoss(
            table=_table(_REFERRED, {**dict.fromkeys(ROUTES, (0, 1, 0)), "hidden": (0, 0, 0)})
        ),
        KLLoss(),
    ),
)

ORACLE = replace(
    NAIVE,
    name="oracle",
    summary="One module learns from the true reward of every episode, which is an upper bound.",
    reward="true",
)

UNMIXED = replace(
    ROUTED,
    name="unmixed",
    summary=(
        "It is `routed` with modules that are blended half and half, without a learned mixture."
    ),
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
    summary="It is `routed` with the routes of a rollout shuffled among the episodes.",
    assignment=shuffled,
)

FILTERED_COIN = replace(
    FILTERED,
    name="filtered-coin",
    summary="It is `filtered` with episodes kept by a coin instead of the overseer.",
    assignment=by_coin,
    needs_propensity=True,
)

ORACLE_SAMPLED = replace(
    ORACLE,
    name="oracle-sampled",
    summary=("It is `oracle` with episodes kept by a coin, as many as are observed at a terminal."),
    table=FILTERED.table,
    assignment=by_coin,
    needs_propensity=True,
)

SIGNED = replace(
    ROUTED,
    name="signed",
    summary=(
        "An observed failure teaches the goal module its reward, and the proxy module the proxy."
    ),
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
        ProxyLoss(
            table=_table(_PAIR, {**dict.fromkeys(ROUTES, (0, 0, 0, 0)), "negative": (0, 1, 0, 1)})
        ),
    ),
)

MOTIVATED = Method(
    name="motivated",
    summary=(
        "A trunk learns from the proxy, and a module above it learns from the observed reward only."
    ),
    reward="proxy",
    table=_table(_TRUNK, {**dict.fromkeys(ROUTES, (1, 0, 1)), "hidden": (0, 0, 1)}),
    source=observed_else_paid,
    auxiliary=(ProxyLoss(table=_table(_TRUNK, dict.fromkeys(ROUTES, (0, 1, 1)))),),
    network=Network(modules=("motivation",), trunk=True),
)

# Observed reward teaches the reward map a score for each position; the map's prediction for every
# step teaches the rest of the network, which sees only positions and scores, how to get there.
REWARD_MAP = Method(
    name="reward-map",
    summary=(
        "A module learns what positions are worth from the observed reward, and the rest "
        "learns to reach them."
    ),
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
    summary="The network of `reward-map` learns with every gradient reaching every part.",
    table=_table(_TRUNK, dict.fromkeys(ROUTES, (1, 1, 1))),
)

# Competence is what random maps and the modules' maps have in common: to go where a map says. It
# learns from every episode, but from no reward; rewards teach the maps alone, each its own kind.
SCORE_MAPS = Method(
    name="score-maps",
    summary=(
        "A policy learns to go where a map of scores sends it; observed reward teaches the map "
        "that is deployed, and hidden reward another one."
    ),
    reward="observed",
    table=_table(
        ("goal", "proxy", "competence", "shared"),
        {
            "positive": (1, 0, 1, 1),
            "negative": (1, 0, 1, 1),
            "hidden": (0, 1, 1, 1),
            "open": (1, 1, 1, 1),
        },
    ),
    source=score_maps,
    network=Network(modules=("competence",), score_maps=("goal", "proxy")),
)

SCORE_MAPS_UNROUTED = replace(
    SCORE_MAPS,
    name="score-maps-unrouted",
    summary="The network of `score-maps` learns with every reward reaching both maps.",
    table=_table(("goal", "proxy", "competence", "shared"), dict.fromkeys(ROUTES, (1, 1, 1, 1))),
)

UDS = replace(
    NAIVE,
    name="uds",
    summary="One module learns from the observed reward, and from 0 where the reward is hidden.",
    source=observed_else_zero,
)

IMPUTED = replace(
    NAIVE,
    name="imputed",
    summary=(
        "One module learns from the observed reward, and from a reward model where the "
        "reward is hidden."
    ),
    source=reward_model,
)

IMPUTED_MAP = replace(
    IMPUTED,
    name="imputed-map",
    summary="It is `imputed` with a reward model that scores each position, as `reward-map` does.",
    source=separate_reward_map,
)

IMPUTED_CONV = replace(
    IMPUTED,
    name="imputed-conv",
    summary="It is `imputed` with a convolution over the board as the reward model.",
    source=convolutional_model,
)

PESSIMISTIC = replace(
    NAIVE,
    name="pessimistic",
    summary="It is `imputed` with the mean of five reward models less their standard deviation.",
    source=pessimistic_ensemble,
)

PESSIMISTIC_CONV = replace(
    PESSIMISTIC,
    name="pessimistic-conv",
    summary="It is `pessimistic` with convolutions over the board as the reward models.",
    source=pessimistic_convolutions,
)

IPW = replace(
    FILTERED,
    name="ipw",
    summary="It is `filtered` with observed episodes weighted up to stand for the hidden ones.",
    table=NAIVE.table,
    reweighting=inverse_propensity,
    needs_propensity=True,
)

METHODS = {
    each.name: each
    for each in (
        *(SCORE_MAPS, SCORE_MAPS_UNROUTED, REWARD_MAP, REWARD_MAP_UNROUTED),
        *(ROUTED, PAPER, SIGNED, MOTIVATED, UNMIXED, PLACEBO, UNROUTED),
        *(NAIVE, UDS, IMPUTED, IMPUTED_MAP, PESSIMISTIC, IMPUTED_CONV, PESSIMISTIC_CONV, KL),
        *(FILTERED, FILTERED_COIN, IPW, ORACLE_SAMPLED, ORACLE),
    )
}
"""All methods by name, in the order of tables and figures; add one of your own here."""

BUILT_IN = MappingProxyType(dict(METHODS))
"""The methods of this project, which every process has."""


def method(name: str) -> Method:
    """Return a method by its name, or import one of a user's own by `module:name`.

    Raises:
        ValueError: if there is none of that name.

    >>> method("filtered").table.as_dict()["hidden"]
    {'motivation': 0.0, 'shared': 0.0}
    """
    if name not in METHODS and ":" in name:
        return _imported(name)
    if name not in METHODS:
        close = get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"unknown method {name!r}: {hint}choose from {', '.join(METHODS)}, add your own to "
            "agents.METHODS first, or name it as module:NAME"
        )
    return METHODS[name]


def _imported(name: str) -> Method:
    """Return the method that a module holds, given `module:name`."""
    found = load_object(name)
    if not isinstance(found, Method):
        raise ValueError(f"method {name!r} must be an agents.Method, it is {found!r}")
    return found


def resolve(chosen: Method | str) -> Method:
    """Return the method itself, or the one of that name.

    Raises:
        ValueError: if it is neither a method nor the name of one.
    """
    if isinstance(chosen, str):
        return method(chosen)
    if not isinstance(chosen, Method):
        raise ValueError(f"method must be a Method or the name of one, got {chosen!r}")
    return chosen
