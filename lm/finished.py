"""Finished runs of a study: their settings, and the models that they left."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lm.config import StudyConfig, Variation
from oversight.runs.folder import RunFolder, read_config, read_json

if TYPE_CHECKING:
    from lm.config import RunConfig
    from lm.models.language_model import LanguageModel


class FinishedRun(NamedTuple):
    """A finished run of a study."""

    folder: Path
    config: "RunConfig"
    method: str
    seed: int


def read_run(folder: Path) -> FinishedRun:
    """Return a finished run with its settings.

    Raises:
        ValueError: if the folder is not that of a finished run.
    """
    from lm.stages import RESULT, STAGES, owned  # noqa: PLC0415 (slow to import)

    if not owned(folder / RESULT):
        raise ValueError(
            f"{folder} holds no finished run of python -m lm.unlearn: name a folder such as "
            "runs/unlearn/x/runs/gram-seed0, or resume its study"
        )
    identity = read_json(folder / STAGES)["identity"]
    study = read_config(RunFolder(folder.resolve().parent.parent), StudyConfig)
    labels, forget = identity["labels"], identity["task"]["forget"]
    told = float(labels["recall"]), float(labels["precision"])
    variation = Variation(*told, int(identity["expansion"]), len(forget))
    return FinishedRun(
        folder, study.run.at(variation), str(identity["method"]), int(identity["seed"])
    )


def load(run: FinishedRun, stage: str) -> "LanguageModel":
    """Return the model of a stage of a run.

    Raises:
        ValueError: if its weights are not there, or not those of the run.
    """
    from lm.models import files  # noqa: PLC0415 (slow to import)
    from lm.stages import owned  # noqa: PLC0415

    path = run.folder / f"{stage}.safetensors"
    if not owned(path):
        raise ValueError(
            f"{path} is not there, or not what the run wrote, so that there is no model to serve: "
            "weights of large models are removed when a run ends, unless --keep-weights is given"
        )
    return files.load(path)
