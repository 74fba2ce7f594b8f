"""One thread a test: networks are small, and as many tests run at once as there are cores."""

import os
from collections.abc import Iterator

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is first imported; tests ask no network


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Give PyTorch's threads back, which commands set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
