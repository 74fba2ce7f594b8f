"""Which runs a study has, where they go, and in which order they are best started."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lm.config import StudyConfig
from lm.methods import begins_with
from lm.reporting.runs import BASE, GOLD

REFERENCES = (GOLD, BASE)
"""Methods that are told nothing or everything, whatever the labels."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a method with a seed, at a share of labels.

    Attributes:
        study: the settings of all.
        method: its name.
        seed: of everything.
        recall: share of the stories to forget that is labelled so.
        folder: its own.
    """

    study: StudyConfig
    method: str
    seed: int
    recall: float
    folder: Path

    @property
    def id(self) -> str:
        """What the run is called."""
        return self.folder.name

    @property
    def cost(self) -> float:
        """How long it takes, beside others: to train is most of it, and some take it over."""
        return 0.5 if begins_with(self.method) else 1.0


def jobs_of(study: StudyConfig, folder: Path) -> list[Job]:
    """Return the runs of a study, each in its own folder, in the order to start them.

    The unrouted models come first, and what begins with the model of another method comes last. In
    a sweep over labels the references are run once, and always, since robust unlearning is measured
    from one of them.
    """
    runs = sorted(_runs(study), key=lambda run: (run[0] != BASE, begins_with(run[0]) is not None))
    return [
        Job(study, method, seed, recall, folder / "runs" / _name(study, method, seed, recall))
        for method, seed, recall in runs
    ]


def _runs(study: StudyConfig) -> Iterator[tuple[str, int, float]]:
    """Yield method, seed and recall."""
    if study.sweep == "none":
        for method in study.method:
            yield from ((method, seed, study.label_recall) for seed in study.seeds)
        return
    for method in dict.fromkeys([*REFERENCES, *study.method]):
        recalls = (1.0,) if method in REFERENCES else study.recalls
        yield from ((method, seed, recall) for seed in study.seeds for recall in recalls)


def _name(study: StudyConfig, method: str, seed: int, recall: float) -> str:
    if study.sweep == "none" or method in REFERENCES:
        return f"{method}-seed{seed}"
    return f"{method}-recall{recall:g}-seed{seed}"
