"""Variations that differ in one setting become curves, with the oracle's return taken off."""

import json
from pathlib import Path

import pytest

from oversight.rl.report.comparison import Panel
from oversight.rl.report.figures import styles
from oversight.rl.report.page import build_report, render
from oversight.rl.report.results import Study, read_study
from oversight.rl.report.sensitivity import (
    SettingSweep,
    sensitivity_figure,
    sensitivity_table,
    setting_sweeps,
)
from tests.oversight.rl.report.study_folders import Rows, rows_of, write_runs, write_study

WIDTHS = {16: 0.5, 32: 0.7, 64: 0.9}
"""Return of the routed method by the width of modules; the oracle always has 0.9."""


def rows() -> Rows:
    """Return rows of three widths, and of a variation that differs in two settings."""
    found = [
        row
        for width, height in WIDTHS.items()
        for row in rows_of(
            {"routed": (height, height), "oracle": (0.9, 0.9)},
            [0.1, 1.0],
            range(3),
            f"grid_width_{width}",
        )
    ]
    return [*found, *rows_of({"routed": (0.3,), "oracle": (0.9,)}, [0.1], range(3), "both")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = write_study(tmp_path_factory.mktemp("studies") / "tax", rows())
    write_runs(folder, rows())
    for path in (folder / "runs").iterdir():
        width = next((width for width in WIDTHS if f"width_{width}-" in path.name), 128)
        config = {"env": "Grid-v0", "ppo": {"hidden_sizes": [width, width]}, "seed": 0}
        config["total_timesteps"] = 2 if "both" in path.name else 1
        (path / "config.json").write_text(json.dumps({**config, "versions": {"torch": "2"}}))
    return read_study(folder)


@pytest.fixture(scope="module")
def sweep(study: Study) -> SettingSweep:
    own = dict(list(study.rows.groupby("variation")))
    panels = [Panel(name, own[name], "observed") for name in study.variations]
    (found,) = setting_sweeps(panels, study.settings)
    return found


def test_variations_that_differ_in_one_setting_make_a_sweep(sweep: SettingSweep) -> None:
    assert (sweep.setting, sweep.env) == ("ppo.hidden_sizes", "Grid-v0")
    assert list(sweep.panels) == ["16", "32", "64"]  # and not `both`, which differs in two
    assert sweep.methods == ("routed", "oracle")


def test_line_of_a_method_has_its_return_at_each_value(sweep: SettingSweep) -> None:
    base = sweep.panels["16"]
    low, full = sensitivity_figure(sweep, styles(base, ["routed"])).draw().axes
    for axes in (low, full):
        (line,) = (line for line in axes.lines if line.get_label() == "routed")
        assert line.get_ydata() == pytest.approx(list(WIDTHS.values()), abs=0.021)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["16", "32", "64"]


def test_table_has_the_cost_of_a_method_beside_the_oracle(sweep: SettingSweep) -> None:
    frame = sensitivity_table(sweep).frame.map(lambda cell: cell.value)
    assert frame.loc["routed, p = 1"].tolist() == pytest.approx([0.5, 0.7, 0.9], abs=0.021)
    cost = frame.loc["routed minus oracle, p = 1"].tolist()
    assert cost == pytest.approx([-0.4, -0.2, 0.0], abs=0.042)
    assert not any(name.startswith("oracle minus") for name in frame.index)


def test_page_has_a_section_on_the_setting(study: Study, tmp_path: Path) -> None:
    report = build_report(study, "observed", ("routed",))
    assert report.sensitivity is not None
    assert [block.name for block in report.sensitivity.blocks] == [
        "sensitivity-ppo-hidden_sizes-Grid-v0"
    ] * 2
    page = render(report)
    assert 'id="sensitivity"' in page


def test_study_without_sweeps_has_no_such_section(tmp_path: Path) -> None:
    plain = read_study(write_study(tmp_path, rows_of(seeds=range(3))))
    assert build_report(plain, "observed", ("routed",)).sensitivity is None
