"""The runs of a study: what tells them apart, where each of them lies, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from lm.attacks.suite import Suite
from lm.config import RunConfig, StudyConfig, Variation
from lm.methods import BASE, begins_with, comes_last
from lm.profile_report import with_compute_ratios
from lm.report import compare_with_references
from lm.results import REFERENCES, VARIED, Result
from lm.run import run_identity
from lm.stages import RESULT, require_result_of
from lm.task import data_identity
from oversight.runs.folder import read_json

ATTACKED: dict[Suite, tuple[str, ...]] = {
    "none": (),
    "relearning": ("curves",),
    "full": ("curves", "grid"),
}
"""Parts of a result that each suite of attacks writes."""


class Key(NamedTuple):
    """What tells a run from the others of its study."""

    method: str
    seed: int
    variation: Variation


def key_of(result: Result) -> Key:
    """Return the key of the run that a result is of."""
    varied = (result[name] for name in VARIED.values())
    return Key(result["method"], result["seed"], Variation(*varied))


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a study: a method with a seed, at a variation of the settings.

    Attributes:
        study: settings of all runs.
        method: name of the method.
        seed: seed of all random numbers of the run.
        variation: those of the settings that the study may vary.
        folder: folder of this run.
    """

    study: StudyConfig
    method: str
    seed: int
    variation: Variation
    folder: Path

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.folder.name

    @property
    def config(self) -> RunConfig:
        """The settings of the run, except for its method and seed."""
        return self.study.run.at(self.variation)

    @property
    def key(self) -> Key:
        """What tells the run from the others of its study."""
        return Key(self.method, self.seed, self.variation)

    @property
    def cost(self) -> float:
        """Duration relative to other runs: runs that reuse a trained model take about half."""
        return 0.5 if begins_with(self.method) else 1.0


def jobs_of(study: StudyConfig, folder: Path) -> list[Job]:
    """Return the runs of a study, each with its own folder, in the order in which to start them.

    The unrouted models come first, and methods that begin with the model of another come last. A
    sweep also runs the references. Settings that a method does not depend on are not varied: in a
    sweep over labels, each reference is run once per seed, with all labels. With profiles, methods
    such as `filtered` are also run once for each topic, which they keep.
    """
    found = []
    references = REFERENCES if study.sweep != "none" else ()
    for method in dict.fromkeys([*references, *study.trainings]):
        for seed, variation in product(study.seeds, study.variations_of(method)):
            name = f"{method}{_suffix(study, method, variation)}-seed{seed}"
            found.append(Job(study, method, seed, variation, folder / "runs" / name))
    return sorted(found, key=lambda job: (job.method != BASE, comes_last(job.method)))


def _suffix(study: StudyConfig, method: str, variation: Variation) -> str:
    """Return what the name of a run says of its variation.

    Names stay when more values are added to a sweep, so that finished runs are found again.
    """
    own = study.run.variation
    said = {
        f"-recall{variation.recall:g}": study.sweep == "labels" and method not in REFERENCES,
        f"-precision{variation.precision:g}": variation.precision != own.precision,
        f"-expansion{variation.expansion}": study.sweep == "tax" and bool(variation.expansion),
        f"-topics{variation.topic_count}": variation.topic_count != own.topic_count,
    }
    return "".join(words for words, is_said in said.items() if is_said)


def read_result(job: Job) -> Result | None:
    """Return the result of a finished run, or None if there is no complete result of that run.

    A run is not finished if the study asks for more attacks than the result has.

    Raises:
        ValueError: if the result is of a run with other settings or data, or was changed.
    """
    try:
        result = read_json(job.folder / RESULT)
    except ValueError:
        return None
    if not all(isinstance(result.get(part), list) for part in ATTACKED[job.study.run.suite]):
        return None
    config = job.config
    require_result_of(job.folder, run_identity(config, data_identity(config), job.method, job.seed))
    return result


def results_of(jobs: Sequence[Job]) -> list[Result]:
    """Return the results of finished runs, with their comparisons to the references."""
    found = []
    for job in jobs:
        result = read_result(job)
        if result is not None:
            varied = {VARIED[name]: value for name, value in job.variation._asdict().items()}
            found.append({**result, **varied})
    compared = [{**result, **compare_with_references(result, found)} for result in found]
    return with_compute_ratios(compared)
