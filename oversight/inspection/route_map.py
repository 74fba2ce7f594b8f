"""The map of routes and modules: boxes for both, and an arrow where a route teaches a module."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from oversight.runs.figures import COLORS, FAINT, INK, MUTED, PAPER, VERMILLION, WIDTH, Drawing
from oversight.runs.figures import sheet as empty_sheet

Weights = Mapping[str, Mapping[str, float]]
"""A number for each route and module."""

LEAST = 0.005
"""Share of a module's gradient below which an arrow has no width of its own."""
CAPTION = (
    "Left: routes. Right: modules. An arrow is as wide as its share of the gradient that the "
    "module receives, which is written at its end; behind it stands the weight of the route table, "
    "unless it is 1. Red: a negative weight, which reverses the gradient. Dashed: gradient that "
    "arrives beside the gates, though the table has the weight 0."
)


class Arrow(NamedTuple):
    """What one route sends to one module.

    Attributes:
        route: name of the route.
        module: name of the module.
        weight: weight of the route table.
        share: share of the gradient that the module receives.
    """

    route: str
    module: str
    weight: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteMap:
    """Routes, the modules that they teach, and how much.

    Attributes:
        modules: a line about each module, by its name, from top to bottom.
        weights: weights of the route table, by route and module. A module that is no target of the
            table has the weight 1.
        norms: norms of the gradient that each route sends to each module, as `audit` returns them.
        caption: what the norms were measured on.
    """

    modules: Mapping[str, str]
    weights: Weights
    norms: Weights
    caption: str

    @property
    def routes(self) -> Sequence[str]:
        """The names of the routes, from top to bottom."""
        return tuple(self.weights)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return the share of each route in the norms at each module; 0 where nothing arrives."""
        total = {
            module: sum(self.norms[route].get(module, 0.0) for route in self.routes)
            for module in self.modules
        }
        return {
            route: {
                module: self.norms[route].get(module, 0.0) / whole if whole else 0.0
                for module, whole in total.items()
            }
            for route in self.routes
        }

    def arrows(self) -> Iterator[Arrow]:
        """Yield an arrow for each weight that is not 0, and where gradient arrives all the same."""
        shares = self.shares()
        for route in self.routes:
            for module in self.modules:
                weight, share = self.weights[route].get(module, 1.0), shares[route][module]
                if weight or share > LEAST:
                    yield Arrow(route, module, weight, share)

    def drawing(self) -> Drawing:
        """Return the figure."""
        words = "; ".join(
            f"{arrow.module} receives {arrow.share:.0%} of its gradient from {arrow.route}"
            for arrow in self.arrows()
            if arrow.share > LEAST
        )
        return Drawing(
            name="map",
            title="What each module learned from",
            caption=f"{CAPTION} {self.caption}",
            alt=f"A map of routes and modules. {words}.",
            draw=self._draw,
            wide=True,
        )

    def _draw(self) -> Figure:
        rows = max(len(self.routes), 1.25 * len(self.modules))
        figure = empty_sheet(0.72 * rows + 0.3, WIDTH)
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, _RIGHT + _MODULE)
        axes.set_ylim(-0.1, rows + 0.1)
        routes, modules = _places(self.routes, rows), _places(tuple(self.modules), rows)
        colors = {route: COLORS[n % len(COLORS)] for n, route in enumerate(self.routes)}
        for route, y in routes.items():
            _draw_box(axes, (0, y), (_ROUTE, 0.62), colors[route], (route, ""))
        for module, y in modules.items():
            _draw_box(axes, (_RIGHT, y), (_MODULE, 0.98), INK, (module, self.modules[module]))
        arrows = list(self.arrows())
        starts = _ends(arrows, "route", routes, modules, 0.44)
        tips = _ends(arrows, "module", modules, routes, 0.92)
        for arrow, start, tip in zip(arrows, starts, tips, strict=True):
            _draw_arrow(axes, arrow, (start, tip), colors[arrow.route])
        return figure


_ROUTE, _RIGHT, _MODULE = 2.1, 6.3, 3.7
"""Width of a route, where modules begin, and width of a module."""


def _places(names: Sequence[str], height: float) -> dict[str, float]:
    """Return the height of the middle of each name, evenly spread from top to bottom."""
    step = height / max(len(names), 1)
    return {name: height - step * (number + 0.5) for number, name in enumerate(names)}


def _ends(
    arrows: Sequence[Arrow],
    side: str,
    own: Mapping[str, float],
    other: Mapping[str, float],
    room: float,
) -> list[float]:
    """Return the height of each arrow's end at its box, so that arrows do not cross there."""
    far = "module" if side == "route" else "route"
    found = []
    for arrow in arrows:
        name = getattr(arrow, side)
        heights = sorted(
            other[getattr(each, far)] for each in arrows if getattr(each, side) == name
        )
        place = heights.index(other[getattr(arrow, far)]) + 0.5
        found.append(own[name] + room * (place / len(heights) - 0.5))
    return found


def _draw_box(
    axes: Axes,
    left: tuple[float, float],
    size: tuple[float, float],
    color: str,
    words: tuple[str, str],
) -> None:
    """Draw a box with a name and a line below it, given the middle of its left side."""
    (x, y), (width, height), (name, line) = left, size, words
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.02, y - height / 2),
            width - 0.04,
            height,
            boxstyle=style,
            facecolor=PAPER,
            edgecolor=color,
            linewidth=1.3,
        )
    )
    shift = 0.24 if line else 0.0
    text: Any = {"va": "center", "clip_on": False}
    axes.text(x + 0.16, y + shift, name, fontsize=9, fontweight="bold", color=INK, **text)
    if line:
        axes.text(x + 0.16, y - 0.17, line, fontsize=6.5, color=MUTED, linespacing=1.25, **text)


def _draw_arrow(axes: Axes, arrow: Arrow, ends: tuple[float, float], color: str) -> None:
    """Draw an arrow between two heights, with its share and its weight at its end."""
    start, tip = ends
    nothing = arrow.share <= LEAST
    shade = VERMILLION if arrow.weight < 0 else FAINT if nothing else color
    axes.add_patch(
        FancyArrowPatch(
            (_ROUTE + 0.03, start),
            (_RIGHT - 0.03, tip),
            arrowstyle="-|>",
            mutation_scale=7 + 5 * arrow.share,
            connectionstyle="arc3,rad=0",
            color=shade,
            linestyle="-" if arrow.weight else (0, (3, 2)),
            linewidth=0.8 + 4.2 * arrow.share,
            shrinkA=0,
            shrinkB=0,
        )
    )
    label = "0%" if nothing else f"{arrow.share:.0%}"
    if arrow.weight not in (0, 1):
        label += f" \u00d7 {arrow.weight:.2g}".replace("-", "\u2212")
    slope = (tip - start) / (_RIGHT - _ROUTE)
    x = _RIGHT - 0.28
    axes.text(
        x,
        tip + slope * (x - _RIGHT),
        label,
        fontsize=6.5,
        color=INK,
        ha="right",
        va="center",
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5, "alpha": 0.9},
    )
