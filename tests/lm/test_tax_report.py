"""Tests of the report of the cost of routing on results with known answers."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lm.figures import draw, tax_figure
from lm.results import Result, Results
from lm.tax_report import FORGET_LOSS, Cell, Tax, tax_tables, tax_verdict
from tests.lm.result_factories import result

RETAINED = "retain_loss.repaired"


def run(method: str, seed: int, retain: float, units: int | None = None, topics: int = 1) -> Result:
    """Return a run without attacks, whose forget loss as trained is twice its retain loss."""
    made = result(method, seed, None, expansion=units, topic_count=topics, label_recall=1.0)
    del made["relearned_forget_loss"]
    return made | {
        "retain_loss": {"before": retain, "after": 3.0, "repaired": retain},
        "forget_loss": {"before": 2 * retain, "after": 3.0, "repaired": 3.0},
        "mcq_retain": {"before": 1.0, "after": 0.5, "repaired": 0.9},
    }


def swept(seeds: int = 3, topics: int = 1) -> list[Result]:
    """Return runs in which 4 units cost a fifth of the retain loss, and 16 units a tenth."""
    found = []
    for seed in range(seeds):
        base = 1.0 + seed / 2
        found += [run(each, seed, base, None, topics) for each in ("gold", "unrouted")]
        found.append(run("filtered", seed, 1.05 * base, None, topics))
        found += [
            run("modules", seed, tax * base, units, topics) for units, tax in ((4, 1.2), (16, 1.1))
        ]
    return found


def rows(results: Results, number: int, width: int = 100) -> list[list[str]]:
    """Return the words of the lines of one of the tables."""
    shown = io.StringIO()
    Console(file=shown, width=width).print(tax_tables("forget forest", results)[number])
    lines = shown.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    return [line.split() for line in lines if line.strip()]


def test_change_is_relative_to_unrouted_of_the_same_seed() -> None:
    tax = Tax(Results(swept()))
    change = tax.change(Cell("modules", RETAINED, 4, 1))
    assert change.value == pytest.approx(0.2)
    assert (change.low, change.high) == pytest.approx((0.2, 0.2))
    assert change.seeds == 3
    assert tax.values(Cell("modules", FORGET_LOSS, 16, 1)) == pytest.approx(
        {0: 2.2, 1: 3.3, 2: 4.4}
    )


def test_change_is_relative_to_unrouted_of_the_same_number_of_topics() -> None:
    four = [
        run(each["method"], each["seed"], 2 * each["retain_loss"]["before"], each["expansion"], 4)
        for each in swept()
    ]
    tax = Tax(Results([*swept(), *four]))
    changes = [tax.change(Cell("modules", RETAINED, 16, count)).value for count in (1, 4)]
    assert changes == pytest.approx([0.1, 0.1])
    means = [tax.mean(Cell("modules", RETAINED, 16, count)).value for count in (1, 4)]
    assert means == pytest.approx([1.65, 3.3])


def test_tables_have_a_section_for_each_measure_and_a_column_for_each_expansion() -> None:
    table = rows(Results(swept()), 0)
    assert table[1] == ["method", "4", "16"]
    assert table[3:10] == [
        ["retain", "loss", "as", "trained"],
        ["gold", "1.500", "+-0.500", "1.500", "+-0.500"],
        ["filtered", "1.575", "+-0.525", "1.575", "+-0.525"],
        ["unrouted", "1.500", "+-0.500", "1.500", "+-0.500"],
        ["modules", "1.800", "+-0.600", "1.650", "+-0.550"],
        ["retain", "loss", "after", "removal"],
        ["gold", "1.500", "+-0.500", "1.500", "+-0.500"],
    ]
    assert ["modules", "90%", "+-0", "90%", "+-0"] in table
    changes = rows(Results(swept()), 1)
    assert changes[3:7] == [
        ["retain", "loss", "as", "trained"],
        ["gold", "+0.0%", "+-0.0", "+0.0%", "+-0.0"],
        ["filtered", "+5.0%", "+-0.0", "+5.0%", "+-0.0"],
        ["modules", "+20.0%", "+-0.0", "+10.0%", "+-0.0"],
    ]


def test_tables_have_rows_for_each_number_of_topics() -> None:
    both = Results([*swept(), *swept(topics=4)])
    table = rows(both, 0, width=80)
    assert table[1] == ["method", "topics", "4", "16"]
    assert [row[:2] for row in table if row[0] == "modules"] == [
        *(["modules", "1"], ["modules", "4"]) * 4
    ]


def test_tables_omit_what_was_not_measured() -> None:
    one = Results([{**each, "mcq_retain": {}} for each in swept(seeds=1)])
    assert not any("facts" in row for row in rows(one, 0))
    assert ["modules", "1.200", "1.100"] in rows(one, 0)
    assert tax_tables("none", Results([each for each in swept() if not each["expansion"]])) == []
    assert tax_tables("none", Results([])) == []


def test_no_digit_is_cut_on_a_terminal_of_80_columns() -> None:
    runs = [{**each, "method": "parameters-classified"} for each in swept() if each["expansion"]]
    runs += [{**each, "expansion": 64} for each in runs[:3]]
    assert not any("\u2026" in word for row in rows(Results(runs), 0, 80) for word in row)


def test_verdict_says_what_the_tax_is_and_whether_it_depends_on_the_size() -> None:
    assert tax_verdict(Results(swept())) == (
        "The tax relative to unrouted of the same seed. Retain loss after removal: modules +20.0% "
        "(20.0% to 20.0%) with 4 and +10.0% (10.0% to 10.0%) with 16 units, a significant "
        "difference of -0.150 (-0.200 to -0.100) nats. Forget loss as trained: modules +20.0% "
        "(20.0% to 20.0%) with 4 and +10.0% (10.0% to 10.0%) with 16 units, a significant "
        "difference of -0.300 (-0.400 to -0.200) nats."
    )


def test_verdict_calls_equal_sizes_no_different_and_decides_nothing_with_two_seeds() -> None:
    equal = [{**each, "retain_loss": {"repaired": 1.0 + each["seed"]}} for each in swept()]
    assert "16 units, no significant difference. Forget" in tax_verdict(Results(equal))
    two = tax_verdict(Results(swept(seeds=2)))
    assert two.endswith("with 16 units. With 2 seeds, no difference is significant.")
    assert ", no significant" not in two


def test_verdict_names_each_number_of_topics() -> None:
    said = tax_verdict(Results([*swept(), *swept(topics=4)]))
    assert "Retain loss after removal, 1 topic: modules" in said
    assert "Forget loss as trained, 4 topics: modules" in said


def test_verdict_of_one_expansion_compares_nothing() -> None:
    one = [each for each in swept() if each["expansion"] in (None, 4)]
    assert "modules +20.0% (20.0% to 20.0%) with 4 units. Forget" in tax_verdict(Results(one))


@pytest.mark.parametrize("missing", ["unrouted", "modules"])
def test_there_is_no_verdict_without_the_reference_or_a_routed_method(missing: str) -> None:
    some = Results([each for each in swept() if each["method"] != missing])
    assert tax_verdict(some).startswith("There is no verdict on the tax: it needs unrouted and")


def test_figure_has_a_row_of_plots_for_each_number_of_topics(tmp_path: Path) -> None:
    both = Results([*swept(), *swept(topics=4)])
    assert draw(both, "tax", tmp_path) == [tmp_path / "tax.png"]
    figure = tax_figure(both)
    assert len(figure.axes) == 8
    plot = figure.axes[1]
    assert (plot.get_xscale(), plot.get_xlabel()) == ("log", "hidden units of a module")
    lines = {str(line.get_label()): line for line in plot.lines}
    assert lines["modules"].get_xydata() == pytest.approx(np.array([[4, 1.8], [16, 1.65]]))
    for method in ("gold", "unrouted", "filtered"):
        assert lines[method].get_linestyle() == "--"
    assert [tick.get_text() for tick in plot.get_xticklabels()] == ["4", "16"]
    assert figure.axes[4].get_ylabel() == "4 topics\nnats per token"
    assert draw(Results([]), "tax", tmp_path) == []
