"""The document: all sections of a study's report, with its verdict and its warnings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from oversight.reporting.curves import Band, band
from oversight.reporting.figures.curves import Bands
from oversight.reporting.figures.theme import styles
from oversight.reporting.panel import PLAIN, Panel
from oversight.reporting.provenance import Provenance, few_seeds, provenance, seeds_table
from oversight.reporting.section import Picture, Section
from oversight.reporting.sections import PARTS, Material, top
from oversight.reporting.study import Study
from oversight.reporting.traces import Traces
from oversight.reporting.variations import Changes, changes, side_by_side
from oversight.reporting.verdict import early_stopping, verdict

_SHORT = (*("standings", "share", "watched", "stopping", "learning", "efficiency", "tax", "flag"),)
"""The sections of the variations; the main panel has all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """A panel's part of the page.

    Attributes:
        title: empty for the main panel.
        changes: what is changed in it, in words, as far as its runs say.
        verdict: who wins.
        stopping: what early stopping does to the first routed method's lead.
        top: the figure and the table that come first.
        sections: the rest.
    """

    title: str
    changes: str
    verdict: str
    stopping: str
    top: Section
    sections: Sequence[Section]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """All that a report says.

    Attributes:
        study: its name.
        rule: how checkpoints were chosen where nothing else is said.
        runs: how many of the declared runs have results, in words.
        chapters: the main panel's, then one for each variation.
        variations: all of them side by side, if there are any.
        where: where the numbers come from.
        seeds: which seeds were run, a table for each chapter.
        warnings: what was missing, damaged or mixed.
    """

    study: str
    rule: str
    runs: str
    chapters: Sequence[Chapter]
    variations: Section | None
    where: Provenance
    seeds: Section
    warnings: Sequence[str]


def compose(
    study: Study,
    traces: Traces,
    rule: str,
    routed: Sequence[str],
    told: Callable[[str], None] = lambda _: None,
) -> Document:
    """Return the report of a study.

    Args:
        study: what its folder holds.
        traces: what its runs left.
        rule: how checkpoints are chosen where nothing else is said.
        routed: the methods that are put against each of the others; those that were run count.
        told: called with what is being done.

    Raises:
        ValueError: if not one row is of that rule.
    """
    panels = _panels(study, rule)
    changed = changes(panels, traces.settings)
    chapters = []
    for panel in panels:
        told(f"comparing {panel.name}")
        chapters.append(_chapter(traces, panel, routed, changed))
    where, mixed = provenance(study, traces.settings)
    mixed += [warning for panel in panels for warning in few_seeds(panel)]
    of = f" of {study.declared}" if study.declared else ""
    return Document(
        study=study.name,
        rule=rule,
        runs=f"{len(study.runs)}{of} runs",
        chapters=chapters,
        variations=side_by_side(panels, changed),
        where=where,
        seeds=_seeds(panels),
        warnings=list(dict.fromkeys([*mixed, *study.problems, *traces.problems])),
    )


def _panels(study: Study, rule: str) -> list[Panel]:
    """Return the variations of a study, the main one first."""
    if not any(row.rule == rule for row in study.rows):
        found = ", ".join(sorted({row.rule for row in study.rows}))
        raise ValueError(f"the study has no checkpoints of rule {rule!r}, only of {found}")
    names = sorted(
        dict.fromkeys(row.variation for row in study.rows), key=lambda n: n != study.main
    )
    return [Panel(name, [r for r in study.rows if r.variation == name], rule) for name in names]


def _seeds(panels: Sequence[Panel]) -> Section:
    names = [f"{_prefix(panel, panel is panels[0])}seeds" for panel in panels]
    tables = [seeds_table(panel, name) for panel, name in zip(panels, names, strict=True)]
    return Section(anchor="seeds", title="", folded=tables)


def _chapter(traces: Traces, panel: Panel, routed: Sequence[str], changed: Changes) -> Chapter:
    """Return a panel's part of the page, all of it for the main one, which changes nothing."""
    main = panel.name not in changed
    present = [method for method in routed if method in panel.methods]
    material = Material(
        panel=panel,
        look=styles(panel, present),
        routed=present,
        bands=_bands(traces, panel),
        pictures=_pictures(traces, panel) if main else (),
        prefix=_prefix(panel, main),
    )
    parts = [PARTS[name](material) for name in (PARTS if main else _SHORT)]
    return Chapter(
        title="" if main else panel.name,
        changes=changed.get(panel.name, ""),
        verdict=verdict(panel),
        stopping=early_stopping(panel, next(iter([*present, *routed]), PLAIN)),
        top=top(material),
        sections=[part for part in parts if part is not None],
    )


def _prefix(panel: Panel, main: bool) -> str:
    return "" if main else f"{panel.name}-"


def _bands(traces: Traces, panel: Panel) -> Bands:
    """Return the learning curves of every cell whose runs left any."""
    cells: dict[tuple[str, float], list[str]] = {}
    for row in {row.run: row for row in panel.rows}.values():
        cells.setdefault((row.method, row.level), []).append(row.run)
    found: dict[tuple[str, float], Band] = {}
    for cell, runs in cells.items():
        drawn = band(traces.curves.get(run, {}) for run in runs)
        if drawn is not None:
            found[cell] = drawn
    return found


def _pictures(traces: Traces, panel: Panel) -> list[Picture]:
    methods = {row.run: row.method for row in panel.rows}
    return [
        Picture(title=methods[run], caption=f"Run {run}.", png=png)
        for run, png in traces.pictures.items()
    ]


def every(document: Document) -> Iterable[Section]:
    """Yield all sections of a document, whose figures and tables are saved."""
    for chapter in document.chapters:
        yield chapter.top
        yield from chapter.sections
    if document.variations is not None:
        yield document.variations
    yield document.seeds
