"""Settings of many runs in one file: they are read back unchanged and compared by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversight.rl.result_files import (
    OWN,
    Settings,
    as_csv,
    differences,
    pack,
    read_rows,
    rows_of,
    unpack,
)

VALUES = st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.0, "a", [1, 2]])
NAMES = st.sampled_from(["seed", "commit", "env", "ppo.gamma", "grid.flag", "versions.torch"])
RUNS = st.dictionaries(st.sampled_from("abcde"), st.dictionaries(NAMES, VALUES))


@given(RUNS)
def test_settings_round_trip_without_the_columns_of_rows(settings: dict[str, Settings]) -> None:
    expected = {
        run: {name: value for name, value in each.items() if name not in OWN}
        for run, each in settings.items()
    }
    back = unpack(json.loads(json.dumps(pack(settings))), "a file")
    assert json.dumps(back, sort_keys=True) == json.dumps(
        expected, sort_keys=True
    )  # 0 is not False


def test_shared_settings_are_written_once() -> None:
    settings = {
        f"run{seed}": {"seed": seed, "env": "grid", "gamma": seed // 5} for seed in range(9)
    }
    packed = pack(settings)
    assert packed["shared"] == {"env": "grid"}
    assert [group["own"] for group in packed["groups"]] == [{"gamma": 0}, {"gamma": 1}]
    assert packed["groups"][1]["runs"] == ["run5", "run6", "run7", "run8"]


@pytest.mark.parametrize(
    "data", [{}, {"shared": {}}, {"shared": {}, "groups": [3]}, {"shared": 1, "groups": [{}]}]
)
def test_invalid_settings_are_refused_with_their_source(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"settings\.json does not hold the settings of runs"):
        unpack(data, "settings.json")


def test_differences_ignore_seeds_and_versions() -> None:
    one = {"seed": 0, "method": "naive", "env": "grid", "versions.torch": "2.13", "flips": 0.2}
    other = {"seed": 1, "method": "routed", "env": "grid", "versions.torch": "2.14", "rows": 3}
    assert differences(one, other) == {"flips": (0.2, None), "rows": (None, 3)}


def test_metrics_of_other_environments_are_further_columns(tmp_path: Path) -> None:
    metrics = {"true_return": 2.5, "length": 12.0, "goal_rate": 0.25, "episodes": 8}
    metrics["train_return"] = 0.75
    summary = {
        **{"method": "naive", "seed": 0, "oversight_probability": 0.1},
        "eval": {"deployed": metrics},
        "selection": {"last": {**metrics, "step": 9, "score": None}},
    }
    rows = rows_of(summary, run="one", study="s", variation="default")
    assert rows[0]["length"] == 12.0
    assert not {"episodes", "score"} & {*rows[0]}
    path = tmp_path / "results.csv"
    path.write_text(as_csv(rows))
    (read,) = read_rows(path)
    assert {
        name: read[name] for name in ("length", "goal_rate", "train_return", "true_return", "step")
    } == {
        **{"length": 12.0, "goal_rate": 0.25, "train_return": 0.75},
        **{"true_return": 2.5, "step": 9},
    }
