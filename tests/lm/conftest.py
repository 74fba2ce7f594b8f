"""What all tests of language models share: samples of a few tokens."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def short_samples() -> Iterator[None]:
    """Let models write a few tokens where a run samples texts; no test reads what they write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.task.CONTINUATION", 4)
        yield
