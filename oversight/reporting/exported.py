"""What an export holds beside its rows, read: settings, curves and module maps of runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oversight.record import read_json
from oversight.reporting.curve_file import from_csv
from oversight.reporting.curves import Points
from oversight.results import ABOUT, CURVES, KNOWN, MODULES, SETTINGS
from oversight.run import RunFolder
from oversight.settings import Settings, unpack


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What is known of runs whose folders may not be at hand.

    Attributes:
        settings: by run.
        curves: learning curves, by run.
        modules: the folder of their module maps.
    """

    settings: Mapping[str, Settings]
    curves: Mapping[str, Points]
    modules: Path

    def stands_for(self, run: RunFolder) -> bool:
        """Whether a run is known from here alone: its own folder does not say how it ended."""
        name = run.path.name
        return (name in self.settings or name in self.curves) and not run.summary.exists()

    def module_map(self, run: str) -> Path:
        """Return where the module map of a run lies, if there is one."""
        return self.modules / f"{run}.png"


def read_exported(folder: Path, problems: list[str]) -> Exported:
    """Read the export that a folder is, or that it took over; empty if there is none.

    What is damaged is told by name, and the rest is read.
    """
    place = folder if (folder / ABOUT).exists() else folder / KNOWN
    if not (place / ABOUT).exists():
        return Exported(settings={}, curves={}, modules=place / MODULES)
    return Exported(
        settings=_settings(place / SETTINGS, problems),
        curves=_curves(place / CURVES, problems),
        modules=place / MODULES,
    )


def _settings(path: Path, problems: list[str]) -> Mapping[str, Settings]:
    try:
        return unpack(read_json(path), path)
    except ValueError as error:
        problems.append(str(error))
        return {}


def _curves(path: Path, problems: list[str]) -> Mapping[str, Points]:
    try:
        return from_csv(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # the latter of what is no UTF-8, too
        problems.append(f"{path} is damaged, no curves were read from it: {error}")
        return {}
