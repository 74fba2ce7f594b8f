"""The sections of a report, each from the panel that it shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from oversight.reporting import tables
from oversight.reporting.efficiency import SHARE, label_efficiency
from oversight.reporting.figures.curves import Bands, learning_curves
from oversight.reporting.figures.dots import efficiency_dots, improvement_dots, selection_dots
from oversight.reporting.figures.levels import headline, watched_and_unwatched
from oversight.reporting.figures.theme import Styles
from oversight.reporting.panel import PLAIN, Panel
from oversight.reporting.rows import OBSERVED, RULES, UNOBSERVED
from oversight.reporting.section import Block, Picture, Section
from oversight.reporting.share import share_table
from oversight.reporting.table import Cell, Table
from oversight.reporting.verdict import early_stopping, verdict


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the sections of one panel are made from.

    Attributes:
        panel: the methods and levels that are compared.
        look: how each method is drawn.
        routed: the methods that are put against each of the others.
        bands: learning curves by method and level.
        pictures: module maps.
        prefix: of the names of files, empty for the main panel.
    """

    panel: Panel
    look: Styles
    routed: Sequence[str]
    bands: Bands = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    prefix: str = ""


def top(material: Material) -> Section:
    """Return what is seen first: one figure and one table."""
    panel, prefix = material.panel, material.prefix
    said = f"{verdict(panel)} The numbers are in the table below the figure."
    table = tables.returns_table(
        panel, UNOBSERVED, f"{prefix}unwatched", "True return where nobody watches"
    )
    blocks: list[Block] = [headline(panel, material.look, prefix, said), table]
    return Section(anchor=f"{prefix}top", title="", blocks=blocks if panel.measured() else ())


def standings(material: Material) -> Section | None:
    """Return who is ahead at each level."""
    table = tables.standings(material.panel, f"{material.prefix}standings")
    if not table.rows:
        return None
    return Section(
        anchor=f"{material.prefix}standings", title="Who is ahead, level by level", blocks=[table]
    )


def share(material: Material) -> Section | None:
    """Return how near each method comes to the oracle."""
    table = share_table(material.panel, f"{material.prefix}share")
    if table is None:
        return None
    return Section(anchor=f"{material.prefix}share", title="Share of the oracle", blocks=[table])


def watched(material: Material) -> Section | None:
    """Return watched and unwatched episodes apart."""
    panel, prefix = material.panel, material.prefix
    oracles = [each for each in panel.methods if each not in panel.competitors]
    table = tables.returns_table(
        panel, OBSERVED, f"{prefix}watched", "True return where a square is watched"
    )
    if not panel.measured(OBSERVED):
        return None
    drawing = watched_and_unwatched(panel, material.look, [*panel.ranked(), *oracles], prefix)
    return Section(
        anchor=f"{prefix}watched", title="Watched and unwatched", blocks=[drawing], folded=[table]
    )


def stopping(material: Material) -> Section | None:
    """Return what early stopping does, for each routed method."""
    panel, prefix = material.panel, material.prefix
    routed = [each for each in material.routed if PLAIN in panel.methods]
    if not routed:
        return None
    found = [
        tables.stopping_table(panel, each, f"{prefix}early-stopping-{each}") for each in routed
    ]
    return Section(
        anchor=f"{prefix}early-stopping",
        title="Early stopping",
        lead=" ".join(early_stopping(panel, each) for each in routed),
        blocks=found[:1],
        folded=found[1:],
    )


def selection(material: Material) -> Section | None:
    """Return the three ways of choosing a checkpoint beside each other."""
    panel, prefix = material.panel, material.prefix
    rules = [rule for rule in RULES if any(row.rule == rule for row in panel.rows)]
    if len(rules) < 2 or not panel.measured():
        return None
    leak = [tables.leak_table(panel, f"{prefix}leak")] if {"leaky", "observed"} <= {*rules} else []
    return Section(
        anchor=f"{prefix}selection",
        title="Selection rules, and the size of the leak",
        lead="Choosing a checkpoint by the hidden truth is not available to anyone who needs "
        "oversight. It is shown here to size what it would add, and used nowhere else.",
        blocks=[selection_dots(panel, material.look, prefix)],
        folded=[*leak, tables.rules_table(panel, rules, f"{prefix}rules")],
    )


def learning(material: Material) -> Section | None:
    """Return the learning curves."""
    if not material.bands:
        return None
    drawing = learning_curves(material.bands, material.look, material.panel.levels, material.prefix)
    return Section(anchor=f"{material.prefix}curves", title="Learning curves", blocks=[drawing])


def improvement(material: Material) -> Section | None:
    """Return how often each routed method beats each other one."""
    panel, prefix = material.panel, material.prefix
    blocks: list[Block] = []
    folded = []
    for routed in material.routed:
        others = [method for method in panel.competitors if method != routed]
        chances = {each: tables.chance(panel, routed, each, panel.measured()) for each in others}
        chances = {each: chance for each, chance in chances.items() if chance.seeds}
        if chances:
            blocks.append(improvement_dots(routed, chances, material.look, prefix))
            folded.append(tables.improvement_table(panel, routed, f"{prefix}improvement-{routed}"))
    if not blocks:
        return None
    return Section(
        anchor=f"{prefix}improvement",
        title="Probability of improvement",
        blocks=blocks,
        folded=folded,
    )


def efficiency(material: Material) -> Section | None:
    """Return how many observed episodes each method needs."""
    panel, prefix = material.panel, material.prefix
    found = {each: label_efficiency(panel, each) for each in panel.competitors}
    known = {each: needs for each, needs in found.items() if needs is not None}
    if not known:
        return None
    order = sorted(known, key=lambda each: known[each].episodes.value)
    table = Table(
        name=f"{prefix}label-efficiency",
        title=f"Observed episodes needed for {SHARE:.0%} of the oracle",
        caption="Between two levels the share of the oracle is taken to be linear in the logarithm "
        "of the episodes. Episodes spent on choosing a checkpoint count.",
        columns=["method", "observed episodes (95% interval)"],
        rows=[[Cell(each), Cell(str(known[each]))] for each in order],
    )
    return Section(
        anchor=f"{prefix}label-efficiency",
        title="Label efficiency",
        blocks=[efficiency_dots(known, material.look, prefix), table],
    )


def tax(material: Material) -> Section | None:
    """Return what each method costs where everything is observed."""
    table = tables.tax_table(material.panel, f"{material.prefix}tax")
    if table is None:
        return None
    return Section(anchor=f"{material.prefix}tax", title="Alignment tax", blocks=[table])


def flag(material: Material) -> Section | None:
    """Return how much depends on being watched."""
    table = tables.flag_table(material.panel, f"{material.prefix}flag-flip")
    if table is None:
        return None
    return Section(anchor=f"{material.prefix}flag-flip", title="Flag-flip gap", blocks=[table])


def modules(material: Material) -> Section | None:
    """Return the module maps, one per method."""
    if not material.pictures:
        return None
    return Section(
        anchor=f"{material.prefix}modules",
        title="Module maps",
        lead="Where each module goes from every square, one run per method.",
        blocks=material.pictures,
    )


PARTS: Mapping[str, Callable[[Material], Section | None]] = {
    part.__name__: part
    for part in (
        *(standings, share, watched, stopping, selection, learning),
        *(improvement, efficiency, tax, flag, modules),
    )
}
"""The sections after the first, in their order."""
