"""Figures of the report, drawn from constructed returns."""

import numpy as np

from oversight.rl.report.figures import observed_and_unobserved, styles
from oversight.rl.report.results import OBSERVED, UNOBSERVED
from tests.oversight.rl.report.study_folders import panel_of, rows_of


def test_observed_and_unobserved_returns_have_a_row_per_method_at_one_level() -> None:
    panel = panel_of(rows_of({"naive": (0.5,), "routed": (0.7,)}, levels=[0.1], seeds=range(3)))
    (axes,) = observed_and_unobserved(panel, styles(panel, ["routed"])).draw().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["naive", "routed"]
    lines = [np.stack(line.get_data(), axis=-1).tolist() for line in axes.lines]
    points = {(x, int(y)) for line in lines for x, y in line}
    expected = {
        (panel.estimate(method, 0.1, score).value, place)
        for place, method in enumerate(("naive", "routed"))
        for score in (OBSERVED, UNOBSERVED)
    }
    assert points == expected
    figure = axes.get_figure(root=True)
    assert figure is not None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["observed", "unobserved"]
