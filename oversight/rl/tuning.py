"""Tuning: the same few trials for every method, judged by held-out observed return only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oversight.rl.study import Run, Study
from oversight.rl.sweep import Job, summary, work
from oversight.runs.cli import Values, override
from oversight.runs.folder import RunFolder, flat
from oversight.runs.parallel import Outcome, one_line


@dataclass(frozen=True, slots=True)
class TuningJob:
    """A method to be tuned.

    Attributes:
        study: says with how many trials, on which seeds and in what space.
        method: name of the method.
        folder: of the tuning of all methods.
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
        """The file of Optuna's record of all trials."""
        return self.folder / f"{self.method}.journal"


def tune(job: TuningJob) -> Outcome:
    """Run all trials of a method that its journal does not have, and tell how it went.

    Trial 0 has the study's own settings. Each later one is drawn by a tree-structured Parzen
    estimator from the trials before it and a seed of its number. A trial cut by a kill is so drawn
    again as it was, and its runs go on from their checkpoints.
    """
    try:
        journal = open_journal(job)
        while len(finished(journal)) < job.study.tuning.trials:
            if not _next_trial(job, journal):
                return Outcome(job.id, interrupted=True)
    except Exception as error:  # one failing method must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)


def open_journal(job: TuningJob) -> Any:  # noqa: ANN401 (Optuna is imported only here)
    """Return Optuna's record of a method's trials.

    Raises:
        ValueError: if Optuna is not installed, or the record is of another tuning.
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
    """Return all that trials depend on but for their number, as text."""
    return repr((study.settings, replace(study.tuning, trials=1)))


def finished(journal: Any) -> list[Any]:  # noqa: ANN401
    """Return the trials of a journal that have a value."""
    return [trial for trial in journal.trials if trial.state.name == "COMPLETE"]


def result(job: TuningJob) -> dict[str, Any] | None:
    """Return what tuning found for a method, or None if it is not done."""
    if not job.journal.exists():
        return None
    trials = finished(open_journal(job))
    if len(trials) < job.study.tuning.trials:
        return None
    found = [{"changes": rounded(trial.params), "score": trial.value} for trial in trials]
    best = max(found, key=lambda each: each["score"])  # of equals the first, nearest to the study's
    return {**best, "untuned_score": found[0]["score"], "trials": found}


def rounded(values: Mapping[str, float]) -> Values:
    """Return values with three digits, which is what runs are given."""
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
    """Return the mean held-out observed return of what the rule `observed` kept of each run.

    Raises:
        ValueError: if a run had too few observed episodes to be scored.
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
    """Do the next trial of a method; return whether it was done."""
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
    """Return the study's own values of the settings that are tuned."""
    values = dict(flat(asdict(study.settings)))
    return {name: float(values[name]) for name in study.tuning.space}
