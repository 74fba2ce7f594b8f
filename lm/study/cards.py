"""The cards of a study's models, each in its run's folder, and in that which hubs take."""

from collections.abc import Sequence

from lm.config import StudyConfig
from lm.experiment.export import PLAIN
from lm.reporting.card import card
from lm.reporting.runs import Result
from lm.study.plan import REFERENCES, Job
from oversight.files import replace_file

CARD = "MODEL_CARD.md"
HUB_CARD = "README.md"
"""The name by which hubs look for it."""


def write_cards(study: StudyConfig, jobs: Sequence[Job], results: Sequence[Result]) -> None:
    """Write the card of each finished run, whole or as it was.

    Args:
        study: the settings.
        jobs: all of its runs.
        results: of those that are finished.
    """
    folders = {(job.method, job.seed, job.recall): job.folder for job in jobs}
    for result in results:
        recall = result["label_recall"]
        folder = folders[result["method"], result["seed"], recall]
        others = [
            each
            for each in results
            if each["label_recall"] == recall or each["method"] in REFERENCES
        ]
        written = card(study, result, others).encode()
        replace_file(folder / CARD, written)
        if (folder / PLAIN).is_dir():
            replace_file(folder / PLAIN / HUB_CARD, written)
