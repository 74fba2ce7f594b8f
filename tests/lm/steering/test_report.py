"""Tests of the report: folds by seed, the comparison in words, tables and figures of all runs."""

from math import isnan, log
from pathlib import Path
from typing import Any

import pytest

from lm.steering.config import RunConfig, SteeringConfig
from lm.steering.figures import by_coefficient, draw, fold_by_cost, scalars
from lm.steering.report import (
    NAMES,
    SCALAR,
    Results,
    ceiling,
    methods_table,
    ranks_table,
    summary,
    verdict,
)
from lm.steering.training import KINDS, Kind
from lm.steering.vectors import METHODS

SETTINGS = SteeringConfig(budgets=(0.1, 0.2))


def steering(fold: float | None) -> dict[str, Any]:
    rate = 0.01 * (fold or 1.0)
    return {
        "block": 1,
        "curve": [
            {"coefficient": 0.0, "loss": 1.0, "rate": 0.01, "related": 0.1},
            {"coefficient": 0.5, "loss": 1.1, "rate": rate, "related": 0.1},
            {"coefficient": 1.0, "loss": 2.0, "rate": 0.02, "related": 0.1},
        ],
        "budgets": [
            {
                "budget": each,
                "coefficient": 0.5,
                "rate": rate if fold else None,
            }
            for each in (0.1, 0.2)
        ],
        "samples": {"rate": 0.05, "related": 0.1, "tokens": 100, "texts": ["a forest"]},
    }


def record(kind: Kind, seed: int, folds: dict[str, float | None]) -> dict[str, Any]:
    return {
        "kind": kind,
        "seed": seed,
        "natural_rate": 0.01,
        "measures": {"loss": 1.0 + (kind == "routed") / 100, "rate": 0.01, "related": 0.1},
        "ranks": {"concept": 0.0, "nouns": 3.0 + seed},
        "random_dimension_ranks": {"concept": 50.0, "nouns": 50.0},
        "samples": {"rate": 0.01, "related": 0.1, "tokens": 100, "texts": ["a sea"]},
        "steering": {method: steering(folds.get(method, 2.0)) for method in METHODS[kind]},
    }


def results(scalar: float | None, caa: float | None, seeds: int = 5) -> Results:
    folds = {"scalar": scalar, "caa": caa}
    return Results([record(kind, seed, folds) for seed in range(seeds) for kind in KINDS])


def test_folds_are_by_seed_and_unknown_where_a_curve_ends() -> None:
    assert results(8.0, 4.0).folds(SCALAR, 0.1) == dict.fromkeys(range(5), 8.0)
    unknown = results(None, 4.0).folds(SCALAR, 0.1)
    assert all(map(isnan, unknown.values()))
    assert results(8.0, 4.0).methods == NAMES


@pytest.mark.parametrize(
    ("scalar", "caa", "seeds", "words"),
    [
        (8.0, 4.0, 5, "caa (unrouted), 4.0 times: +100%"),
        (8.0, 4.0, 5, "the scalar is ahead"),
        (4.0, 8.0, 5, "caa (unrouted) is ahead"),
        (4.0, 4.0, 5, "includes zero"),
        (8.0, 4.0, 2, "fewer than 3 seeds"),
        (None, 4.0, 5, "cannot be compared"),
    ],
)
def test_verdict_says_which_is_ahead(
    scalar: float | None, caa: float, seeds: int, words: str
) -> None:
    assert words in verdict(results(scalar, caa, seeds), SETTINGS)


def test_summary_has_estimates_and_all_runs() -> None:
    found = summary(results(8.0, 4.0), SETTINGS)
    assert found["fold_at_budget"][SCALAR]["0.1"]["value"] == 8.0
    assert found["scalar_fold_over_other"]["caa (unrouted)"]["0.1"]["value"] == 1.0
    assert found["percentile_ranks"]["routed"]["nouns"]["value"] == 5.0
    assert found["percentile_ranks"]["random dimension"]["nouns"]["value"] == 50.0
    assert found["cost_of_routing"]["value"] == pytest.approx(0.01)
    assert len(found["runs"]) == 10
    assert summary(Results([]), SETTINGS) == {"runs": []}


def test_ceiling_is_the_cost_of_a_rate_that_is_the_same_everywhere() -> None:
    """With a share r of all probability given to a token, the others lose -log(1 - r) nats."""
    assert -log(1 - ceiling(0.3)) == pytest.approx(0.3)


def test_tables_have_a_row_for_each_model_and_method() -> None:
    config = RunConfig(steering=SETTINGS)
    assert ranks_table(results(8.0, 4.0), config).row_count == 3
    table = methods_table(results(8.0, 4.0), config)
    assert table.row_count == len(NAMES) + len(KINDS) + 1
    assert next(iter(table.columns[1].cells)) == "8.0 +-0.0x"


def test_table_of_one_kind_of_model_is_made_as_well() -> None:
    some = Results([record("unrouted", 0, {})])
    assert ranks_table(some, RunConfig()).row_count == 1
    assert "cannot be compared" in verdict(some, SETTINGS)


def test_curves_are_estimated_by_coefficient_and_by_cost() -> None:
    curves = [each["curve"] for each in results(8.0, 4.0).steering(SCALAR).values()]
    assert by_coefficient(curves, "rate")[0.5].value == pytest.approx(0.08)
    folds = fold_by_cost(curves, [0.01] * 5)
    assert folds[0.0].value == pytest.approx(1.0)
    assert folds[0.1].value == pytest.approx(8.0)
    assert min(folds) == 0.0


def test_figures_of_all_results_are_written(tmp_path: Path) -> None:
    paths = draw(results(8.0, 4.0, seeds=2), RunConfig(steering=SETTINGS), tmp_path)
    assert [path.stem for path in paths] == ["head-to-head", "steering-curves", "absorption"]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_page_has_curves_of_training_ranks_and_steering() -> None:
    found = scalars(record("routed", 0, {}), [[0, 5.0], [20, 3.0]])
    assert ("training/loss", 20, 3.0) in found
    assert ("rank/nouns", 0, 3.0) in found
    assert ("loss/scalar", 2, 2.0) in found
