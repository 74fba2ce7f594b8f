"""The page: sections of figures and tables for each variation, with warnings, as one HTML file."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from oversight.rl.report import figures, tables
from oversight.rl.report.comparison import (
    PLAIN,
    Panel,
    early_stopping,
    label_efficiency,
    verdict,
)
from oversight.rl.report.curves import band
from oversight.rl.report.results import LEVEL, OBSERVED, ORACLE_SELECTION, UNOBSERVED, Study
from oversight.rl.report.tables import Table
from oversight.rl.result_files import RULES, VERSIONS, Settings, differences
from oversight.runs.figures import Drawing, Styles
from oversight.runs.statistics import MIN_SEEDS

Block = TypeVar("Block", Drawing, Table)

ENOUGH_SEEDS = 5
"""With fewer seeds, a 95% interval covers the true value in fewer than 90% of cases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        lead: is shown before all else.
        drawings: are shown first.
        tables: follow them.
        folded: tables that a reader opens.
        module_maps: PNG files in base64, by run.
    """

    anchor: str
    title: str
    lead: str = ""
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    module_maps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """The part of the page that shows one variation.

    Attributes:
        title: the variation, empty for the main one.
        changes: the settings that it changes, in words, as far as they are known.
        verdict: the winners.
        stopping: the effect of early stopping on the lead of the first routed method.
        sections: the first is shown above the table of contents.
    """

    title: str
    changes: str
    verdict: str
    stopping: str
    sections: Sequence[Section]


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """The origin of the numbers.

    Attributes:
        commits: of the source, with the number of runs of each.
        versions: of packages, with the number of runs of each.
        env_steps: of the shortest run, and of the longest if it differs.
        hours: of all runs together.
        warnings: what is mixed or unknown.
    """

    commits: Mapping[str, int]
    versions: Mapping[str, int]
    env_steps: Sequence[int]
    hours: float
    warnings: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The content of the page.

    Attributes:
        study: its name.
        rule: the selection rule that is used where no other is named.
        runs: how many of the declared runs have results, in words.
        chapters: one for each variation, the main one first.
        variations: a comparison of all variations, if there are several.
        seeds: a table for each chapter.
        provenance: the origin of the numbers.
        warnings: all that is missing, damaged or mixed.
    """

    study: str
    rule: str
    runs: str
    chapters: Sequence[Chapter]
    variations: Section | None
    seeds: Sequence[Table]
    provenance: Provenance
    warnings: Sequence[str]

    @property
    def drawings(self) -> list[Drawing]:
        """All figures."""
        sections = [section for chapter in self.chapters for section in chapter.sections]
        return [drawing for section in sections for drawing in section.drawings]

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        sections = [section for chapter in self.chapters for section in chapter.sections]
        sections += [self.variations] if self.variations else []
        found = [table for each in sections for table in (*each.tables, *each.folded)]
        return [*found, *self.seeds]


def build_report(
    study: Study,
    rule: str,
    routed: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Return the report of a study.

    Args:
        study: its results.
        rule: the selection rule that is used where no other is named.
        routed: the methods that are compared with each other method, if they were run.
        progress: is called with a description of each step.

    Raises:
        ValueError: if no row has the rule.
    """
    found = sorted(study.rows["rule"].unique())
    if rule not in found:
        raise ValueError(
            f"the study has no checkpoints of rule {rule!r}, only of {', '.join(found)}"
        )
    rows = dict(list(study.rows.groupby("variation")))
    panels = [Panel(name, rows[name], rule) for name in study.variations]
    prefixes = ["", *(f"{panel.name}-" for panel in panels[1:])]
    changes = _changes(panels, study.settings)
    chapters, seeds = [], []
    for panel, prefix in zip(panels, prefixes, strict=True):
        progress(f"comparing the methods of variation {panel.name}")
        chapters.append(_chapter(study, panel, routed, prefix, changes.get(panel.name, "")))
        seeds.append(_named(prefix, tables.seeds_table(panel)))
    provenance = _provenance(study)
    few = [warning for panel in panels for warning in _few_seeds(panel)]
    return Report(
        study=study.name,
        rule=rule,
        runs=f"{len(study.runs)}{f' of {study.declared}' if study.declared else ''} runs",
        chapters=chapters,
        variations=_side_by_side(panels, changes),
        seeds=seeds,
        provenance=provenance,
        warnings=list(dict.fromkeys([*provenance.warnings, *few, *study.problems])),
    )


def _chapter(
    study: Study, panel: Panel, routed: Sequence[str], prefix: str, changes: str
) -> Chapter:
    """Return the part of one variation; all sections are made only for the main one."""
    present = [method for method in routed if method in panel.methods]
    look = figures.styles(panel, present)
    sections = _sections(study, panel, present, look)
    if not prefix:
        sections += _main_sections(study, panel, present, look)
    shown = [each for each in sections if each.drawings or each.tables or each.module_maps]
    return Chapter(
        title=panel.name if prefix else "",
        changes=changes,
        verdict=verdict(panel),
        stopping=early_stopping(panel, next(iter([*present, *routed]), PLAIN)),
        sections=[
            replace(
                each,
                anchor=prefix + each.anchor,
                drawings=[_named(prefix, drawing) for drawing in each.drawings],
                tables=[_named(prefix, table) for table in each.tables],
                folded=[_named(prefix, table) for table in each.folded],
            )
            for each in [_top(panel, look), *shown]
        ],
    )


def _named(prefix: str, block: Block) -> Block:
    return replace(block, name=prefix + block.name)


def _top(panel: Panel, look: Styles) -> Section:
    """Return the figure and the table that are shown first."""
    if not panel.measured():
        return Section(anchor="top", title="")
    alt = f"{verdict(panel)} The numbers are in the table below the figure."
    title = "True return in unobserved episodes"
    return Section(
        anchor="top",
        title="",
        drawings=[figures.headline(panel, look, alt)],
        tables=[tables.returns_table(panel, UNOBSERVED, "unobserved", title)],
    )


def _sections(study: Study, panel: Panel, routed: Sequence[str], look: Styles) -> list[Section]:
    """Return the sections of every variation; those without content are not shown."""
    observed = tables.returns_table(panel, OBSERVED, "observed", "True return in observed episodes")
    oracles = [method for method in panel.methods if method not in panel.competitors]
    order = [*panel.ranked(), *oracles]
    stopped = routed if PLAIN in panel.methods else ()
    stopping = _given(*(tables.stopping_table(panel, method) for method in stopped))
    bands = _bands(study, panel)
    needs = {method: label_efficiency(panel, method) for method in panel.competitors}
    known = {method: need for method, need in needs.items() if need is not None}
    return [
        Section(
            anchor="standings",
            title="Best method at each level",
            tables=_given(tables.standings_table(panel)),
        ),
        Section(
            anchor="share",
            title="Share of the oracle's return",
            tables=_given(tables.share_table(panel)),
        ),
        Section(
            anchor="observed",
            title="Observed and unobserved episodes",
            drawings=[figures.observed_and_unobserved(panel, look, order)]
            if panel.measured(OBSERVED)
            else (),
            folded=[observed],
        ),
        Section(
            anchor="early-stopping",
            title="Early stopping",
            lead=" ".join(early_stopping(panel, method) for method in stopped),
            tables=stopping[:1],
            folded=stopping[1:],
        ),
        Section(
            anchor="curves",
            title="Learning curves",
            drawings=[figures.learning_curves(bands, look, panel.levels)] if bands else (),
        ),
        Section(
            anchor="label-efficiency",
            title="Label efficiency",
            drawings=[figures.efficiency_dots(known, look)] if known else (),
            tables=[tables.efficiency_table(known)] if known else (),
        ),
        Section(anchor="tax", title="Alignment tax", tables=_given(tables.tax_table(panel))),
        Section(
            anchor="flag-flip",
            title="Flag-flip gap",
            tables=_given(tables.flag_flip_table(panel)),
        ),
    ]


def _main_sections(
    study: Study, panel: Panel, routed: Sequence[str], look: Styles
) -> list[Section]:
    """Return the sections of the main variation only."""
    rules = [rule for rule in RULES if rule in set(panel.rows["rule"])]
    gain = {ORACLE_SELECTION, "observed"} <= {*rules}
    improved, improvements = [], []
    for method in routed:
        chances = {
            other: tables.probability_of_improvement(panel, method, other, panel.measured())
            for other in panel.competitors
            if other != method
        }
        chances = {other: chance for other, chance in chances.items() if chance.seeds}
        if chances:
            improved.append(figures.improvement_dots(method, chances, look))
            improvements.append(tables.improvement_table(panel, method))
    return [
        Section(
            anchor="improvement",
            title="Probability of improvement",
            drawings=improved,
            folded=improvements,
        ),
        Section(
            anchor="selection",
            title="Selection rules",
            lead="Selection by the hidden true reward is not available where oversight is needed. "
            "It is shown only to measure how much it would gain.",
            drawings=[figures.selection_dots(panel)] if len(rules) > 1 and panel.measured() else (),
            folded=[
                *([tables.oracle_selection_table(panel)] if gain else []),
                tables.rules_table(panel, rules),
            ],
        ),
        Section(
            anchor="modules",
            title="Module maps",
            lead="The moves of each module from every square, for one run of each method.",
            module_maps={
                run: base64.b64encode(png).decode() for run, png in study.module_maps.items()
            },
        ),
    ]


def _given(*found: Table | None) -> list[Table]:
    return [table for table in found if table is not None]


def _bands(study: Study, panel: Panel) -> figures.Bands:
    """Return the mean learning curve of every cell whose runs have any."""
    runs = panel.rows.drop_duplicates("run").groupby(["method", LEVEL], sort=False)["run"]
    found = {cell: band(study.curves.get(run, {}) for run in own) for cell, own in runs}
    return {cell: drawn for cell, drawn in found.items() if drawn is not None}


def _changes(panels: Sequence[Panel], settings: Mapping[str, Settings]) -> dict[str, str]:
    """Return the settings that each other variation changes for the same method, in words."""
    main: dict[str, Settings] = {}
    for run, method in zip(panels[0].rows["run"], panels[0].rows["method"], strict=True):
        if run in settings:
            main.setdefault(method, settings[run])
    words = {}
    for panel in panels[1:]:
        changed: dict[str, Any] = {}
        for run, method in zip(panel.rows["run"], panel.rows["method"], strict=True):
            if run in settings and method in main:
                here = differences(main[method], settings[run])
                changed = {name: value for name, (_, value) in here.items()} | changed
        words[panel.name] = ", ".join(
            f"{name} = {value:,}" if type(value) is int else f"{name} = {value}"
            for name, value in changed.items()
        )
    return words


def _side_by_side(panels: Sequence[Panel], changes: Mapping[str, str]) -> Section | None:
    """Return a table for each level that a variation shares with the main one, if there is any."""
    main, *others = panels
    shared = {
        level: [panel for panel in others if level in panel.measured()] for level in main.measured()
    }
    found = [tables.variations_table(main, own, level) for level, own in shared.items() if own]
    if not found:
        return None
    words = "; ".join(f"{name} has {changed}" for name, changed in changes.items() if changed)
    lead = f"True return in unobserved episodes{': ' if words else ''}{words}."
    return Section(anchor="variations", title="Comparison of variations", lead=lead, tables=found)


def _provenance(study: Study) -> Provenance:
    """Return the origin of the numbers, with warnings about what is mixed or unknown."""
    runs = study.runs
    commits = dict(runs["commit"].fillna("unknown"))
    warnings = _mixed("commits", commits)
    warnings += [
        f"commit {name} has uncommitted changes, so that the source of its runs is unknown"
        for name in dict.fromkeys(commits.values())
        if name.endswith("-dirty")
    ]
    versions: dict[str, int] = {}
    names = {name for each in study.settings.values() for name in each if name.startswith(VERSIONS)}
    for name in sorted(names):
        package = name.removeprefix(VERSIONS)
        found = {run: str(own[name]) for run, own in study.settings.items() if name in own}
        warnings += _mixed(f"versions of {package}", found)
        for version, count in Counter(found.values()).most_common():
            versions[f"{package} {version}"] = count
    steps = runs["env_steps"].dropna()
    return Provenance(
        commits=dict(Counter(commits.values()).most_common()),
        versions=versions,
        env_steps=sorted({int(steps.min()), int(steps.max())}) if len(steps) else (),
        hours=float(runs["wall_seconds"].sum()) / 3600,
        warnings=warnings,
    )


def _mixed(what: str, values: Mapping[str, str]) -> list[str]:
    """Return a warning if runs have different values; it names runs of the rarer ones."""
    parts = []
    for number, (value, count) in enumerate(Counter(values.values()).most_common()):
        runs = [run for run, own in values.items() if own == value][:3]
        named = f": {', '.join(runs)}{', ...' if count > 3 else ''}" if number else ""
        parts.append(f"{value} ({count} runs{named})")
    return [f"the runs have mixed {what}: {', '.join(parts)}"] if len(parts) > 1 else []


def _few_seeds(panel: Panel) -> list[str]:
    """Return a warning if cells have so few seeds that their intervals are too narrow."""
    sizes = [len(panel.cell(method, level)) for method in panel.methods for level in panel.levels]
    few = sum(0 < size < ENOUGH_SEEDS for size in sizes)
    if not few:
        return []
    return [
        f"{few} of {sum(map(bool, sizes))} cells of the variation {panel.name} have fewer than "
        f"{ENOUGH_SEEDS} seeds: their intervals are too narrow, and cells with fewer than "
        f"{MIN_SEEDS} seeds are not compared"
    ]


def render(report: Report) -> str:
    """Return the page as HTML; all text of the report is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = lambda drawing, form: Markup(
        drawing.inline(narrow=form == "narrow")
    )
    return environment.get_template("page.html").render(report=report)


def write_report(
    report: Report, folder: Path, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Write a report into a folder and return its page.

    Args:
        report: the content.
        folder: gets `index.html` and the folders `figures` and `tables`.
        progress: is called with a description of each step.
    """
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for drawing in report.drawings:
        progress(f"drawing {drawing.name}")
        drawing.save(folder / "figures")
    for table in report.tables:
        table.save(folder / "tables")
    progress("writing the page")
    page = folder / "index.html"
    page.write_text(render(report), encoding="utf-8")
    return page
