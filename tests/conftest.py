"""Fixtures of all tests: one thread each, and no waiting for the disk.

Networks are small, and as many tests run at once as there are cores.
"""

import gc
import os
from collections.abc import Iterator

# These are read when a library is first imported, in this process and in those that it starts.
os.environ["HF_HUB_OFFLINE"] = "1"  # tests use no network
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import pytest
import torch


def pytest_collection_finish() -> None:
    """Exclude modules and tests from garbage collection, since they live until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread of PyTorch, and restore the number of threads after each test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace `fsync`, since no test depends on what a power failure leaves behind."""
    monkeypatch.setattr("os.fsync", lambda _: None)
