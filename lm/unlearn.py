"""`python -m lm.unlearn`: models that unlearn by several methods, attacked, and one verdict."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from configs.lm import DOCUMENTS, PRESETS
from lm.config import Dry, Start, StudyConfig
from lm.dry_run import study_estimate
from lm.pretraining import task_of
from lm.report import (
    Labeled,
    Result,
    Runs,
    grid_table,
    labels_table,
    labels_verdict,
    tally,
    unlearning_table,
    verdict,
    withstood,
)
from lm.study import (
    CARD,
    REFERENCES,
    Job,
    jobs_of,
    read_result,
    results_of,
    run_as_worker,
    run_jobs,
    spread,
    stop_workers,
    work,
    write_cards,
    write_summary,
)
from lm.training.distributed import ScaleConfig, joined
from oversight.runs import cli
from oversight.runs.console import print_line
from oversight.runs.folder import (
    RunFolder,
    create,
    interpreter,
    next_free,
    read_config,
    refuse_changes,
    write_config,
)
from oversight.runs.parallel import JobsProgress, execute, locked

PROGRAM = "python -m lm.unlearn"
MAY_CHANGE = {"method", "seeds", "recalls", "suite", "workers", "run_dir", *ScaleConfig.__slots__}
"""Settings that a resumed study may change: its runs, their attacks, and how they are spread over
processes, but not what any of them is."""
LISTED: dict[str, cli.Preset] = {
    name: ((make.__doc__ or "").strip().split("\n")[0], {}) for name, make in PRESETS.items()
}
DRAWN_WITH = ("matplotlib",)


def main(args: Sequence[str]) -> int:
    """Unlearn as the arguments say; return 1 if a run failed."""
    with joined() as here:
        if here.rank:
            run_as_worker()
            return 0
        if cli.parse_part(Dry, args).dry_run:
            tell_estimate(args)
            stop_workers()
            return 0
        study, folder = settle(args)
        with locked(folder.path):
            write_config(folder, study)
            failed = unlearn(study, folder)
        stop_workers()
    return 1 if failed else 0


def unlearn(study: StudyConfig, folder: RunFolder) -> dict[str, str]:
    """Do the runs that are not finished, and report; return the errors of those that failed."""
    jobs = jobs_of(study, folder.path)
    new = [job for job in jobs if read_result(job) is None]
    console = Console(stderr=True)
    print_line(
        console, f"{len(jobs) - len(new)} runs finished, {len(new)} to do; folder {folder.path}"
    )
    failed: dict[str, str] = {}
    try:
        execute_all(new, study, console, failed)
    finally:
        report(study, jobs, folder, failed)
    return failed


def settle(args: Sequence[str]) -> tuple[StudyConfig, RunFolder]:
    """Return the settings of a new study or of the one to go on with, and its folder."""
    launch = cli.parse_part(cli.Launch, args)
    if launch.resume is None:
        name, study = new_study(args)
        require_documents(name, study)
        study.require_model()
        study = spread(study)
        task_of(study.run_config(1.0))  # refuses what cannot be loaded before anything is written
        folder = create(study.run_dir or default_folder(study))
    else:
        folder = RunFolder(cli.resumed_folder(launch, args))
        stored = read_config(folder, StudyConfig)
        study = cli.parse_with_presets(StudyConfig, stored, args, LISTED, PROGRAM)
        study.require_model()
        study = spread(study)
        refuse_changes(asdict(stored), asdict(study), MAY_CHANGE)
    return study, folder


def new_study(args: Sequence[str]) -> tuple[str, StudyConfig]:
    """Return the name of the preset to start from, and the settings of a new study."""
    name = cli.parse_part(cli.Launch, args).config or preset_for(args)
    study = cli.choose(PRESETS, name, "preset")()
    return name, cli.parse_with_presets(StudyConfig, study, args, LISTED, PROGRAM)


def require_documents(name: str, study: StudyConfig) -> None:
    """Raise a ValueError if a preset that is for documents has none."""
    if name in DOCUMENTS and study.data is None:
        raise ValueError(
            f"{name} is for documents: prepare some, of {DOCUMENTS[name].context} tokens a row, "
            "and name their folder by --data; --dry-run tells what it takes without them"
        )


def tell_estimate(args: Sequence[str]) -> None:
    """Print what a new study takes.

    Raises:
        ValueError: if an old one is asked for.
    """
    if cli.parse_part(cli.Launch, args).resume is not None:
        raise ValueError(
            "--dry-run and --resume were given: new studies alone are told what they take, so "
            "leave one of the two out"
        )
    name, study = new_study(args)
    context = DOCUMENTS[name].context if name in DOCUMENTS else None
    Console().print(study_estimate(study, context))


def preset_for(args: Sequence[str]) -> str:
    """Return the preset of those who name none: that of pretrained models where there is one."""
    return "default" if cli.parse_part(Start, args).model is None else "pretrained"


def default_folder(study: StudyConfig) -> Path:
    """Return the next free folder named after what a study is about."""
    labels = "labels" if study.sweep == "labels" else f"recall{study.label_recall:g}"
    what = "-".join(study.task.forget) if study.data is None else study.data.resolve().name
    return next_free(Path("runs") / "unlearn" / f"{what}-{labels}")


def execute_all(
    jobs: Sequence[Job], study: StudyConfig, console: Console, failed: dict[str, str]
) -> None:
    """Do all jobs, side by side or by all processes together; note errors of those that failed."""
    if not jobs:
        return
    together = study.loop.scale.parallel != "none"
    outcomes = run_jobs(jobs) if together else execute(work, jobs, "joblib", study.workers)
    folders = {job.id: job.folder for job in jobs}
    JobsProgress({job.id: job.cost for job in jobs}, console, folders).run(outcomes, failed)


def report(
    study: StudyConfig, jobs: Sequence[Job], folder: RunFolder, failed: dict[str, str]
) -> None:
    """Write the summary and the figures of what is finished, and print table and verdict."""
    results = results_of(jobs)
    sweep = study.sweep == "labels"
    runs, labeled = Runs(results), Labeled(results)
    sentence = labels_verdict(labeled) if sweep else verdict(runs)
    write_summary(folder.summary, study, jobs, results, {"verdict": sentence, "failed": failed})
    write_cards(study, jobs, results)
    console = Console()
    if results:
        title = heading(study)
        console.print(labels_table(title, labeled) if sweep else unlearning_table(title, runs))
        for above, part in grids(study, results):
            console.print(grid_table(above, part))
            print_line(console, tally(withstood(part)))
        print_line(console, sentence)
    path = folder.path
    lines = {
        "results": folder.summary,
        "cards": path / "runs" / "*" / CARD,
        "figures": figures(labeled if sweep else runs, path / "figures"),
        "curves": f"{interpreter()} -m tensorboard.main --logdir {shlex.quote(str(path))}",
    }
    for what, where in lines.items():
        print_line(console, f"{what}:  {where}")


def grids(study: StudyConfig, results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Return title and results of each table of attacks; in a sweep there is one for each share."""
    full = [result for result in results if result.get("grid")]
    title = f"attacks: {heading(study)}"
    if study.sweep == "none":
        return [(title, full)] if full else []
    return [
        (
            f"{title}, label recall {recall:g}",
            [each for each in full if is_reference(each) or each["label_recall"] == recall],
        )
        for recall in Labeled(full).recalls
    ]


def is_reference(result: Result) -> bool:
    """Return whether a result is of a method that serves every share of labels."""
    return result["method"] in REFERENCES


def heading(study: StudyConfig) -> str:
    """Return what a table is about."""
    labels = [] if study.sweep == "labels" else [f"label recall {study.label_recall:g}"]
    if study.label_precision < 1:
        labels.append(f"label precision {study.label_precision:g}")
    counted = "1 seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"
    return ", ".join([f"forget {study.what}", *labels, counted])


def figures(told: Runs | Labeled, folder: Path) -> str:
    """Draw the figures, and return where they are, or what they need."""
    lacking = [name for name in DRAWN_WITH if find_spec(name) is None]
    if lacking:
        return f"they need {', '.join(lacking)}: pip install 'oversight-testbed[report]'"
    from lm.report_figures import draw  # noqa: PLC0415 (it needs the extra)

    return ", ".join(map(str, draw(told, folder))) or "there is nothing to draw"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
