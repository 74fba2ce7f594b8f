"""The methods: each is a route table, the reward it learns from, and the modules it trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from oversight.routing import RouteTable

Reward = Literal["observed", "proxy", "true"]

ROUTES = ("diamond", "ghost", "hidden", "open")
"""How an episode ended, as the overseer saw it.

`diamond` and `ghost`: something of it was observed, and the observed rewards sum to more than 0, or
do not. `hidden`: at a terminal, with nobody watching from first to last. `open`: nobody watched
either, but the time limit or the rollout's end cut it; that may count as `hidden` too.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One way to learn under partial oversight.

    Attributes:
        name: the word that selects it.
        summary: one sentence for a help page.
        reward: what the environment must pay it: the `observed` reward with the proxy where it is
            hidden, the `proxy` alone, or the `true` reward, which only an oracle may see.
        table: the weight of each route's gradient at each target.
        modules: the motivation modules of its network; two are blended by a learned mixture.
        deployed: the module that acts after training.
    """

    name: str
    summary: str
    reward: Reward
    table: RouteTable
    modules: tuple[str, ...] = ("diamond", "ghost")
    deployed: str = "diamond"


def _table(columns: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> RouteTable:
    return RouteTable({route: dict(zip(columns, row, strict=True)) for route, row in rows.items()})


_PAIR = ("diamond", "ghost", "mixture", "shared")
_SINGLE = ("motivation", "shared")

ROUTED = Method(
    name="routed",
    summary="observed reward teaches the diamond module, its reverse and the proxy the ghost one",
    reward="observed",
    table=_table(
        _PAIR,
        {
            "diamond": (1, 0, 0, 1),
            "ghost": (1, -1, 0, 1),
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
            "diamond": (1, 0, 0, 1),
            "ghost": (0, 1, 0, 1),
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

METHODS = {each.name: each for each in (ROUTED, PAPER, UNROUTED, NAIVE, FILTERED, ORACLE)}


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
