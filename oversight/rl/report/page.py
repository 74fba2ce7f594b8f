"""The page: sections of figures and tables for each variation, with warnings, as one HTML file."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from oversight.rl.report.results import LEVEL, OBSERVED, UNOBSERVED, Study
from oversight.rl.report.tables import Table
from oversight.rl.result_files import RULES, VERSIONS, Settings, differences
from oversight.runs.figures import Drawing, Styles
from oversight.runs.statistics import MIN_SEEDS

Block = Drawing | Table

ENOUGH_SEEDS = 5
"""With fewer seeds, a 95% interval covers the true value in fewer than 90% of cases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page: figures and tables, and others that a reader opens.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        lead: is shown before all else.
        blocks: figures and tables.
        folded: tables that a reader opens.
        module_maps: PNG files in base64, by run.
    """

    anchor: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = ()
    folded: Sequence[Table] = ()
    module_maps: Mapping[str, str] = field(default_factory=dict)

    def with_prefix(self, prefix: str) -> "Section":
        """Return the section with a prefix in the names of its anchor and its blocks."""
        return replace(
            self,
            anchor=prefix + self.anchor,
            blocks=[replace(each, name=prefix + each.name) for each in self.blocks],
            folded=[replace(each, name=prefix + each.name) for each in self.folded],
        )


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
class Report:
    """The content of the page.

    Attributes:
        study: its name.
        rule: the selection rule that is used where no other is named.
        chapters: one for each variation, the main one first.
        variations: a comparison of all variations, if there are several.
        origin: the number of runs, their commits and their versions of packages, in words.
        seeds: a table of each chapter.
        warnings: all that is missing, damaged or mixed.
    """

    study: str
    rule: str
    chapters: Sequence[Chapter]
    variations: Section | None
    origin: Mapping[str, str]
    seeds: Section
    warnings: Sequence[str]

    @property
    def blocks(self) -> list[Block]:
        """All figures and tables."""
        sections = [section for chapter in self.chapters for section in chapter.sections]
        sections += [*([self.variations] if self.variations else []), self.seeds]
        return [block for section in sections for block in (*section.blocks, *section.folded)]


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
    rules = sorted(study.rows["rule"].unique())
    if rule not in rules:
        raise ValueError(
            f"the study has no checkpoints of rule {rule!r}, only of {', '.join(rules)}"
        )
    rows = dict(list(study.rows.groupby("variation")))
    panels = [Panel(name, rows[name], rule) for name in study.variations]
    changes = _changes(panels, study.settings)
    chapters = []
    for panel in panels:
        progress(f"comparing the methods of variation {panel.name}")
        chapters.append(_chapter(study, panel, routed, changes.get(panel.name)))
    origin, mixed = _origin(study)
    few = [warning for panel in panels for warning in _few_seeds(panel)]
    return Report(
        study=study.name,
        rule=rule,
        chapters=chapters,
        variations=_side_by_side(panels, changes),
        origin=origin,
        seeds=Section(anchor="seeds", title="", folded=[*map(tables.seeds_table, panels)]),
        warnings=list(dict.fromkeys([*mixed, *few, *study.problems])),
    )


def _chapter(study: Study, panel: Panel, routed: Sequence[str], changes: str | None) -> Chapter:
    """Return the part of one variation; the main one, which changes nothing, has more sections."""
    main = changes is None
    present = [method for method in routed if method in panel.methods]
    look = figures.styles(panel, present)
    sections = _sections(study, panel, present, look)
    sections += _main_sections(study, panel, present, look) if main else []
    shown = [each for each in sections if each.blocks or each.module_maps]
    prefix = "" if main else f"{panel.name}-"
    return Chapter(
        title="" if main else panel.name,
        changes=changes or "",
        verdict=verdict(panel),
        stopping=early_stopping(panel, next(iter([*present, *routed]), PLAIN)),
        sections=[each.with_prefix(prefix) for each in [_top(panel, look), *shown]],
    )


def _top(panel: Panel, look: Styles) -> Section:
    """Return the figure and the table that are shown first."""
    if not panel.measured():
        return _section("top", "")
    alt = f"{verdict(panel)} The numbers are in the table below the figure."
    title = "True return in unobserved episodes"
    table = tables.returns_table(panel, UNOBSERVED, "unobserved", title)
    return _section("top", "", figures.headline(panel, look, alt), table)


def _section(
    anchor: str,
    title: str,
    *blocks: Block | None,
    folded: Sequence[Table] = (),
    lead: str = "",
) -> Section:
    """Return a section of those blocks that are given."""
    given = [block for block in blocks if block is not None]
    return Section(anchor=anchor, title=title, lead=lead, blocks=given, folded=folded)


def _sections(study: Study, panel: Panel, routed: Sequence[str], look: Styles) -> list[Section]:
    """Return the sections of every variation; those without blocks are not shown."""
    title = "True return in observed episodes"
    observed = [tables.returns_table(panel, OBSERVED, "observed", title)]
    both = figures.observed_and_unobserved(panel, look) if panel.measured(OBSERVED) else None
    stopped = routed if PLAIN in panel.methods and panel.measured() else ()
    stopping = [tables.stopping_table(panel, method) for method in stopped]
    lead = " ".join(early_stopping(panel, method) for method in stopped)
    bands = _bands(study, panel)
    curves = figures.learning_curves(bands, look, panel.levels) if bands else None
    needs = {method: label_efficiency(panel, method) for method in panel.competitors}
    known = {method: need for method, need in needs.items() if need is not None}
    efficiency = (
        (figures.efficiency_dots(known, look), tables.efficiency_table(known)) if known else ()
    )
    return [
        _section("standings", "Best method at each level", tables.standings_table(panel)),
        _section("share", "Share of the oracle's return", tables.share_table(panel)),
        _section("observed", "Observed and unobserved episodes", both, folded=observed),
        _section("early-stopping", "Early stopping", *stopping[:1], folded=stopping[1:], lead=lead),
        _section("curves", "Learning curves", curves),
        _section("label-efficiency", "Label efficiency", *efficiency),
        _section("tax", "Alignment tax", tables.tax_table(panel)),
        _section("flag-flip", "Flag-flip gap", tables.flag_flip_table(panel)),
    ]


def _main_sections(
    study: Study, panel: Panel, routed: Sequence[str], look: Styles
) -> list[Section]:
    """Return the sections of the main variation only."""
    rules = [rule for rule in RULES if rule in set(panel.rows["rule"])]
    gains = [tables.oracle_selection_table(panel)] if {*rules} >= {*RULES[1:]} else []
    several = len(rules) > 1 and panel.measured()
    improved, improvements = [], []
    for method in routed:
        chances = tables.chances(panel, method)
        if chances:
            improved.append(figures.improvement_dots(method, chances, look))
            improvements.append(tables.improvement_table(panel, method))
    maps = {run: base64.b64encode(png).decode() for run, png in study.module_maps.items()}
    return [
        _section("improvement", "Probability of improvement", *improved, folded=improvements),
        _section(
            "selection",
            "Selection rules",
            figures.selection_dots(panel) if several else None,
            folded=[*gains, tables.rules_table(panel, rules)],
            lead="Selection by the hidden true reward is not available where oversight is needed. "
            "It is shown only to measure how much it would gain.",
        ),
        Section(
            anchor="modules",
            title="Module maps",
            lead="The moves of each module from every square, for one run of each method.",
            module_maps=maps,
        ),
    ]


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
    return _section("variations", "Comparison of variations", *found, lead=lead)


def _origin(study: Study) -> tuple[dict[str, str], list[str]]:
    """Return where the numbers come from, in words, and warnings about what is mixed."""
    runs = study.runs
    commits = dict(runs["commit"].fillna("unknown"))
    declared = f" of {study.declared}" if study.declared else ""
    origin = {
        "Runs": f"{len(runs)}{declared} runs",
        "Time": f"{runs['wall_seconds'].sum() / 3600:.1f} hours in all",
        "Commits": _counted(commits),
    }
    steps = runs["env_steps"].dropna()
    if len(steps):
        ends = dict.fromkeys([f"{steps.min():,}", f"{steps.max():,}"])
        origin["Environment steps"] = f"{' to '.join(ends)} in each run"
    warnings = _mixed("commits", commits)
    warnings += [
        f"commit {name} has uncommitted changes, so that the source of its runs is unknown"
        for name in dict.fromkeys(commits.values())
        if name.endswith("-dirty")
    ]
    names = {name for each in study.settings.values() for name in each if name.startswith(VERSIONS)}
    for name in sorted(names):
        package = name.removeprefix(VERSIONS)
        versions = {run: str(own[name]) for run, own in study.settings.items() if name in own}
        origin[f"Version of {package}"] = _counted(versions)
        warnings += _mixed(f"versions of {package}", versions)
    return origin, warnings


def _counted(values: Mapping[str, str]) -> str:
    """Return the values of runs with the number of runs of each, the most frequent first."""
    counts = Counter(values.values()).most_common()
    return ", ".join(f"{value} ({count} runs)" for value, count in counts)


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
    environment.tests["table"] = lambda block: isinstance(block, Table)
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
    for block in report.blocks:
        progress(f"writing {block.name}")
        target = folder / ("tables" if isinstance(block, Table) else "figures")
        target.mkdir(parents=True, exist_ok=True)
        block.save(target)
    progress("writing the page")
    page = folder / "index.html"
    page.write_text(render(report), encoding="utf-8")
    return page
