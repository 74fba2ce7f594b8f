"""What all tests share: one thread each, no waiting for the disk, and results of costly set-ups.

Networks are small, and as many tests run at once as there are cores.
"""

import gc
import os
from collections.abc import Iterator

# These are read when a library is first imported, in this process and in those that it starts.
os.environ["HF_HUB_OFFLINE"] = "1"  # tests ask no network
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import pytest
import torch


def pytest_collection_finish() -> None:
    """Spare the garbage collector what lives as long as the process: modules and tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Give PyTorch's threads back, which commands set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: what a power failure leaves behind is not tested here."""
    monkeypatch.setattr("os.fsync", lambda _: None)
