"""The document: all sections of a study's report, with its verdict and its warnings.

The files of a report: the page, and every figure and table by itself.

The page: one HTML file that holds all it shows and asks no network for anything.

What a page is made of: sections of drawings, tables and pictures.

The sections of a report, each from the panel that it shows.

The variations of a study: what is changed in each, and all of them side by side.

What was run: commits, versions, steps and seeds, and a warning where they are mixed.
"""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from oversight.rl.report import tables
from oversight.rl.report.comparison import (
    PLAIN,
    SHARE,
    Panel,
    compare,
    early_stopping,
    label_efficiency,
    verdict,
)
from oversight.rl.report.curves import Band, Traces, band
from oversight.rl.report.figures import (
    Bands,
    efficiency_dots,
    headline,
    improvement_dots,
    learning_curves,
    selection_dots,
    styles,
    watched_and_unwatched,
)
from oversight.rl.report.results import OBSERVED, RULES, UNOBSERVED, Row, Study, ranges
from oversight.rl.report.tables import Cell, Table, mark, share_table
from oversight.rl.result_files import VERSIONS, Settings, differences
from oversight.runs.figures import Drawing, Styles
from oversight.runs.statistics import MIN_SEEDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture that a run left behind.

    Attributes:
        title: what it shows.
        caption: which run it is of.
        png: its bytes.
    """

    title: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


Block = Drawing | Table | Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        lead: a sentence before all else, or none.
        blocks: shown one after the other.
        folded: tables that a reader opens to see.
    """

    anchor: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = ()
    folded: Sequence[Table] = ()

    @property
    def drawings(self) -> list[Drawing]:
        """The figures to save."""
        return [block for block in self.blocks if isinstance(block, Drawing)]

    @property
    def tables(self) -> list[Table]:
        """The tables to save."""
        return [*(block for block in self.blocks if isinstance(block, Table)), *self.folded]


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
    both = {"oracle_selection", "observed"} <= {*rules}
    leak = [tables.leak_table(panel, f"{prefix}leak")] if both else []
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


ENOUGH = 5
"""Seeds from which on a 95% interval covers the truth in more than 90% of cases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the numbers come from.

    Attributes:
        runs: how many have results.
        commits: of the source, with the number of runs of each, the most frequent first.
        versions: of packages, each with its number of runs.
        env_steps: of a run, the least and the most.
        hours: of all runs together.
    """

    runs: int
    commits: Mapping[str, int]
    versions: Mapping[str, int]
    env_steps: tuple[float, float]
    hours: float


def provenance(study: Study, settings: Mapping[str, Settings]) -> tuple[Provenance, list[str]]:
    """Return where the numbers come from, and what about that is mixed."""
    rows = {row.run: row for row in study.rows}
    versions = _versions(settings.values())
    problems: list[str] = []
    commits: dict[str, list[str]] = {}
    for run, row in rows.items():
        commits.setdefault(row.commit or "unknown", []).append(run)
    problems += _mixed("commits", {name: len(runs) for name, runs in commits.items()}, commits)
    problems += [
        f"commit {name} was changed: what ran is not what it names"
        for name in commits
        if name.endswith("-dirty")
    ]
    for package, found in versions.items():
        problems += _mixed(f"versions of {package}", found, {})
    steps = _known(row.env_steps for row in rows.values())
    where = Provenance(
        runs=len(rows),
        commits=dict(Counter({name: len(runs) for name, runs in commits.items()}).most_common()),
        versions={
            f"{package} {version}": runs
            for package, found in versions.items()
            for version, runs in found.most_common()
        },
        env_steps=(min(steps), max(steps)) if steps else (nan, nan),
        hours=sum(_known(row.wall_seconds for row in rows.values())) / 3600,
    )
    return where, problems


def _versions(settings: Iterable[Settings]) -> dict[str, Counter[str]]:
    """Return how many runs had which version of each package, by name."""
    versions: dict[str, Counter[str]] = {}
    for each in settings:
        for name, version in each.items():
            if name.startswith(VERSIONS):
                package = name.removeprefix(VERSIONS)
                versions.setdefault(package, Counter())[str(version)] += 1
    return dict(sorted(versions.items()))


def _mixed(what: str, counts: Mapping[str, int], runs: Mapping[str, list[str]]) -> list[str]:
    """Return a warning where there is more than one, naming the runs of the rarer ones."""
    if len(counts) < 2:
        return []
    told = []
    for number, (name, count) in enumerate(Counter(counts).most_common()):
        members = runs.get(name, [])
        named = f": {', '.join(members[:3])}{', ...' if count > 3 else ''}"
        told.append(f"{name} ({count} runs{named if number and members else ''})")
    return [f"the runs have mixed {what}: {', '.join(told)}"]


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not np.isnan(value)]


def seeds_table(panel: Panel, name: str) -> Table:
    """Return which seeds each method has at each level."""
    rows = [
        [Cell(method), *(Cell(ranges(panel.cell(method, level))) for level in panel.levels)]
        for method in panel.methods
    ]
    return Table(
        name=name,
        title="Seeds",
        caption=f"Of the runs that have a checkpoint of rule {panel.rule}.",
        columns=["method", *(f"p = {level:g}" for level in panel.levels)],
        rows=rows,
    )


def few_seeds(panel: Panel) -> list[str]:
    """Return a warning if cells have so few seeds that their intervals are too narrow."""
    sizes = [len(panel.cell(method, at)) for method in panel.methods for at in panel.levels]
    few = sum(0 < size < ENOUGH for size in sizes)
    if not few:
        return []
    cells = f"{few} of {sum(map(bool, sizes))} cells of the variation {panel.name}"
    return [
        f"{cells} have fewer than {ENOUGH} seeds: their intervals are too narrow, and with fewer "
        f"than {MIN_SEEDS} they are not compared"
    ]


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


HERE = Path(__file__).parent


def render(document: Document) -> str:
    """Return the page of a report; all text in it is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["drawing"] = lambda block: isinstance(block, Drawing)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    environment.filters["svg"] = _svg
    template = environment.from_string((HERE / "page.html").read_text(encoding="utf-8"))
    css = (HERE / "page.css").read_text(encoding="utf-8")
    return template.render(document=document, css=Markup(css))


def _svg(drawing: Drawing, form: str) -> Markup:
    """Return a figure's element, which escapes its own text."""
    return Markup(drawing.inline(narrow=form == "narrow"))


def write(document: Document, folder: Path, told: Callable[[str], None] = lambda _: None) -> Path:
    """Write a report into a folder, which is made; return the page.

    Args:
        document: what to write.
        folder: gets `index.html`, and the folders `figures` and `tables`.
        told: called with what is being written.
    """
    figures, tables = folder / "figures", folder / "tables"
    for path in (figures, tables):
        path.mkdir(parents=True, exist_ok=True)
    for section in every(document):
        for drawing in section.drawings:
            told(f"drawing {drawing.name}")
            drawing.save(figures)
        for table in section.tables:
            table.save(tables)
    told("writing the page")
    page = folder / "index.html"
    page.write_text(render(document), encoding="utf-8")
    return page
