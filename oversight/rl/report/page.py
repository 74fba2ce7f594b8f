"""The page: sections of figures and tables for each variation, with warnings, as one HTML file."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from oversight.rl.report import figures, sensitivity, tables, worlds
from oversight.rl.report.comparison import (
    PLAIN,
    Panel,
    early_stopping,
    listed,
    verdict,
)
from oversight.rl.report.curves import band
from oversight.rl.report.results import LEVEL, MAIN, OBSERVED, UNOBSERVED, Study
from oversight.rl.report.tables import Table
from oversight.rl.result_files import RULES, VERSIONS, Settings, differences
from oversight.runs.figures import Drawing, Styles
from oversight.runs.pages import templates
from oversight.runs.statistics import MIN_SEEDS

Block = Drawing | Table

ENOUGH_SEEDS = 5
"""With fewer seeds, a 95% interval covers the true value in fewer than 90% of cases."""
BRIEF = ("standings", "flag-flip")
"""The sections of a world that is one of several."""
EPISODES = "An episode is observed if the overseer watches at least one terminal square."
LEVELS = (
    "Every number is of test levels, where the goal and its proxy part, unless it says otherwise. "
    "GMG is goal misgeneralization, the share of capable episodes that served the proxy first and "
    "never the goal, and CAP is capability, the share that served either."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its address on the page.
        title: its heading.
        lead: is shown before all else.
        blocks: figures and tables.
        module_maps: PNG files in base64, by run.
    """

    anchor: str
    title: str = ""
    lead: str = ""
    blocks: Sequence[Block] = ()
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
class Report:
    """The content of the page.

    Attributes:
        study: its name.
        rule: the selection rule that is used where no other is named.
        reading: what the numbers are about.
        chapters: one for each variation, the main one first; of several worlds, one that compares
            them is before all others.
        variations: a comparison of all variations, if there are several.
        sensitivity: how returns depend on settings over which the variations sweep, if any.
        origin: the number of runs, their commits and their versions of packages, in words.
        seeds: a table of each chapter.
        warnings: all that is missing, damaged or mixed.
    """

    study: str
    rule: str
    reading: str
    chapters: Sequence[Chapter]
    variations: Section | None
    sensitivity: Section | None
    origin: Mapping[str, str]
    seeds: Sequence[Table]
    warnings: Sequence[str]

    @property
    def blocks(self) -> list[Block]:
        """All figures and tables."""
        sections = [section for chapter in self.chapters for section in chapter.sections]
        sections += [each for each in (self.variations, self.sensitivity) if each]
        return [*(block for section in sections for block in section.blocks), *self.seeds]


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
    in_worlds = all(worlds.is_world(panel) for panel in panels)
    several = in_worlds and MAIN not in study.variations
    changes = (_environments if several else _changes)(panels, study.settings)
    chapters = [_worlds_chapter(panels, routed)] if several else []
    for panel in panels:
        progress(f"comparing the methods of variation {panel.name}")
        chapters.append(_chapter(study, panel, routed, changes.get(panel.name)))
    origin, mixed = _origin(study)
    few = [warning for panel in panels for warning in _few_seeds(panel)]
    return Report(
        study=study.name,
        rule=rule,
        reading=LEVELS if in_worlds else EPISODES,
        chapters=chapters,
        variations=_side_by_side(panels, changes),
        sensitivity=_sensitivity(panels, study.settings, routed),
        origin=origin,
        seeds=[tables.seeds_table(panel) for panel in panels],
        warnings=list(dict.fromkeys([*mixed, *few, *study.problems])),
    )


def _chapter(study: Study, panel: Panel, routed: Sequence[str], changes: str | None) -> Chapter:
    """Return the part of one variation; the main one, which changes nothing, has more sections."""
    main = changes is None
    present = [method for method in routed if method in panel.methods]
    look = figures.styles(panel, present)
    sections = _sections(study, panel, present, look)
    sections += _main_sections(study, panel, present) if main else []
    sections = [each for each in sections if each.blocks or each.module_maps]
    if worlds.is_world(panel):
        sections = [each for each in sections if main or each.anchor in BRIEF]
        top = _section("top", "", *worlds.goal_tables(panel, ENOUGH_SEEDS))
    else:
        top = _top(panel, look)
    sections = [top, *sections]
    return Chapter(
        title="" if main else panel.name,
        changes=changes or "",
        verdict=verdict(panel),
        stopping=early_stopping(panel, next(iter([*present, *routed]), PLAIN)),
        sections=sections if main else [_with_prefix(each, panel.name) for each in sections],
    )


def _worlds_chapter(panels: Sequence[Panel], routed: Sequence[str]) -> Chapter:
    """Return the part that compares worlds: a figure, and the best methods of each world."""
    found = worlds.best_pairs(panels, routed)
    run = {method for panel in panels for method in panel.methods}
    names = listed([method for method in routed if method in run]) or "none of those that were run"
    top = _section("top", "", worlds.goals_figure(panels), worlds.best_pairs_table(found))
    return Chapter(
        title="",
        changes="",
        verdict=worlds.verdict_of_worlds(found),
        stopping=f"Routed methods: {names}. The best routed method is compared with the best "
        "other one, both by true return in unobserved episodes; oracles do not take part.",
        sections=[top],
    )


def _section(anchor: str, title: str, *blocks: Block | None, lead: str = "") -> Section:
    """Return a section of those blocks that are given."""
    given = [block for block in blocks if block is not None]
    return Section(anchor=anchor, title=title, lead=lead, blocks=given)


def _with_prefix(section: Section, prefix: str) -> Section:
    """Return a section with a prefix in the names of its anchor and its blocks."""
    blocks = [replace(each, name=f"{prefix}-{each.name}") for each in section.blocks]
    return replace(section, anchor=f"{prefix}-{section.anchor}", blocks=blocks)


def _top(panel: Panel, look: Styles) -> Section:
    """Return the figure and the table that are shown first."""
    alt = f"{verdict(panel)} The numbers are in the table below the figure."
    drawing = figures.headline(panel, look, alt) if panel.measured() else None
    return _section("top", "", drawing, tables.returns_table(panel, UNOBSERVED, "unobserved"))


def _sections(study: Study, panel: Panel, routed: Sequence[str], look: Styles) -> list[Section]:
    """Return the sections of every variation; those without blocks are not shown."""
    title = "Observed and unobserved episodes"
    observed = tables.returns_table(panel, OBSERVED, "observed")
    both = (figures.observed_and_unobserved(panel, look), observed) if observed else ()
    stopped = routed if PLAIN in panel.methods and panel.measured() else ()
    stopping = [tables.stopping_table(panel, method) for method in stopped]
    bands = _bands(study, panel)
    curves = figures.learning_curves(bands, look, panel.levels) if bands else None
    return [
        _section("standings", "Best method at each level", tables.standings_table(panel)),
        _section("share", "Share of the oracle's return", tables.share_table(panel)),
        _section("observed", title, *both),
        _section("early-stopping", "Early stopping", *stopping),
        _section("curves", "Learning curves", curves),
        _section("label-efficiency", "Label efficiency", tables.efficiency_table(panel)),
        _section("flag-flip", "Flag-flip gap", tables.flag_flip_table(panel)),
    ]


def _main_sections(study: Study, panel: Panel, routed: Sequence[str]) -> list[Section]:
    """Return the sections of the main variation only."""
    gains = tables.oracle_selection_table(panel) if {*RULES} <= {*panel.rows["rule"]} else None
    maps = {run: base64.b64encode(png).decode() for run, png in study.module_maps.items()}
    return [
        _section(
            "improvement", "Probability of improvement", tables.improvement_table(panel, routed)
        ),
        _section(
            "selection",
            "Selection by the true reward",
            gains,
            lead="Selection by the hidden true reward is not available where oversight is needed. "
            "It is shown only to measure how much it would gain.",
        ),
        Section(
            anchor="modules",
            title="Module maps",
            lead="The moves of each module from every square, for one run of each method. The "
            "length of an arrow is the probability of that move, where no square is overseen.",
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
    main, *others = (sensitivity.settings_by_method(panel, settings) for panel in panels)
    words = {}
    for panel, own in zip(panels[1:], others, strict=True):
        changed: dict[str, Any] = {}
        for method in own.keys() & main.keys():
            here = differences(main[method], own[method])
            changed |= {name: value for name, (_, value) in here.items()}
        words[panel.name] = ", ".join(
            f"{name} = {value:,}" if type(value) is int else f"{name} = {value}"
            for name, value in sorted(changed.items())
        )
    return words


def _environments(panels: Sequence[Panel], settings: Mapping[str, Settings]) -> dict[str, str]:
    """Return the environment of each variation, in words; empty where it is unknown."""
    found = {
        panel.name: [
            settings[run]["env"] for run in panel.rows["run"] if "env" in settings.get(run, {})
        ]
        for panel in panels
    }
    return {name: f"env = {envs[0]}" if envs else "" for name, envs in found.items()}


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


def _sensitivity(
    panels: Sequence[Panel], settings: Mapping[str, Settings], routed: Sequence[str]
) -> Section | None:
    """Return a figure and a table for each setting over which the variations sweep, if any."""
    sweeps = sensitivity.setting_sweeps(panels, settings)
    blocks: list[Block] = []
    for each in sweeps:
        base = next(iter(each.panels.values()))
        look = figures.styles(base, [name for name in routed if name in base.methods])
        blocks += [sensitivity.sensitivity_figure(each, look), sensitivity.sensitivity_table(each)]
    return _section("sensitivity", "Dependence on settings", *blocks) if blocks else None


def _origin(study: Study) -> tuple[dict[str, str], list[str]]:
    """Return where the numbers come from, in words, and warnings about what is mixed."""
    runs = study.runs
    declared = f" of {study.declared}" if study.declared else ""
    origin = {
        "Runs": f"{len(runs)}{declared} runs",
        "Time": f"{runs['wall_seconds'].sum() / 3600:.1f} hours in all",
    }
    steps = runs["env_steps"].dropna()
    if len(steps):
        ends = dict.fromkeys([f"{steps.min():,}", f"{steps.max():,}"])
        origin["Environment steps"] = f"{' to '.join(ends)} in each run"
    commits = runs["commit"].fillna("unknown")
    versions = pd.DataFrame.from_dict(
        {
            run: {name: str(own[name]) for name in own if name.startswith(VERSIONS)}
            for run, own in study.settings.items()
        },
        orient="index",
    )
    named = {"Commits": commits} | {
        f"Versions of {name.removeprefix(VERSIONS)}": versions[name].dropna()
        for name in sorted(versions.columns)
    }
    warnings = [
        f"commit {name} has uncommitted changes, so that the source of its runs is unknown"
        for name in commits.unique()
        if name.endswith("-dirty")
    ]
    for what, values in named.items():
        counts = values.value_counts()
        origin[what] = ", ".join(f"{value} ({count} runs)" for value, count in counts.items())
        if len(counts) > 1:
            rare = values[values == counts.index[-1]].index[:3]
            mixed = f"the runs have mixed {what[0].lower()}{what[1:]}: {origin[what]}"
            warnings.append(f"{mixed}; {counts.index[-1]} have {', '.join(rare)}")
    return origin, warnings


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
    return templates(Path(__file__).parent).get_template("page.html").render(report=report)


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
