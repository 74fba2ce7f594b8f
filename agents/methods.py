"""The methods: each is a route table, the reward it learns from, and little else."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from agents.method import ROUTES, Method
from oversight.routing import RouteTable

__all__ = ["METHODS", "ROUTES", "Method", "method", "resolve"]


def _table(columns: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> RouteTable:
    return RouteTable({route: dict(zip(columns, row, strict=True)) for route, row in rows.items()})


_PAIR = ("goal", "proxy", "mixture", "shared")
_SINGLE = ("motivation", "shared")

ROUTED = Method(
    name="routed",
    summary="observed reward teaches the goal module, its reverse and the proxy the proxy one",
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
)

# Cloud et al. 2024 (arXiv 2410.04332), section 4.3 and appendix F: overseen episodes teach only
# the expert of their outcome, from a reward that never tells the outcomes apart.
PAPER = Method(
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

UNROUTED = Method(
    name="unrouted",
    summary="the network and reward of `routed`, with every gradient going everywhere",
    reward="observed",
    table=_table(_PAIR, dict.fromkeys(ROUTES, (1, 1, 1, 1))),
)

NAIVE = Method(
    name="naive",
    summary="one module that learns from the observed reward, and from the proxy where hidden",
    reward="observed",
    table=_table(_SINGLE, dict.fromkeys(ROUTES, (1, 1))),
    modules=("motivation",),
    deployed="motivation",
)

FILTERED = Method(
    name="filtered",
    summary="one module that learns nothing at all from hidden episodes",
    reward="observed",
    table=_table(_SINGLE, {**dict.fromkeys(ROUTES, (1, 1)), "hidden": (0, 0)}),
    modules=("motivation",),
    deployed="motivation",
)

ORACLE = Method(
    name="oracle",
    summary="one module that learns from the true reward of every episode: the upper bound",
    reward="true",
    table=_table(_SINGLE, dict.fromkeys(ROUTES, (1, 1))),
    modules=("motivation",),
    deployed="motivation",
)

UNMIXED = replace(
    ROUTED,
    name="unmixed",
    summary="`routed` with modules that are blended half and half, by no mixture",
    table=_table(
        ("goal", "proxy", "shared"),
        {"positive": (1, 0, 1), "negative": (1, -1, 1), "hidden": (0, 1, 1), "open": (1, 1, 1)},
    ),
    mixture="fixed",
)

PLACEBO = replace(
    ROUTED,
    name="placebo",
    summary="`routed` with the routes of a rollout's episodes dealt out among them by chance",
    selection="shuffled",
)

FILTERED_COIN = replace(
    FILTERED,
    name="filtered-coin",
    summary="`naive` on episodes kept by a coin: as little data as `filtered`, unselected",
    selection="coin",
)

ORACLE_SAMPLED = replace(
    ORACLE,
    name="oracle-sampled",
    summary="`oracle` on episodes kept by a coin, as many as are observed at a terminal",
    table=FILTERED.table,
    selection="coin",
)

# An observed failure teaches the goal module what it is worth, and the proxy module the proxy;
# what nobody saw teaches both.
SIGNED = Method(
    name="signed",
    summary="an observed failure teaches the goal module its true reward, the proxy one the proxy",
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
    label="observed",
    proxy_table=_table(_PAIR, {**dict.fromkeys(ROUTES, (0, 0, 0, 0)), "negative": (0, 1, 0, 1)}),
)

# Observed reward teaches what to want, and the proxy of every episode how to get anywhere.
_MOTIVATED = ("motivation", "competence", "shared")
MOTIVATED = Method(
    name="motivated",
    summary="a trunk learns competence from the proxy, a module above it from observed reward only",
    reward="proxy",
    table=_table(_MOTIVATED, {**dict.fromkeys(ROUTES, (1, 0, 1)), "hidden": (0, 0, 1)}),
    modules=("motivation",),
    deployed="motivation",
    trunk=True,
    label="observed",
    proxy_table=_table(_MOTIVATED, dict.fromkeys(ROUTES, (0, 1, 1))),
)

# Observed reward teaches a module what places are worth; what that says of every step teaches the
# rest, which sees nothing else of them, how to get there.
_REWARD_MAP = ("motivation", "competence", "shared")
REWARD_MAP = Method(
    name="reward-map",
    summary="a module learns from observed reward what places are worth, the rest how to get there",
    reward="observed",
    table=_table(
        _REWARD_MAP,
        {**dict.fromkeys(ROUTES, (1, 1, 1)), "hidden": (0, 1, 1), "open": (0, 1, 1)},
    ),
    modules=("competence",),
    deployed="competence",
    label="reward-map",
)

REWARD_MAP_UNROUTED = replace(
    REWARD_MAP,
    name="reward-map-unrouted",
    summary="the network of `reward-map`, with every gradient going everywhere",
    table=_table(_REWARD_MAP, dict.fromkeys(ROUTES, (1, 1, 1))),
)

UDS = replace(
    NAIVE,
    name="uds",
    summary="one module that learns from the observed reward, and from 0 where it is hidden",
    label="zero",
)

IMPUTED = replace(
    NAIVE,
    name="imputed",
    summary="one module that learns from the observed reward, and from a reward model's elsewhere",
    label="imputed",
)

IMPUTED_MAP = replace(
    IMPUTED,
    name="imputed-map",
    summary="`imputed` by the network that `reward-map` judges each place with",
    label="imputed-map",
)

PESSIMISTIC = replace(
    NAIVE,
    name="pessimistic",
    summary="`imputed` by five reward models: their mean less their deviation",
    label="pessimistic",
)

IPW = replace(
    FILTERED,
    name="ipw",
    summary="`filtered`, with what is observed weighted up for what is not",
    table=NAIVE.table,
    inverse_propensity=True,
)

ALL = (
    *(REWARD_MAP, REWARD_MAP_UNROUTED),
    *(ROUTED, PAPER, SIGNED, MOTIVATED, UNMIXED, PLACEBO, UNROUTED),
    *(NAIVE, UDS, IMPUTED, IMPUTED_MAP, PESSIMISTIC, FILTERED, FILTERED_COIN, IPW),
    *(ORACLE_SAMPLED, ORACLE),
)
METHODS = {each.name: each for each in ALL}


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
