"""Tuning: the same number of trials for every method, scored by held-out observed return only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from oversight.rl.study import Run, Study
from oversight.rl.sweep import Job, summary, work
from oversight.runs.cli import Values, override
from oversight.runs.folder import RunFolder, flat, require_writable, write_json
from oversight.runs.parallel import Executor, JobsProgress, Outcome, one_line


@dataclass(frozen=True, slots=True)
class TuningJob:
    """The tuning of one method.

    Attributes:
        study: declares trials, seeds and search space.
        method: name of the method.
        folder: folder of the tuning of all methods.
    """

    study: Study
    method: str
    folder: Path

    @property
    def id(self) -> str:
        """The method's name."""
        return self.method

    @property
    def journal(self) -> Path:
        """Optuna's journal of all trials."""
        return self.folder / f"{self.method}.journal"


def tune_study(
    study: Study, methods: Sequence[str], folder: Path, path: Path, executor: Executor[TuningJob]
) -> dict[str, str]:
    """Tune methods of a study, write what was found, and return errors by method.

    Args:
        study: the study.
        methods: names of methods; all of the study if none are given.
        folder: folder of the tuning.
        path: file of the result.
        executor: executes the jobs, such as `oversight.runs.parallel.EngineConfig.execute`.

    Raises:
        ValueError: if the study lacks a method, or a folder or file cannot be written.
        KeyboardInterrupt: if a run was interrupted.
    """
    jobs = jobs_of(study, methods, folder)
    require_writable(folder, "--folder")
    unfinished = [job for job in jobs if result(job) is None]
    console = Console(stderr=True)
    start = f"tuning for {study.name}: {len(jobs)} methods, {len(unfinished)} to do"
    console.out(f"{start}, folder {folder}", highlight=False)
    failed: dict[str, str] = {}
    progress = JobsProgress({job.id: 1 for job in unfinished}, console)
    progress.run(executor(tune, unfinished), failed)
    write_json(path, record(study, jobs))
    for name, error in failed.items():
        console.out(f"failed: {name}: {error}", highlight=False)
    return failed


def jobs_of(study: Study, methods: Sequence[str], folder: Path) -> list[TuningJob]:
    """Return the jobs of the given methods of a study, of all if none are given.

    Raises:
        ValueError: if the study lacks a given method.
    """
    has = list(dict.fromkeys(name for panel in study.panels for name in panel.methods))
    unknown = [name for name in methods if name not in has]
    if unknown:
        raise ValueError(f"the study has no method {unknown[0]!r}: choose from {', '.join(has)}")
    return [TuningJob(study, name, folder) for name in has if not methods or name in methods]


def record(study: Study, jobs: Sequence[TuningJob]) -> dict[str, Any]:
    """Return the results of tuning, with the budget and the search space, as plain data."""
    found = {job.method: result(job) for job in jobs}
    tuning = study.tuning
    return {
        "study": study.name,
        "objective": "mean held-out observed return of the checkpoint of the rule observed",
        "trials": tuning.trials,
        "seeds": list(tuning.seeds),
        "oversight_probability": tuning.oversight_probability,
        "space": {name: list(ends) for name, ends in tuning.space.items()},
        "methods": {name: each for name, each in found.items() if each is not None},
    }


def tune(job: TuningJob) -> Outcome:
    """Run all trials that the journal of a method lacks, and return the outcome.

    Trial 0 has the settings of the study. A tree-structured Parzen estimator, seeded by the number
    of the trial, draws each later one from the trials before it. Therefore an interrupted trial is
    drawn again with the same values, and its runs resume from their checkpoints.
    """
    try:
        journal = open_journal(job)
        while len(finished(journal)) < job.study.tuning.trials:
            if not _next_trial(job, journal):
                return Outcome(job.id, interrupted=True)
    except Exception as error:  # one failed method must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


def open_journal(job: TuningJob) -> Any:  # noqa: ANN401 (Optuna is imported only here)
    """Return Optuna's record of the trials of a method.

    Raises:
        ValueError: if Optuna is not installed, or the record belongs to another tuning.
    """
    try:
        import optuna  # noqa: PLC0415 (an extra, which studies run without)
        from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(
            "tuning needs Optuna, which is not installed: pip install optuna"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(job.journal)))
    try:
        journal = optuna.load_study(study_name=job.method, storage=storage)
    except KeyError:
        journal = optuna.create_study(study_name=job.method, storage=storage, direction="maximize")
    if not journal.trials:
        journal.set_user_attr("declared", declared(job.study))
    if journal.user_attrs.get("declared") != declared(job.study):
        raise ValueError(
            f"{job.journal} holds the tuning of other settings, seeds or ranges: name another "
            "--folder"
        )
    return journal


def declared(study: Study) -> str:
    """Return as text everything that determines a trial, except its number."""
    return repr((study.settings, replace(study.tuning, trials=1)))


def finished(journal: Any) -> list[Any]:  # noqa: ANN401
    """Return the trials of a journal that have a value."""
    return [trial for trial in journal.trials if trial.state.name == "COMPLETE"]


def result(job: TuningJob) -> dict[str, Any] | None:
    """Return the result of tuning a method, or None if trials are missing."""
    if not job.journal.exists():
        return None
    trials = finished(open_journal(job))
    if len(trials) < job.study.tuning.trials:
        return None
    found = [{"changes": rounded(trial.params), "score": trial.value} for trial in trials]
    best = max(found, key=lambda each: each["score"])  # of equal scores the first
    return {**best, "untuned_score": found[0]["score"], "trials": found}


def rounded(values: Mapping[str, float]) -> Values:
    """Return values rounded to three digits, as the runs use them."""
    return {name: float(f"{value:.3g}") for name, value in values.items()}


def trial_runs(job: TuningJob, number: int, changes: Values) -> list[Run]:
    """Return the runs of a trial, one for each seed of tuning."""
    tuning = job.study.tuning
    given: dict[str, Any] = {
        "method": job.method,
        "oversight_probability": tuning.oversight_probability,
    }
    if tuning.total_timesteps is not None:
        given["total_timesteps"] = tuning.total_timesteps
    base = override(job.study.settings, {**given, **changes})
    trial = f"trial{number}"
    return [
        Run(f"{job.method}-{trial}-seed{seed}", trial, override(base, {"seed": seed}))
        for seed in tuning.seeds
    ]


def score(runs: Sequence[Run], folder: Path) -> float:
    """Return the mean held-out observed return of the checkpoints of the rule `observed`.

    Raises:
        ValueError: if a run had too few observed episodes for a score.
    """
    scores = []
    for run in runs:
        results = summary(RunFolder(folder / "runs" / run.id))
        chosen = None if results is None else results["selection"]["observed"]["score"]
        if chosen is None:
            raise ValueError(
                f"{run.id} has too few observed episodes to be scored: tune at a higher oversight "
                "probability, for more steps, or with more held out"
            )
        scores.append(chosen)
    return float(np.mean(scores))


def _next_trial(job: TuningJob, journal: Any) -> bool:  # noqa: ANN401
    """Run the next trial of a method; return False if it was interrupted."""
    import optuna  # noqa: PLC0415

    number = len(finished(journal))
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(low, high, log=True)
        for name, (low, high) in job.study.tuning.space.items()
    }
    for cut in journal.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        journal.tell(cut.number, state=optuna.trial.TrialState.FAIL)
    if number == 0:
        params, trial = untuned(job.study), None
    else:
        journal.sampler = optuna.samplers.TPESampler(seed=number)
        trial = journal.ask(space)
        params = trial.params
    runs = trial_runs(job, number, rounded(params))
    for run in runs:
        outcome = work(Job(run, job.folder / "runs" / run.id))
        if outcome.interrupted:
            return False
        if outcome.error is not None:
            raise ValueError(f"{run.id}: {outcome.error}")
    value = score(runs, job.folder)
    if trial is None:
        first = optuna.trial.create_trial(params=params, distributions=space, value=value)
        journal.add_trial(first)
    else:
        journal.tell(trial, value)
    return True


def untuned(study: Study) -> dict[str, float]:
    """Return the values that the study has for the tuned settings."""
    values = dict(flat(asdict(study.settings)))
    return {name: float(values[name]) for name in study.tuning.space}
