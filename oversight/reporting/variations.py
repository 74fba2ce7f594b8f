"""The variations of a study: what is changed in each, and all of them side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from oversight.reporting.comparison import compare
from oversight.reporting.panel import Panel
from oversight.reporting.rows import Row
from oversight.reporting.section import Section
from oversight.reporting.table import Cell, Table
from oversight.reporting.tables import mark
from oversight.settings import Settings, differences

Changes = Mapping[str, str]
"""By variation, what is changed in it, in words; empty where its runs do not say."""


def changes(panels: Sequence[Panel], settings: Mapping[str, Settings]) -> Changes:
    """Return what sets the runs of each panel apart from the first panel's of the same method.

    Args:
        panels: the main one first.
        settings: by run, as far as they are known.
    """
    plain: dict[str, Settings] = {}
    for row in panels[0].rows:
        if row.run in settings:
            plain.setdefault(row.method, settings[row.run])
    return {panel.name: _changed(panel.rows, plain, settings) for panel in panels[1:]}


def _changed(
    rows: Sequence[Row], plain: Mapping[str, Settings], settings: Mapping[str, Settings]
) -> str:
    found: dict[str, Any] = {}
    for row in {row.run: row for row in rows}.values():
        if row.run in settings and row.method in plain:
            here = differences(plain[row.method], settings[row.run])
            found = {**{name: value for name, (_, value) in here.items()}, **found}
    return ", ".join(f"{name} = {_worded(value)}" for name, value in found.items())


def _worded(value: Any) -> str:  # noqa: ANN401
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else f"{value}"


def side_by_side(panels: Sequence[Panel], changed: Changes) -> Section | None:
    """Return a table for each level that a variation shares with the main panel, or None.

    Args:
        panels: the main one first.
        changed: what is changed in the others.
    """
    main, *others = panels
    shared = {
        level: [panel for panel in others if level in panel.measured()] for level in main.measured()
    }
    found = [_table(main, shared[level], level) for level in shared if shared[level]]
    if not found:
        return None
    said = "; ".join(f"{name} has {words}" for name, words in changed.items() if words)
    return Section(
        anchor="variations",
        title="Variations side by side",
        lead=f"True return where nobody watches{': ' if said else ''}{said}.",
        blocks=found,
    )


def _table(main: Panel, others: Sequence[Panel], level: float) -> Table:
    """Return every method that a variation has at a level, the main panel's return first."""
    panels = [main, *others]
    known = {name for panel in others for name in panel.methods if len(panel.sample(name, level))}
    compared = [
        compare(panel, [name for name in panel.competitors if name in known], level)
        for panel in panels
    ]
    order = [*(name for name in main.methods if name not in main.competitors), *main.ranked()]
    order += [name for panel in others for name in panel.methods]
    pairs = list(zip(panels, compared, strict=True))
    return Table(
        name=f"variations-p{level:g}",
        title=f"Variations at p = {level:g}",
        caption="IQM over seeds (95% interval) of the methods that a variation has. Bold: the "
        "winner of a column, its interval above all others'. Underlined: a draw. Oracles do not "
        "compete.",
        columns=["method", *(panel.name for panel in panels)],
        rows=[
            [
                Cell(name),
                *(Cell(panel.estimate(name, level), mark(each, name)) for panel, each in pairs),
            ]
            for name in dict.fromkeys(order)
            if name in known
        ],
    )
