"""`python -m oversight.report`: tables, figures and one page from the folder of a study."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from oversight.runs import cli
from oversight.runs.folder import require_writable

PACKAGES = ("jinja2", "matplotlib", "pandas")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """Report a study as tables, figures and one page.

    Missing and damaged parts are named in warnings, and all other parts are reported.
    """

    study: Annotated[Path, tyro.conf.Positional]
    """Folder of a study or of an export."""
    rule: Literal["observed", "last"] = "observed"
    """Selection rule: the best checkpoint on observed episodes, or the last one."""
    routed: tuple[str, ...] = ("reward-map", "score-maps", "routed", "signed", "motivated")
    """Methods to compare with each other method; those that were not run are left out."""
    export: Path | None = None
    """Folder for an export: small files that give the same report without the runs."""
    out: Path | None = None
    """Folder of the report; by default `report` in the study's folder."""


def main(args: Sequence[str]) -> None:
    """Write the report that the arguments describe, and print its verdict and its place."""
    settings = cli.parse(ReportConfig, args, "python -m oversight.report")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"a report needs {', '.join(missing)}: pip install 'oversight-testbed[report]'"
        )
    from oversight.rl.report.page import build_report, write_report  # noqa: PLC0415 (the extra)
    from oversight.rl.report.results import export, read_study  # noqa: PLC0415

    folder = settings.out or settings.study / "report"
    with Console(stderr=True).status("reading") as status:
        study = read_study(settings.study, status.update)
        require_writable(folder, "--out")
        if settings.export is not None:
            export(study, settings.export)
        report = build_report(study, settings.rule, settings.routed, status.update)
        page = write_report(report, folder, status.update)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201
    main_chapter = report.chapters[0]
    for line in (main_chapter.verdict, main_chapter.stopping, f"page:  {page}"):
        print(line)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
