"""`python -m oversight.report`: a study's folder as tables, figures and one page."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from oversight.runs import cli

PACKAGES = ("jinja2", "matplotlib")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """Report a study: tables, figures and one page, in its folder.

    What is missing or damaged is told by name, and the rest is reported.
    """

    study: Annotated[Path, tyro.conf.Positional]
    """Folder of the study."""
    rule: Literal["observed", "last"] = "observed"
    """How checkpoints are chosen: on observed episodes, or not at all. The truth chooses none."""
    routed: tuple[str, ...] = ("reward-map", "routed", "signed", "motivated")
    """Methods to put against each of the others; those that were not run are passed over."""
    export: Path | None = None
    """Folder for small files of the study, from which the same report is made without the runs."""
    out: Path | None = None
    """Folder of the report; by default `report` in the study's."""


def main(args: Sequence[str]) -> None:
    """Report as the arguments say, and print the verdict and where the page is."""
    settings = cli.parse(ReportConfig, args, "python -m oversight.report")
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        raise ValueError(
            f"a report needs {', '.join(lacking)}: pip install 'oversight-testbed[report]'"
        )
    from oversight.rl.report.page import build_report, write_report  # noqa: PLC0415 (the extra)
    from oversight.rl.report.results import export, read_study  # noqa: PLC0415

    with Console(stderr=True).status("reading") as status:
        study = read_study(settings.study, status.update)
        if settings.export is not None:
            export(study, settings.export)
        report = build_report(study, settings.rule, settings.routed, status.update)
        folder = settings.out or settings.study / "report"
        page = write_report(report, folder, status.update)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201
    main_chapter = report.chapters[0]
    for line in (main_chapter.verdict, main_chapter.stopping, f"page:  {page}"):
        print(line)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
