"""What the decoder and each certificate make of test images, by class and by group of classes."""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from oversight.representations.config import CLASSES, RunConfig, Task
from oversight.representations.data import Images
from oversight.representations.labels import groups_of
from oversight.representations.networks import SplitNetwork

FULL, ALL = "full", "all"
"""The decoder of the whole code, and all groups together."""
MEASURES: Mapping[Task, tuple[str, ...]] = {
    "reconstruct": ("mse", "mae"),
    "classify": ("accuracy", "cross_entropy"),
}
"""Measures of each task. The first one is reported in short: the paper's Table 2 is in mean squared
error, although its text says absolute error."""
MEAN_IMAGE, MEDIAN_IMAGE = "mean image", "median image"
"""Predictors that know nothing of an image: the mean and the median of each pixel in training."""
_BATCH = 2048  # images at a time


def certificate_name(group: str) -> str:
    """Return the name of the certificate that reads the part of a group."""
    return f"certificate {group}"


def evaluate(network: SplitNetwork, images: Images, config: RunConfig) -> dict[str, Any]:
    """Return each measure of the decoder and of each certificate on test images.

    The result is `result[decoder][measure][group]`. As in the paper, a group's figure is the mean
    over its classes of the mean over the test images of each; `by_class` lists those means.

    Args:
        network: the network, on the device of the images.
        images: their test images are read.
        config: gives the task and the groups.
    """
    found: dict[str, list[Tensor]] = {}
    network.eval()
    with torch.no_grad():
        for start in range(0, len(images.test), _BATCH):
            part = images.test[start : start + _BATCH]
            classes = images.test_classes[start : start + _BATCH]
            for name, outputs in decode_all(network, part, classes, config).items():
                measured = measure(outputs, part, classes, config.task)
                found.setdefault(name, []).append(measured)
    network.train()
    return {
        name: by_group(torch.cat(values), images.test_classes, config)
        for name, values in found.items()
    }


def decode_all(
    network: SplitNetwork, images: Tensor, classes: Tensor, config: RunConfig
) -> dict[str, Tensor]:
    """Return what the decoder and each certificate make of images, by name, [batch, outputs].

    With separate decoders each image is decoded by that of its true group.
    """
    code = network.encode(images)
    names = [certificate_name(group) for group in config.group_names]
    certified = dict(zip(names, network.certify(code), strict=True))
    return {FULL: network.decode(code, groups_of(classes, config)), **certified}


def measure(outputs: Tensor, images: Tensor, classes: Tensor, task: Task) -> Tensor:
    """Return the measures of each image, in the order of `MEASURES`, [batch, measures]."""
    if task == "classify":
        right = (outputs.argmax(-1) == classes).to(outputs.dtype)
        return torch.stack([right, F.cross_entropy(outputs, classes, reduction="none")], -1)
    difference = outputs - images
    return torch.stack([difference.square().mean(-1), difference.abs().mean(-1)], -1)


def by_group(measured: Tensor, classes: Tensor, config: RunConfig) -> dict[str, Any]:
    """Return the mean of each measure over the classes of each group, and by class.

    Args:
        measured: measures of each image, [images, measures].
        classes: the class of each image, [images].
        config: gives the task and the groups.
    """
    means = torch.stack([measured[classes == each].mean(0) for each in range(CLASSES)])
    return {
        name: {
            **{
                group: float(column[list(members)].mean())
                for group, members in zip(config.group_names, config.groups, strict=True)
            },
            ALL: float(column.mean()),
            "by_class": column.tolist(),
        }
        for name, column in zip(MEASURES[config.task], means.unbind(-1), strict=True)
    }


def uninformed(images: Images, config: RunConfig) -> dict[str, Any]:
    """Return the measures of the mean and of the median training image, as of `evaluate`."""
    if config.task == "classify":
        return {}
    constants = {
        MEAN_IMAGE: images.train.mean(0, keepdim=True),
        MEDIAN_IMAGE: images.train.median(0, keepdim=True).values,
    }
    return {
        name: by_group(
            measure(constant.expand_as(images.test), images.test, images.test_classes, config.task),
            images.test_classes,
            config,
        )
        for name, constant in constants.items()
    }


def wrong_and_right(
    decoders: Mapping[str, Any], measure_name: str, groups: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return for each group the mean measure of the other groups' certificates, and of its own.

    Args:
        decoders: the result of `evaluate`.
        measure_name: one of `MEASURES`.
        groups: names of the groups.
    """
    found = {}
    for group in groups:
        others = [each for each in groups if each != group]
        wrong = [decoders[certificate_name(each)][measure_name][group] for each in others]
        right = decoders[certificate_name(group)][measure_name][group]
        found[group] = (sum(wrong) / len(wrong), right)
    return found


def summarize(decoders: Mapping[str, Any], config: RunConfig) -> dict[str, Any]:
    """Return the figures that compare runs, of the first measure of the task.

    They are that of the decoder, the means over groups of the wrong and of the right certificates,
    and the ratio of wrong to right for each group with the least of them as `least`; for an
    accuracy, where less is worse, the largest is `least`.
    """
    name = MEASURES[config.task][0]
    pairs = wrong_and_right(decoders, name, config.group_names)
    ratios = {group: wrong / right if right else nan for group, (wrong, right) in pairs.items()}
    known = [ratio for ratio in ratios.values() if isfinite(ratio)] or [nan]
    worst = max if config.task == "classify" else min
    return {
        "measure": name,
        FULL: decoders[FULL][name][ALL],
        "wrong": sum(wrong for wrong, _ in pairs.values()) / len(pairs),
        "right": sum(right for _, right in pairs.values()) / len(pairs),
        "ratio": {**ratios, "least": worst(known)},
    }
