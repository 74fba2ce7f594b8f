"""A study: its runs, their execution in parallel, and the report that is written when they end."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from oversight.representations.config import Errors, Method, RunConfig, StudyConfig
from oversight.representations.data import Images, load
from oversight.representations.labels import class_counts
from oversight.representations.report import Results, table2, tables, verdict
from oversight.representations.training import read_result, require_batch, run_identity, train
from oversight.runs.cli import Values, override
from oversight.runs.folder import RunFolder, interpreter, next_free, write_json
from oversight.runs.parallel import (
    Outcome,
    ProgressReporter,
    execute,
    execute_remaining,
    locked,
    one_line,
)

Rows = Mapping[str, tuple[Method, Values, tuple[float, float]]]
"""The settings of the paper's Table 2 by name: the method, the values that differ from those of the
study, and the errors that the paper prints for the two groups."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A method with its settings, which is run from each seed.

    Attributes:
        name: name in tables and folders.
        method: how gradients are routed.
        run: all other settings.
    """

    name: str
    method: Method
    run: RunConfig


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a study.

    Attributes:
        setting: method and settings.
        seed: seed of everything that is drawn.
        folder: folder of the run.
    """

    setting: Setting
    seed: int
    folder: Path

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.folder.name

    @property
    def cost(self) -> float:
        """Duration relative to other runs of the same study."""
        return float(self.setting.run.steps + self.setting.run.certificate_steps)

    def identity(self, images: Images) -> dict[str, Any]:
        """Return plain data that determines the result of the run."""
        return run_identity(self.setting.run, self.setting.method, self.seed, images)


def settings_of(study: StudyConfig, rows: Rows) -> list[Setting]:
    """Return what a study runs from each of its seeds.

    Args:
        study: settings of the study.
        rows: the settings of the paper's Table 2.
    """
    makers = {"tax": _tax, "labels": _label_qualities, "none": _methods}
    if study.sweep == "table2":
        found = [
            Setting(name, method, override(study.run, values))
            for name, (method, values, _) in rows.items()
        ]
    else:
        found = list(makers[study.sweep](study))
    return list({setting.name: setting for setting in found}.values())


def _methods(study: StudyConfig) -> Iterator[Setting]:
    for method in study.method:
        yield Setting(method, method, study.run)


def _tax(study: StudyConfig) -> Iterator[Setting]:
    """Yield every method as it is, routing of a share of the images, and parts of other sizes."""
    yield from _methods(study)
    for share in study.shares:
        if share < 1:
            yield Setting(f"routed-share{share:g}", "routed", with_labels(study, recall=share))
    for size in study.part_sizes:
        run = replace(study.run, code_size=size * study.run.parts)
        for method in study.method if run != study.run else ():
            yield Setting(f"{method}-part{size}", method, run)


def _label_qualities(study: StudyConfig) -> Iterator[Setting]:
    """Yield every method with perfect labels, and routing by those that are missing or wrong."""
    yield from _methods(study)
    kinds: dict[Errors, str] = {"independent": "", "classes": "-classes"}
    for kind, said in kinds.items():
        for recall in study.recalls:
            run = with_labels(study, recall=recall, errors=kind)
            yield from _by_labels(f"routed-recall{recall:g}{said}", run)
        for precision in study.precisions:
            run = with_labels(study, precision=precision, errors=kind)
            yield from _by_labels(f"routed-precision{precision:g}{said}", run)


def _by_labels(name: str, run: RunConfig) -> Iterator[Setting]:
    """Yield routing by labels, unless whole classes round to perfect labels, which are run once."""
    size, labels = len(run.groups[0]), run.labels
    perfect = labels.label_recall == labels.label_precision == 1
    if labels.label_errors == "classes":
        perfect = class_counts(labels, size) == (size, 0)
    if not perfect:
        yield Setting(name, "routed", run)


def with_labels(
    study: StudyConfig, recall: float = 1.0, precision: float = 1.0, errors: Errors = "independent"
) -> RunConfig:
    """Return the settings of the runs with labels of another quality."""
    labels = replace(
        study.run.labels, label_recall=recall, label_precision=precision, label_errors=errors
    )
    return replace(study.run, labels=labels)


def jobs_of(study: StudyConfig, rows: Rows, folder: Path) -> list[Job]:
    """Return the runs of a study, each with its own folder, seed by seed."""
    settings = settings_of(study, rows)
    return [
        Job(setting, seed, folder / "runs" / f"{setting.name}-seed{seed}")
        for seed in study.seeds
        for setting in settings
    ]


def default_folder(study: StudyConfig) -> Path:
    """Return the next free folder named after the data and the sweep."""
    sweep = "" if study.sweep == "none" else f"-{study.sweep}"
    parts = "" if study.run.parts == 2 else f"-parts{study.run.parts}"
    return next_free(Path("runs") / "split" / f"{study.run.data}-{study.run.task}{parts}{sweep}")


def require_loadable(study: StudyConfig, rows: Rows) -> None:
    """Raise a ValueError if the device or the data is missing, or does not fill some batch."""
    if study.run.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but PyTorch sees no GPU: use cpu")
    images = load(study.run.data, study.run.data_dir)
    for setting in settings_of(study, rows):
        require_batch(setting.run, images)


def run_study(study: StudyConfig, rows: Rows, folder: RunFolder) -> dict[str, str]:
    """Execute the runs that are not finished, and report; return the errors of failed runs."""
    jobs = jobs_of(study, rows, folder.path)
    failed: dict[str, str] = {}
    try:
        execute_jobs(study, jobs, failed)
    finally:
        report(study, rows, folder, jobs, failed)
    return failed


def execute_jobs(study: StudyConfig, jobs: Sequence[Job], failed: dict[str, str]) -> None:
    """Execute the runs that are not finished, and add the errors of those that fail."""
    images = load(study.run.data, study.run.data_dir)
    new = [job for job in jobs if read_result(job.folder, job.identity(images)) is None]
    start = partial(execute, run_job, engine="joblib", workers=study.workers)
    execute_remaining(jobs, new, start, failed, about=images.source)


def run_job(job: Job) -> Outcome:
    """Start or resume a run, execute it to its end, and write its TensorBoard page."""
    torch.set_num_threads(1)  # sums depend on it, and there is a process for each core
    try:
        with locked(job.folder):
            run = job.setting.run
            images, progress = load(run.data, run.data_dir), ProgressReporter(job.folder)
            result = train(run, job.setting.method, job.seed, images, job.folder, progress)
            from oversight.representations.pictures import write_page  # noqa: PLC0415 (slow to import)

            write_page(result, images, run, job.folder)
    except Exception as error:  # one failing run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


def results_of(jobs: Sequence[Job], images: Images) -> Results:
    """Return the results of finished runs."""
    read = [(job, read_result(job.folder, job.identity(images))) for job in jobs]
    found = [(job, result) for job, result in read if result is not None]
    records = [{"setting": job.setting.name, **result} for job, result in found]
    settings = {job.setting.name: job.setting.run for job, _ in found}
    return Results(records, settings)


def report(
    study: StudyConfig,
    rows: Rows,
    folder: RunFolder,
    jobs: Sequence[Job],
    failed: Mapping[str, str],
) -> None:
    """Write the summary and the figures of the finished runs, and print tables and verdict."""
    images = load(study.run.data, study.run.data_dir)
    results, console = results_of(jobs, images), Console()
    sentence = verdict(results)
    write_summary(folder.path / "summary.json", study, jobs, results, sentence, failed)
    if study.sweep == "table2":
        printed = {name: figures for name, (*_, figures) in rows.items()}
        console.print(table2(images.source, results, printed))
    else:
        for table in tables(study, results, images.source):
            console.print(table)
    if sentence:
        console.out(sentence, highlight=False)
    where = shlex.quote(str(folder.path))
    lines = {
        "results": folder.summary,
        "figures": draw(study, jobs, results, images, folder.path / "figures"),
        "curves": f"{interpreter()} -m tensorboard.main --logdir {where}",
    }
    for name, value in lines.items():
        console.out(f"{name}:  {value}", highlight=False)


def write_summary(
    path: Path,
    study: StudyConfig,
    jobs: Sequence[Job],
    results: Results,
    sentence: str,
    failed: Mapping[str, str],
) -> None:
    """Write all figures of the finished runs, without their curves, atomically."""
    finished = {(each["setting"], each["seed"]) for each in results.records}
    missing = [job.id for job in jobs if (job.setting.name, job.seed) not in finished]
    kept = [{k: v for k, v in each.items() if k != "history"} for each in results.records]
    more = {"verdict": sentence, "failed": failed, "missing": missing}
    write_json(path, {"study": asdict(study), **more, "results": kept})


def draw(
    study: StudyConfig, jobs: Sequence[Job], results: Results, images: Images, folder: Path
) -> str:
    """Draw the figures, and return their paths, or why there is none."""
    if find_spec("matplotlib") is None:
        return "they need matplotlib: pip install 'oversight-testbed[report]'"
    from oversight.representations.figures import draw_all  # noqa: PLC0415 (needs an extra)

    finished = {(each["setting"], each["seed"]) for each in results.records}
    runs = {
        job.id: (job.folder, job.setting.run)
        for job in jobs
        if (job.setting.name, job.seed) in finished and job.seed == study.seeds[0]
    }
    drawn = draw_all(study, results, runs, images, folder)
    return ", ".join(map(str, drawn)) or "there is nothing to draw"
