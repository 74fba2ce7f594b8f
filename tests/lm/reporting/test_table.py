"""The table of unlearning: a row for each method, and a dash where nothing is known."""

import io

from rich.console import Console

from lm.report import Runs, number, unlearning_table
from tests.lm.reporting import result


def test_a_row_has_the_means_and_half_their_intervals() -> None:
    known = {"mcq_forget": {"repaired": 0.25}, "steps_to_relearn": 7}
    runs = [result("era", seed, 1.0 + 2 * seed, **known) for seed in range(2)]
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    console.print(unlearning_table("forget forest", Runs([*runs, result("gold", 0, None)])))
    lines = shown.getvalue().splitlines()
    assert lines[0].strip() == "forget forest"
    rows = [line.split() for line in lines if line.split()[:1] in (["era"], ["gold"])]
    assert rows == [
        ["gold", "0.900", "2.900", "-", "-", "1.000", "-", "-"],
        [
            *("era", "0.900", "2.900", "+-0.000", "2.000", "+-1.000", "7"),
            *("1.000", "+-0.000", "25%", "-"),
        ],
    ]
    assert max(len(line.rstrip()) for line in lines) <= 100


def test_without_facts_there_is_no_column_of_them() -> None:
    table = unlearning_table("documents", Runs([result("era", 0)]))
    assert not any("facts" in str(column.header) for column in table.columns)
    assert "facts" not in str(table.caption)
    assert len(table.columns) == 6


def test_a_number_is_found_by_its_path_or_is_not_a_number() -> None:
    assert number({"a": {"b": 2}}, "a.b") == 2.0
    for lacking in ({}, {"a": None}, {"a": 3.0}, {"a": {"b": None}}):
        assert str(number(lacking, "a.b")) == "nan"
