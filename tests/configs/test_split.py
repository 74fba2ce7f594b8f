"""Presets of the split autoencoder: the settings of the paper's Table 2, row by row."""

from typing import Any

import pytest

from configs.split import PRESETS, TABLE2, preset_for
from oversight.representations.config import StudyConfig
from oversight.representations.study import settings_of
from oversight.runs.cli import override

PAPER = {"l1_weights": (3e-3, 3e-3), "correlation": 0.1}
NO_PENALTY = {"l1_weights": (0.0, 0.0), "correlation": 0.0}
ROWS: dict[int, tuple[str, dict[str, Any]]] = {
    1: ("routed", PAPER),
    2: ("routed", {**PAPER, "separate_decoders": True}),
    3: ("routed", {**PAPER, "correlation": 0.0}),
    4: ("routed", NO_PENALTY),
    5: ("routed", {**NO_PENALTY, "separate_decoders": True}),
    6: ("routed", {"l1_weights": (3e-3, 2e-2), "correlation": 0.1, "routed_groups": (1,)}),
    7: (
        "unrouted",
        {"l1_weights": (1e-3, 1e-3), "correlation": 0.0, "trained_groups": (1,)},
    ),
    8: ("unrouted", {**NO_PENALTY, "trained_groups": (1,)}),
    9: ("unrouted", PAPER),
    10: ("unrouted", NO_PENALTY),
}
"""Appendix B, Table 2 of Cloud et al. 2024, with the second group as the paper's bottom half."""
REST = {"separate_decoders": False, "routed_groups": None, "trained_groups": None}
NETWORK = {
    "hidden_sizes": (2048, 512),
    "code_size": 32,
    "steps": 6000,
    "batch_size": 2048,
    "learning_rate": 1e-3,
    "weight_decay": 5e-5,
    "parts": 2,
}


def study_of(preset: str) -> StudyConfig:
    """Return the study of a preset, with a folder of data."""
    return override(StudyConfig(), {"data_dir": ".", **PRESETS[preset][1]})


def test_rows_are_numbered_in_order() -> None:
    assert [int(name.partition("-")[0]) for name in TABLE2] == list(range(1, 11))


@pytest.mark.parametrize("row", ROWS)
def test_preset_of_a_row_is_the_setting_of_the_paper(row: int) -> None:
    method, expected = ROWS[row]
    study = study_of(f"table2-{row}")
    assert study.method == (method,)
    for name, value in {**REST, **NETWORK, **expected}.items():
        assert getattr(study.run, name) == value, name


def test_table_runs_the_settings_of_its_rows() -> None:
    settings = settings_of(study_of("table2"), TABLE2)
    assert len(settings) == 10
    for row, setting in enumerate(settings, start=1):
        alone = study_of(f"table2-{row}")
        assert (setting.method,) == alone.method
        assert setting.run == alone.run


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_run(preset: str) -> None:
    assert settings_of(study_of(preset), TABLE2)
    assert PRESETS[preset][0].endswith(".")


@pytest.mark.parametrize("data", ["digits", "mnist", "mnist1d"])
@pytest.mark.parametrize("task", ["reconstruct", "classify"])
def test_default_preset_is_of_the_data_and_the_task(data: str, task: str) -> None:
    run = study_of(preset_for(data, task)).run
    assert (run.data, run.task) == (data, task)
