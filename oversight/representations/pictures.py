"""Reconstructions of test images, and the TensorBoard page of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from oversight.representations.config import RunConfig
from oversight.representations.data import Images
from oversight.representations.evaluation import decode_all
from oversight.representations.training import load_network

EXAMPLES = 10
"""Test images in a picture: as many of each group as there is room for, one of a class at most."""


@dataclass(frozen=True, slots=True)
class Reconstructions:
    """Test images of each group, and what each decoder makes of them.

    Attributes:
        columns: `input`, and the names of the decoders.
        classes: the class of each row.
        images: [rows, columns, height, width].
    """

    columns: tuple[str, ...]
    classes: tuple[int, ...]
    images: Tensor


def reconstruct(folder: Path, images: Images, config: RunConfig) -> Reconstructions:
    """Return what the trained network of a finished run makes of a test image of each class."""
    network = load_network(folder, config, images.shape)
    rows = [int((images.test_classes == each).nonzero()[0]) for each in range(EXAMPLES)]
    chosen, classes = images.test[rows], images.test_classes[rows]
    with torch.no_grad():
        made = {"input": chosen, **decode_all(network, chosen, classes, config)}
    stacked = torch.stack(list(made.values()), 1).view(len(rows), len(made), *images.shape)
    return Reconstructions(tuple(made), tuple(classes.tolist()), stacked)


def grid(pictures: Reconstructions) -> Tensor:
    """Return all images side by side, [1, height, width] in [0, 1], with a line between them."""
    lowest, highest = pictures.images[:, 0].min(), pictures.images[:, 0].max()
    shades = ((pictures.images - lowest) / (highest - lowest)).clamp(0, 1)
    padded = F.pad(shades, (0, 1, 0, 1), value=0.5)
    return torch.cat(list(torch.cat(list(padded), 1)), 1)[None]


def write_page(result: Mapping[str, Any], images: Images, config: RunConfig, folder: Path) -> None:
    """Write the TensorBoard events of a finished run into its folder, replacing earlier ones."""
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for record in result["history"]:
            for tag, value in scalars(record).items():
                writer.add_scalar(tag, value, record["step"])
        steps = config.steps + config.certificate_steps
        for decoder, measures in result["decoders"].items():
            for measure, by_group in measures.items():
                for group in (*config.group_names, "all"):
                    writer.add_scalar(f"final_{measure}/{decoder}/{group}", by_group[group], steps)
        if config.task == "reconstruct":
            shown = grid(reconstruct(folder, images, config)).numpy()
            writer.add_image("reconstructions", shown, steps)


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a measurement during training, by tag.

    >>> scalars({"measure": "mse", "step": 1, "full": 0.1, "ratio": {"0-4": 3.0}})
    {'mse/full': 0.1, 'ratio/0-4': 3.0}
    """
    measure = record["measure"]
    plain = {name: record[name] for name in ("full", "wrong", "right") if name in record}
    found = {f"{measure}/{name}": value for name, value in plain.items()}
    return found | {f"ratio/{name}": value for name, value in record["ratio"].items()}
