"""Labels by which gradients are routed: complete, partly missing, partly wrong, or shuffled."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oversight.representations.config import CLASSES, LabelConfig, Method, RunConfig

Array = NDArray[np.int64]


def groups_of(classes: Tensor, config: RunConfig) -> Tensor:
    """Return the group of each class, of the same shape.

    >>> groups_of(torch.tensor([0, 4, 5]), RunConfig()).tolist()
    [0, 0, 1]
    """
    return classes // (CLASSES // config.parts)


def label_images(
    classes: Tensor, config: RunConfig, method: Method, random: np.random.Generator
) -> Tensor:
    """Return the group that the label of each image names, `config.parts` if it has none.

    Args:
        classes: the true class of each image, [images] int64.
        config: gives the groups and the quality of labels.
        method: `shuffled` permutes the labels among the images, which keeps the size of groups.
        random: what draws errors and the permutation.
    """
    true = groups_of(classes, config).numpy()
    if config.labels.label_errors == "classes":
        by_class = _label_classes(config, random)
        labels = by_class[classes.numpy()]
    else:
        labels = _label_each(true, config, random)
    if method == "shuffled":
        labels = random.permutation(labels)
    return torch.from_numpy(labels)


def _label_each(true: Array, config: RunConfig, random: np.random.Generator) -> Array:
    """Return labels of which exact shares are missing and wrong, image by image."""
    quality, labels = config.labels, true.copy()
    order = random.permutation(len(true))
    num_labeled = round(quality.label_recall * len(true))
    labels[order[num_labeled:]] = config.parts
    wrong = order[: round((1 - quality.label_precision) * num_labeled)]
    labels[wrong] = _other_groups(true[wrong], config.parts, random)
    return labels


def _label_classes(config: RunConfig, random: np.random.Generator) -> Array:
    """Return the label of each class, where whole classes are unlabeled or have a wrong label."""
    by_class = np.full(CLASSES, config.parts)
    for group, classes in enumerate(config.groups):
        order = random.permutation(np.array(classes))
        labeled = order[: class_counts(config.labels, len(classes))[0]]
        wrong = labeled[: class_counts(config.labels, len(classes))[1]]
        by_class[labeled] = group
        by_class[wrong] = _other_groups(np.full(len(wrong), group), config.parts, random)
    return by_class


def class_counts(labels: LabelConfig, num_classes: int) -> tuple[int, int]:
    """Return how many classes of a group are labeled, and how many of these wrongly.

    >>> class_counts(LabelConfig(label_recall=0.8, label_precision=0.75), 5)
    (4, 1)
    """
    labeled = round(labels.label_recall * num_classes)
    return labeled, round((1 - labels.label_precision) * labeled)


def _other_groups(groups: Array, num_groups: int, random: np.random.Generator) -> Array:
    """Return for each group one of the others, all of them equally likely."""
    steps = random.integers(1, num_groups, len(groups))
    return (groups + steps) % num_groups
