"""Settings and images of runs that take well under a second."""

from typing import Any

import torch

from oversight.representations.config import CLASSES, RunConfig
from oversight.representations.data import Images
from oversight.runs.cli import override

TINY = RunConfig(
    hidden_sizes=(8,), code_size=6, batch_size=20, steps=12, eval_every=4, checkpoint_every=5
)


def tiny_run(**changes: Any) -> RunConfig:  # noqa: ANN401
    """Return the settings of a tiny run, with some changed."""
    return override(TINY, changes)


def tiny_images(each: int = 6, shape: tuple[int, int] = (4, 4)) -> Images:
    """Return noisy images of ten patterns, the same number of each class."""
    generator = torch.Generator().manual_seed(7)
    patterns = torch.rand(CLASSES, shape[0] * shape[1], generator=generator) * 2 - 1
    classes = torch.arange(CLASSES).repeat(each)
    noise = torch.randn(2, len(classes), patterns.shape[1], generator=generator) / 10
    made = (patterns[classes] + noise).clamp(-1, 1)
    return Images(made[0], classes, made[1], classes, shape, "tiny images")
