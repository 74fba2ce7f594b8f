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
    from oversight.rl.report.curves import export, read_traces  # noqa: PLC0415 (the extra)
    from oversight.rl.report.page import compose, write  # noqa: PLC0415
    from oversight.rl.report.results import read_study  # noqa: PLC0415

    with Console(stderr=True).status("reading") as status:
        study = read_study(settings.study)
        traces = read_traces(study, status.update)
        if settings.export is not None:
            export(study, traces, settings.export)
        document = compose(study, traces, settings.rule, settings.routed, status.update)
        page = write(document, settings.out or settings.study / "report", status.update)
    for warning in document.warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201
    for line in (document.chapters[0].verdict, document.chapters[0].stopping, f"page:  {page}"):
        print(line)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
