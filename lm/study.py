"""A study: its runs, their execution, and the report that is written when they end.

Runs are executed in parallel in separate processes, or one after another by all processes of
`torchrun` together: rank 0 does everything, and the other ranks take part in training.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from lm.classifier import quality_lines
from lm.config import StudyConfig
from lm.data.shards import read_manifest, require_undamaged
from lm.label_map import Comparison, label_map, map_table, map_verdict
from lm.model_card import card
from lm.pretraining import load_task, require_fitting_models
from lm.profile_report import (
    Profiles,
    profiles_table,
    profiles_verdict,
)
from lm.report import (
    labels_table,
    labels_verdict,
    unlearning_table,
    verdict,
)
from lm.results import (
    Result,
    Results,
)
from lm.robustness import attacks_table, robustness, robustness_sentence
from lm.run import PLAIN, run_method, train_as_worker
from lm.texts import DATA, copy_shards, prepare_in, prepared_texts, summary_lines, tokenizer_of
from lm.training.distributed import broadcast, processes
from lm.training_data import require_labeled_topics, require_something_to_forget
from oversight.runs.folder import (
    RunFolder,
    create,
    interpreter,
    next_free,
    replace_file,
    require_new,
    write_json,
)
from oversight.runs.parallel import (
    Outcome,
    ProgressReporter,
    execute,
    execute_remaining,
    locked,
    one_line,
)

LEFT_OUT = ("curves", "training", "samples", "gradient_shares")
"""Parts of the result of a run that the summary omits."""
CARD, HUB_CARD = "MODEL_CARD.md", "README.md"
"""The card of a run, and its name in an exported folder, where hubs look for it."""


def prepare_study(study: StudyConfig, folder: RunFolder | None) -> tuple[StudyConfig, RunFolder]:
    """Return a study that can run on these processes, and its folder, which is made if it is new.

    Raises:
        ValueError: if a model or documents cannot be loaded, or processes cannot share the work.
    """
    study.require_fitting_methods()
    study = share_over_processes(study)
    own_texts = bool(study.run.texts.forget)
    if folder is not None:
        if own_texts:
            prepare_in(folder.path / DATA, study.run, tokenizer_of(study.run))
            study = replace(study, run=replace(study.run, data=folder.path / DATA))
        return study, folder
    path = study.run_dir or default_folder(study)
    require_new(RunFolder(path))
    # refuses what cannot be loaded, or is damaged, before anything is written
    if not own_texts:
        require_loadable(study)
        return study, create(path)
    with prepared_texts(study.run) as run:
        require_loadable(replace(study, run=run))
        for line in summary_lines(run):
            Console(stderr=True).out(line, highlight=False)
        folder = create(path)
        return replace(study, run=copy_shards(run, path)), folder


def require_loadable(study: StudyConfig) -> None:
    """Raise a ValueError if a model or documents cannot be loaded, or do not fit each other."""
    if study.run.data is not None:
        require_undamaged(study.run.data, read_manifest(study.run.data))
    config = study.run_config(1.0)
    task = load_task(config)
    for quality in study.label_qualities:
        labeled = study.run_config(*quality)
        require_something_to_forget(labeled, task, study.seeds)
        require_labeled_topics(labeled, task, study.trainings, study.seeds)
    require_fitting_models(config, task, study.method, study.seeds[0])
    if config.model is not None or config.data is not None:
        said = "each text begins with {!r} and ends with {!r}".format(*task.around)
        Console(stderr=True).out(said, highlight=False)


def default_folder(study: StudyConfig) -> Path:
    """Return the next free folder named after what a study is about."""
    run = study.run
    labels = "labels" if study.sweep == "labels" else f"recall{run.labels.recall:g}"
    what = "-".join(run.task.forget) if run.data is None else run.data.resolve().name
    if run.texts.forget:
        what = run.texts.forget[0].resolve().name.split(".")[0]
    return next_free(Path("runs") / "unlearn" / f"{what}-{labels}")


def run_study(study: StudyConfig, folder: RunFolder) -> dict[str, str]:
    """Execute the runs that are not finished, and report; return the errors of failed runs."""
    jobs = jobs_of(study, folder.path)
    failed: dict[str, str] = {}
    try:
        execute_jobs(study, jobs, failed)
    finally:
        report(study, jobs, folder, failed)
    return failed


def execute_jobs(study: StudyConfig, jobs: Sequence[Job], failed: dict[str, str]) -> None:
    """Execute the runs that are not finished, and add the errors of those that fail."""
    new = [job for job in jobs if read_result(job) is None]
    together, workers = study.run.loop.scale.parallel != "none", study.workers
    start = run_jobs if together else partial(execute, run_job, engine="joblib", workers=workers)
    execute_remaining(jobs, new, start, failed)


def run_job(job: Job) -> Outcome:
    """Start or resume a run, execute it to its end, and write its TensorBoard page."""
    torch.set_num_threads(1)  # sums depend on it, and there is a process for each core
    try:
        with locked(job.folder):
            for part in job.folder.glob("*.part"):  # left half-written by a kill
                part.unlink()
            config = job.config
            task, progress = load_task(config), ProgressReporter(job.folder)
            result = run_method(config, task, job.method, job.seed, job.folder, progress)
            from lm.figures import write_page  # noqa: PLC0415 (slow to import)

            write_page(result, job.folder)
    except Exception as error:  # one failing run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


class Report(NamedTuple):
    """What is reported of the finished runs of a study."""

    results: Results
    verdict: str
    """The comparison of the methods in a sentence."""
    tables: Sequence[Table]
    """The table of all methods, or in a sweep one for each label precision and that of the map of
    labels; none if no run is finished."""


def write_report(
    study: StudyConfig, jobs: Sequence[Job], folder: RunFolder, failed: Mapping[str, str]
) -> Report:
    """Write summary and cards of the finished runs, and return what they report."""
    results, sweep = Results(results_of(jobs)), study.sweep == "labels"
    mapped = label_map(results) if sweep else []
    sentence = _labels_verdict(results, mapped) if sweep else verdict(results)
    more = {"verdict": sentence, **_profile_verdicts(study, results), "failed": failed}
    write_summary(folder.summary, study, jobs, results.records, more)
    write_cards(study, jobs, results.records)
    return Report(results, sentence, _tables(study, results, mapped) if results.records else [])


def _labels_verdict(results: Results, mapped: Sequence[Comparison]) -> str:
    """Return which method leads at each label precision, and where routing is ahead."""
    found = [
        (f"At label precision {each:g}: " if len(results.precisions) > 1 else "")
        + labels_verdict(results.at(precision=each))
        for each in results.precisions
    ]
    return " ".join([*found, *([map_verdict(mapped)] if mapped else [])])


def _tables(study: StudyConfig, results: Results, mapped: Sequence[Comparison]) -> Sequence[Table]:
    """Return the table of all methods, or in a sweep one for each precision and that of the map."""
    if study.sweep == "none":
        return [unlearning_table(heading(study), results)]
    by_precision = {precision: results.at(precision=precision) for precision in results.precisions}
    found = [labels_table(heading(study, each), part) for each, part in by_precision.items()]
    return found + ([map_table(heading(study), mapped)] if mapped else [])


def report(
    study: StudyConfig, jobs: Sequence[Job], folder: RunFolder, failed: Mapping[str, str]
) -> None:
    """Write summary, cards and figures of the finished runs, and print tables and verdict."""
    results, sentence, tables = write_report(study, jobs, folder, failed)
    console = Console()
    if tables:
        for table in tables:
            console.print(table)
        for title, attacked in _attacked(study, results):
            console.print(attacks_table(title, attacked))
            console.out(robustness_sentence(robustness(attacked)), highlight=False)
        for title, profiles in _profiles(study, results):
            console.print(profiles_table(title, profiles))
            console.out(profiles_verdict(profiles), highlight=False)
        for line in quality_lines(results.records):
            console.out(line, highlight=False)
        console.out(sentence, highlight=False)
    path = folder.path
    lines = {
        "results": folder.summary,
        "cards": path / "runs" / "*" / CARD if results.records else "no run is finished",
        "figures": draw(results, study.sweep == "labels", path / "figures"),
        "curves": f"{interpreter()} -m tensorboard.main --logdir {shlex.quote(str(path))}",
    }
    for name, value in lines.items():
        console.out(f"{name}:  {value}", highlight=False)


def heading(study: StudyConfig, precision: float | None = None) -> str:
    """Return the title of a study's tables; a sweep may have one for each label precision."""
    quality = (
        study.run.labels if precision is None else replace(study.run.labels, precision=precision)
    )
    labels = [] if study.sweep == "labels" else [f"label recall {quality.recall:g}"]
    if quality.precision < 1:
        labels.append(f"label precision {quality.precision:g}")
    seeds = "1 seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"
    return ", ".join([f"forget {study.subject}", *labels, seeds])


def _attacked(study: StudyConfig, results: Results) -> list[tuple[str, Results]]:
    """Return title and results of each table of attacks: in a sweep, one for each quality."""
    full = Results([result for result in results.records if result.get("grid")])
    title = f"attacks: {heading(study)}"
    if study.sweep == "none":
        return [(title, full)] if full.records else []
    return [(f"{title}, {said}", part) for said, part in full.by_quality().items()]


def _profiles(study: StudyConfig, results: Results) -> list[tuple[str, Profiles]]:
    """Return title and profiles of each table of profiles: in a sweep, one for each quality."""
    title = f"profiles: {heading(study)}"
    if study.sweep == "none":
        found = [(title, Profiles(results))]
    else:
        parts = results.by_quality()
        found = [(f"{title}, {said}", Profiles(part)) for said, part in parts.items()]
    return [(name, profiles) for name, profiles in found if profiles.records]


def _profile_verdicts(study: StudyConfig, results: Results) -> dict[str, str]:
    """Return the verdict on profiles, if there are some, for the summary."""
    sentences = [profiles_verdict(profiles) for _, profiles in _profiles(study, results)]
    return {"profiles_verdict": " ".join(sentences)} if sentences else {}


def draw(results: Results, sweep: bool, folder: Path) -> str:
    """Draw the figures, and return their paths, or why there is none."""
    if find_spec("matplotlib") is None:
        return "they need matplotlib: pip install 'oversight-testbed[report]'"
    from lm.figures import draw as draw_figures  # noqa: PLC0415 (needs an extra)

    return ", ".join(map(str, draw_figures(results, sweep, folder))) or "there is nothing to draw"


def write_summary(
    path: Path,
    study: StudyConfig,
    jobs: Sequence[Job],
    results: Sequence[Result],
    more: Mapping[str, Any],
) -> None:
    """Write the summary of a study, atomically.

    Args:
        path: path of the file.
        study: settings of the study.
        jobs: all runs of the study.
        results: results of the finished runs.
        more: further entries, such as the verdict.
    """
    finished = {key_of(result) for result in results}
    missing = [job.id for job in jobs if job.key not in finished]
    kept = [{k: v for k, v in result.items() if k not in LEFT_OUT} for result in results]
    write_json(path, {"study": asdict(study), **more, "missing": missing, "results": kept})


def write_cards(study: StudyConfig, jobs: Sequence[Job], results: Sequence[Result]) -> None:
    """Write the card of each finished run, atomically, also into its exported model.

    Args:
        study: settings of the study.
        jobs: all runs of the study.
        results: results of the finished runs.
    """
    folders = {job.key: job.folder for job in jobs}
    table = Results(results)
    for result in results:
        folder, (*_, recall, precision) = folders[key_of(result)], key_of(result)
        written = card(study, result, table.at(recall, precision).records).encode()
        replace_file(folder / CARD, written)
        if (folder / PLAIN).is_dir():
            replace_file(folder / PLAIN / HUB_CARD, written)


def share_over_processes(study: StudyConfig) -> StudyConfig:
    """Return a study whose runs are divided over the processes: several processes train by ddp.

    Settings that shard weights (fsdp) stay unchanged.

    Raises:
        ValueError: if a single process is to share its work, or a batch does not divide evenly into
            the processes.
    """
    run = study.run
    if processes().size > 1 and run.loop.scale.parallel == "none":
        scale = replace(run.loop.scale, parallel="ddp")
        run = replace(run, loop=replace(run.loop, scale=scale))
    run.loop.scale.pieces(run.batch_size)
    return replace(study, run=run)


def run_jobs(jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Execute jobs one after another with the help of the other ranks; call it on rank 0.

    Raises:
        ValueError: if a job fails, since ranks that wait for it cannot continue.
    """
    for job in jobs:
        broadcast(job)
        outcome = run_job(job)
        if outcome.error is not None:
            raise ValueError(f"{job.id}: {outcome.error}")
        yield outcome


_NONE: Job | None = None


def stop_workers() -> None:
    """Broadcast to the other ranks that no job is left; call it on rank 0."""
    broadcast(None)


def run_as_worker() -> None:
    """Help rank 0 with its jobs until it stops the workers; call it on all other ranks.

    Raises:
        ValueError: as `run_method`, on this rank or on all ranks.
    """
    try:
        while (job := broadcast(_NONE)) is not None:
            config = job.config
            train_as_worker(config, load_task(config), job.method, job.seed, job.folder)
    except RuntimeError as error:
        if "Connection" not in str(error):
            raise
        raise SystemExit(1) from error  # rank 0 is gone, and reports why
