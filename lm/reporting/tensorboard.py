"""TensorBoard's page of a run: losses by split, gradients, relearning curves and sample texts.

It is a function of the result: written again, it is the same page.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.writer import SummaryWriter

from lm.reporting.runs import Result, number

STAGES = ("before", "after", "repaired")
"""When a model is examined: as trained, ablated, repaired."""
SPLITS = ("forget", "adjacent", "retain")


def write_page(result: Result, folder: Path) -> None:
    """Write the events of a run into a folder, in place of those that are there."""
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for tag, step, value in scalars(result):
            writer.add_scalar(tag, value, step)
        for stage, by_split in result.get("samples", {}).items():
            for split, texts in by_split.items():
                writer.add_text(f"samples/{split}", paragraphs(stage, texts), _step(stage))


def scalars(result: Result) -> list[tuple[str, int, float]]:
    """Return tag, step and value of every curve of a run."""
    stages = [
        (f"{split}/loss", _step(stage), number(result, f"{split}_loss.{stage}"))
        for split in SPLITS
        for stage in STAGES
    ]
    training = [
        (f"training/{name}", step, value)
        for name, points in result.get("training", {}).items()
        for step, value in points
    ]
    gradient = [
        (f"gradient_share_{target}/{label}", 0, share)
        for label, row in result.get("gradient_shares", {}).items()
        for target, share in row.items()
    ]
    found = [*stages, *training, *gradient, *_relearning(result.get("curves", ()))]
    return [point for point in found if isfinite(point[2])]


def _relearning(curves: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, float]]:
    return [
        (
            f"relearning_{curve['attack']}_{measure}/"
            f"{curve['num_examples']}_examples_rate_{curve['learning_rate']:g}",
            step,
            value,
        )
        for curve in curves
        for measure, values in curve["values"].items()
        for step, value in zip(curve["steps"], values, strict=True)
    ]


def paragraphs(stage: str, texts: Sequence[str]) -> str:
    """Return sample texts as markdown."""
    return "\n\n".join([f"**{stage}**", *texts])


def _step(stage: str) -> int:
    return STAGES.index(stage)
