"""A quick leak meter: a few trees, and a few resamples."""

import pytest


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit fewer trees, and resample less often."""
    monkeypatch.setattr("oversight.certificate.leak_meter.scoring.ITERATIONS", 8)
    monkeypatch.setattr("oversight.certificate.leak_meter.scoring.RESAMPLES", 60)
