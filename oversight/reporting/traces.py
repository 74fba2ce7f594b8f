"""What the runs of a study left beside their scores: settings, learning curves, module maps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from oversight.record import flat, read_json
from oversight.reporting.curves import DEPLOYED, Points, read_curve
from oversight.reporting.exported import Exported, read_exported
from oversight.reporting.study import Study
from oversight.run import RunFolder
from oversight.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Traces:
    """What is there of each run, by its name.

    Attributes:
        settings: by their dotted names, with the commit and the versions of packages.
        curves: true return where somebody may be unwatched, and at p = 1 over all episodes.
        pictures: module maps as PNG, those that a page shows: one for each method.
        problems: what was damaged, a sentence each.
    """

    settings: Mapping[str, Settings]
    curves: Mapping[str, Points]
    pictures: Mapping[str, bytes]
    problems: tuple[str, ...]


def read_traces(study: Study, told: Callable[[str], None] = lambda _: None) -> Traces:
    """Read from the folders of a study's runs, and from exported files for those without one."""
    problems: list[str] = []
    exported = read_exported(study.folder, problems)
    settings: dict[str, Settings] = {}
    curves: dict[str, Points] = {}
    for run, row in {row.run: row for row in study.rows}.items():
        told(f"reading {run}")
        folder = study.run(run)
        if exported.stands_for(folder):
            settings[run] = exported.settings.get(run, {})
            curves[run] = exported.curves.get(run, {})
        elif folder.path.exists():  # a study may come without its runs' folders
            settings[run] = _settings(folder, problems)
            tag = DEPLOYED if row.level == 1 else f"{DEPLOYED}_unobserved"
            curves[run] = read_curve(folder.path, tag, problems)
    return Traces(
        settings={run: each for run, each in settings.items() if each},
        curves={run: each for run, each in curves.items() if each},
        pictures=_pictures(study, exported, problems),
        problems=tuple(problems),
    )


def _settings(folder: RunFolder, problems: list[str]) -> Settings:
    try:
        return dict(flat(read_json(folder.config)))
    except ValueError as error:
        problems.append(f"{folder.path.name}: {error}")
        return {}


def _pictures(study: Study, exported: Exported, problems: list[str]) -> dict[str, bytes]:
    """Return one module map per method, of a run at the level in the middle where it has one."""
    rows = {row.run: row for row in study.rows if row.variation == study.main}.values()
    levels = sorted({row.level for row in rows})
    pictures = {}
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        for row in sorted(own, key=lambda row: (row.level != levels[len(levels) // 2], row.seed)):
            folder = study.run(row.run)
            stored = exported.stands_for(folder)
            path = exported.module_map(row.run) if stored else folder.module_map
            png = _png(path, row.run, problems)
            if png is not None:
                pictures[row.run] = png
                break
    return pictures


def _png(path: Path, run: str, problems: list[str]) -> bytes | None:
    """Return a picture's bytes if it is one, else say so; None where there is none."""
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
        Image.open(BytesIO(data)).load()
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three
        problems.append(f"{run}: {path.name} is damaged ({type(error).__name__})")
        return None
    return data
