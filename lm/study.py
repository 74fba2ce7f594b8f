"""A study: its runs, their execution, and the report that is written when they end.

Runs are executed in parallel in separate processes, or one after another by all processes of
`torchrun` together: rank 0 does everything, and the other ranks take part in training.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from lm.classifier import quality_lines
from lm.config import StudyConfig, Sweep
from lm.data.shards import read_manifest, require_undamaged
from lm.jobs import Job, jobs_of, key_of, read_result, results_of
from lm.label_map import label_map, map_table, map_verdict
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
from lm.tax_report import tax_tables, tax_verdict
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
    config = study.run
    task = load_task(config)
    # modules of any size learn the same texts
    for variation in dict.fromkeys(each._replace(expansion=None) for each in study.variations):
        varied = config.at(variation)
        own = task if varied.task == config.task else load_task(varied)
        require_something_to_forget(varied, own, study.seeds)
        require_labeled_topics(varied, own, study.trainings, study.seeds)
    require_fitting_models(config, task, study.method, study.seeds[0])
    if config.model is not None or config.data is not None:
        said = "each text begins with {!r} and ends with {!r}".format(*task.around)
        Console(stderr=True).out(said, highlight=False)


def default_folder(study: StudyConfig) -> Path:
    """Return the next free folder named after what a study is about."""
    run = study.run
    varied = f"recall{run.labels.recall:g}" if study.sweep == "none" else study.sweep
    what = "-".join(run.task.forget) if run.data is None else run.data.resolve().name
    if run.texts.forget:
        what = run.texts.forget[0].resolve().name.split(".")[0]
    return next_free(Path("runs") / "unlearn" / f"{what}-{varied}")


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
    """The table of all methods, or those of a sweep; none if no run is finished."""


def write_report(
    study: StudyConfig, jobs: Sequence[Job], folder: RunFolder, failed: Mapping[str, str]
) -> Report:
    """Write summary and cards of the finished runs, and return what they report."""
    results = Results(results_of(jobs))
    sentence, tables = COMPARISONS[study.sweep](study, results)
    more = {"verdict": sentence, **_profile_verdicts(study, results), "failed": failed}
    write_summary(folder.summary, study, jobs, results.records, more)
    write_cards(jobs, results.records)
    return Report(results, sentence, tables)


Comparison = tuple[str, Sequence[Table]]
"""The comparison of the methods of a study in a sentence, and its tables."""


def _compare_methods(study: StudyConfig, results: Results) -> Comparison:
    """Return which method is most like gold, and the table of all methods."""
    tables = [unlearning_table(heading(study), results)] if results.records else []
    return verdict(results), tables


def _compare_over_labels(study: StudyConfig, results: Results) -> Comparison:
    """Return which method leads at which labels, and the tables of each precision and the map."""
    mapped, sentences, tables = label_map(results), [], []
    several = len(results.precisions) > 1
    for precision in results.precisions:
        part = results.at(precision=precision)
        said = f"At label precision {precision:g}: " if several else ""
        sentences.append(said + labels_verdict(part))
        tables.append(labels_table(heading(study, precision_in_words(precision)), part))
    if mapped:
        sentences.append(map_verdict(mapped))
        tables.append(map_table(heading(study), mapped))
    return " ".join(sentences), tables


def _compare_over_tax(study: StudyConfig, results: Results) -> Comparison:
    """Return what routing costs, and its tables."""
    return tax_verdict(results), tax_tables(heading(study), results)


COMPARISONS: Mapping[Sweep, Callable[[StudyConfig, Results], Comparison]] = {
    "none": _compare_methods,
    "labels": _compare_over_labels,
    "tax": _compare_over_tax,
}
"""How the methods of a study are compared, by what it varies."""


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
        "figures": draw(results, study.sweep, path / "figures"),
        "curves": f"{interpreter()} -m tensorboard.main --logdir {shlex.quote(str(path))}",
    }
    for name, value in lines.items():
        console.out(f"{name}:  {value}", highlight=False)


def heading(study: StudyConfig, quality: str | None = None) -> str:
    """Return the title of a study's tables.

    Args:
        study: settings of the study.
        quality: the quality of the labels in words; by default that of the study.
    """
    labels = study.run.labels
    if quality is None:
        recall = "" if study.sweep == "labels" else f"label recall {labels.recall:g}"
        quality = ", ".join(filter(None, [recall, precision_in_words(labels.precision)]))
    seeds = "1 seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"
    return ", ".join(filter(None, [f"forget {study.run.subject}", quality, seeds]))


def precision_in_words(precision: float) -> str:
    """Return what a title says of a label precision: nothing if all labels are right."""
    return f"label precision {precision:g}" if precision < 1 else ""


def _attacked(study: StudyConfig, results: Results) -> list[tuple[str, Results]]:
    """Return title and results of each table of attacks."""
    full = Results([result for result in results.records if result.get("grid")])
    parts = _parts(study, full) if full.records else []
    return [(f"attacks: {title}", part) for title, part in parts]


def _profiles(study: StudyConfig, results: Results) -> list[tuple[str, Profiles]]:
    """Return title and profiles of each table of profiles."""
    found = [(f"profiles: {title}", Profiles(part)) for title, part in _parts(study, results)]
    return [(title, profiles) for title, profiles in found if profiles.records]


def _parts(study: StudyConfig, results: Results) -> list[tuple[str, Results]]:
    """Return title and results of each variation of a sweep, or those of a study without one."""
    if study.sweep == "none":
        return [(heading(study), results)]
    return [(heading(study, said), part) for said, part in results.by_variation().items()]


def _profile_verdicts(study: StudyConfig, results: Results) -> dict[str, str]:
    """Return the verdict on profiles, if there are some, for the summary."""
    sentences = [profiles_verdict(profiles) for _, profiles in _profiles(study, results)]
    return {"profiles_verdict": " ".join(sentences)} if sentences else {}


def draw(results: Results, sweep: Sweep, folder: Path) -> str:
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


def write_cards(jobs: Sequence[Job], results: Sequence[Result]) -> None:
    """Write the card of each finished run, atomically, also into its exported model.

    Args:
        jobs: all runs of the study.
        results: results of the finished runs.
    """
    by_key, table = {job.key: job for job in jobs}, Results(results)
    for result in results:
        job = by_key[key_of(result)]
        written = card(job.config, result, table.at(*job.variation).records).encode()
        replace_file(job.folder / CARD, written)
        if (job.folder / PLAIN).is_dir():
            replace_file(job.folder / PLAIN / HUB_CARD, written)


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
