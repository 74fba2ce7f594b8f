"""The document: all sections of a study's report, with its verdict and its warnings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from oversight.reporting.curves import DEPLOYED, Band, band, read_curve
from oversight.reporting.figures.curves import Bands
from oversight.reporting.figures.theme import styles
from oversight.reporting.panel import PLAIN, Panel
from oversight.reporting.provenance import Provenance, few_seeds, provenance, seeds_table
from oversight.reporting.section import Picture, Section
from oversight.reporting.sections import PARTS, Material, top
from oversight.reporting.study import Study
from oversight.reporting.verdict import early_stopping, verdict

MAIN = "default"
_SHORT = ("standings", "watched", "stopping", "efficiency", "tax", "flag")
"""The sections of the variations; the main panel has all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """A panel's part of the page.

    Attributes:
        title: empty for the main panel.
        verdict: who wins.
        stopping: what early stopping does to the first routed method's lead.
        top: the figure and the table that come first.
        sections: the rest.
    """

    title: str
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
        where: where the numbers come from.
        seeds: which seeds were run, a table for each chapter.
        warnings: what was missing, damaged or mixed.
    """

    study: str
    rule: str
    runs: str
    chapters: Sequence[Chapter]
    where: Provenance
    seeds: Section
    warnings: Sequence[str]


def compose(
    study: Study, rule: str, routed: Sequence[str], told: Callable[[str], None] = lambda _: None
) -> Document:
    """Return the report of a study.

    Args:
        study: what its folder holds.
        rule: how checkpoints are chosen where nothing else is said.
        routed: the methods that are put against each of the others; those that were run count.
        told: called with what is being done.

    Raises:
        ValueError: if not one row is of that rule.
    """
    if not any(row.rule == rule for row in study.rows):
        found = ", ".join(sorted({row.rule for row in study.rows}))
        raise ValueError(f"the study has no checkpoints of rule {rule!r}, only of {found}")
    names = sorted(dict.fromkeys(row.variation for row in study.rows), key=lambda n: n != MAIN)
    panels = [Panel(name, [r for r in study.rows if r.variation == name], rule) for name in names]
    problems = list(study.problems)
    chapters = []
    for number, panel in enumerate(panels):
        told(f"comparing {panel.name}")
        chapters.append(_chapter(study, panel, routed, problems, main=number == 0))
    where, mixed = provenance(study)
    mixed += [warning for panel in panels for warning in few_seeds(panel)]
    seeds = [seeds_table(panel, f"{_prefix(panel, panel is panels[0])}seeds") for panel in panels]
    of = f" of {study.declared}" if study.declared else ""
    return Document(
        study=study.name,
        rule=rule,
        runs=f"{len(study.runs)}{of} runs",
        chapters=chapters,
        where=where,
        seeds=Section(anchor="seeds", title="", folded=seeds),
        warnings=list(dict.fromkeys(mixed + problems)),
    )


def _chapter(
    study: Study, panel: Panel, routed: Sequence[str], problems: list[str], *, main: bool
) -> Chapter:
    """Return a panel's part of the page, all of it for the main one."""
    present = [method for method in routed if method in panel.methods]
    material = Material(
        panel=panel,
        look=styles(panel, present),
        routed=present,
        bands=_bands(study, panel, problems) if main else {},
        pictures=_pictures(study, panel, problems) if main else (),
        prefix=_prefix(panel, main),
    )
    parts = [PARTS[name](material) for name in (PARTS if main else _SHORT)]
    return Chapter(
        title="" if main else panel.name,
        verdict=verdict(panel),
        stopping=early_stopping(panel, next(iter([*present, *routed]), PLAIN)),
        top=top(material),
        sections=[part for part in parts if part is not None],
    )


def _prefix(panel: Panel, main: bool) -> str:
    return "" if main else f"{panel.name}-"


def _bands(study: Study, panel: Panel, problems: list[str]) -> Bands:
    """Return the learning curves of every cell whose runs left events."""
    cells: dict[tuple[str, float], list[Path]] = {}
    for row in {row.run: row for row in panel.rows}.values():
        cells.setdefault((row.method, row.level), []).append(study.run(row.run).path)
    found: dict[tuple[str, float], Band] = {}
    for (method, level), folders in cells.items():
        tag = DEPLOYED if level == 1 else f"{DEPLOYED}_unobserved"
        drawn = band(read_curve(folder, tag, problems) for folder in folders)
        if drawn is not None:
            found[method, level] = drawn
    return found


def _pictures(study: Study, panel: Panel, problems: list[str]) -> list[Picture]:
    """Return one module map per method, of a run at the level that the study has most of."""
    pictures = []
    for method in panel.methods:
        rows = {row.run: row for row in panel.rows if row.method == method}.values()
        middle = panel.levels[len(panel.levels) // 2]
        for row in sorted(rows, key=lambda row: (row.level != middle, row.seed)):
            png = _png(study.run(row.run).module_map, problems)
            if png is not None:
                caption = f"Run {row.run}."
                pictures.append(Picture(title=method, caption=caption, png=png))
                break
    return pictures


def _png(path: Path, problems: list[str]) -> bytes | None:
    """Return a picture's bytes if it is one, else say so; None where there is none."""
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
        Image.open(BytesIO(data)).load()
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three
        problems.append(f"{path.parent.name}: {path.name} is damaged ({type(error).__name__})")
        return None
    return data


def every(document: Document) -> Iterable[Section]:
    """Yield all sections of a document, whose figures and tables are saved."""
    for chapter in document.chapters:
        yield chapter.top
        yield from chapter.sections
    yield document.seeds
