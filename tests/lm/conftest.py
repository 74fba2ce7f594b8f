"""A fixture of all tests of language models: short sample texts."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def short_samples() -> Iterator[None]:
    """Shorten the sample texts of runs, whose content no test checks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.task.CONTINUATION", 4)
        yield
