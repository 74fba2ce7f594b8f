"""How returns depend on a setting that the variations of a study sweep over.

Variations sweep over a setting if they differ in it alone, such as the width of the modules (the
alignment tax) or the share of wrong reports (the dependence on labels). The difference of a
method's return from the oracle's, at equal settings, is what the method costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oversight.rl.report.comparison import Panel, is_oracle
from oversight.rl.report.figures import multiples
from oversight.rl.report.results import ALL, UNOBSERVED
from oversight.rl.report.tables import Cell, Table
from oversight.rl.result_files import Settings, differences
from oversight.runs.figures import Drawing, Styles
from oversight.runs.statistics import Estimate, difference

ENV = "env"
FEWEST = 3
"""Fewest values of a setting that make a sweep."""


@dataclass(frozen=True, slots=True)
class SettingSweep:
    """Variations of a study that differ in one setting.

    Attributes:
        setting: the dotted name of the setting.
        env: the environment of all of them; empty if it is unknown.
        panels: the results by the word that stands for the value of the setting.
    """

    setting: str
    env: str
    panels: Mapping[str, Panel]

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that were run at two values or more, in the order of the study."""
        run = [method for panel in self.panels.values() for method in panel.methods]
        return tuple(method for method in dict.fromkeys(run) if run.count(method) > 1)

    @property
    def levels(self) -> tuple[float, ...]:
        """All oversight probabilities, rising."""
        return tuple(sorted({level for panel in self.panels.values() for level in panel.levels}))

    def returns(self, method: str, level: float) -> dict[str, Estimate]:
        """Return the true return of a method by the value of the setting, where it was run."""
        found = {
            value: panel.estimate(method, level, score_at(level))
            for value, panel in self.panels.items()
        }
        return {value: each for value, each in found.items() if each.seeds}


def score_at(level: float) -> str:
    """Return the score of a level: where all episodes are observed, none is unobserved."""
    return UNOBSERVED if level < 1 else ALL


def setting_sweeps(
    panels: Sequence[Panel], settings: Mapping[str, Settings]
) -> tuple[SettingSweep, ...]:
    """Return the sweeps over settings among the variations of a study.

    In each environment the first variation is the one from which others differ.

    Args:
        panels: the variations of a study, in its order.
        settings: by run and dotted name.
    """
    found: dict[tuple[str, str], dict[str, Panel]] = {}
    first: dict[str, Panel] = {}
    for panel in panels:
        own = settings_by_method(panel, settings)
        env = str(next(iter(own.values()), {}).get(ENV, ""))
        base = first.setdefault(env, panel)
        changed = _changed(settings_by_method(base, settings), own)
        if base is panel or len(changed) != 1:
            continue
        values = found.setdefault((env, changed.pop()), {_word(base.name): base})
        values[_word(panel.name)] = panel
    return tuple(
        SettingSweep(setting, env, values)
        for (env, setting), values in found.items()
        if len(values) >= FEWEST
    )


def settings_by_method(panel: Panel, settings: Mapping[str, Settings]) -> dict[str, Settings]:
    """Return the settings of a run of each method."""
    runs = zip(panel.rows["method"], panel.rows["run"], strict=True)
    return {method: settings[run] for method, run in runs if run in settings}


def _changed(one: Mapping[str, Settings], other: Mapping[str, Settings]) -> set[str]:
    """Return the names of the settings in which runs of the same methods differ."""
    return {
        name
        for method in one.keys() & other.keys()
        for name in differences(one[method], other[method])
    }


def _word(variation: str) -> str:
    """Return what stands for the value of the setting: the end of the variation's name.

    >>> _word("maze_width_16"), _word("default")
    ('16', 'default')
    """
    return variation.rpartition("_")[2]


def _file_name(sweep: SettingSweep) -> str:
    return "-".join(["sensitivity", *sweep.setting.split("."), *sweep.env.split("/")]).rstrip("-")


def sensitivity_figure(sweep: SettingSweep, look: Styles) -> Drawing:
    """Return one plot per level: true return against the setting, a line per method."""
    levels = [
        level for level in sweep.levels if any(sweep.returns(m, level) for m in sweep.methods)
    ]
    values = list(sweep.panels)

    def plot(axes: Axes, number: int) -> None:
        for method in sweep.methods:
            found = sweep.returns(method, levels[number])
            x = [values.index(value) for value in found]
            style, y = look[method], [each.value for each in found.values()]
            axes.plot(x, y, style.line, marker=style.marker, color=style.color, label=method)
            lows, highs = ([each[k] for each in found.values()] for k in (1, 2))
            axes.vlines(x, lows, highs, color=style.color, linewidth=1.2, alpha=0.6)
        axes.set_xticks(range(len(values)), values)

    def draw() -> Figure:
        titles = [f"p = {level:g}" for level in levels]
        return multiples(titles, 2, 1.9, sweep.setting, plot)

    where = f" in {sweep.env}" if sweep.env else ""
    return Drawing(
        name=_file_name(sweep),
        title=f"Return by {sweep.setting}{where}",
        caption="True return, interquartile mean over seeds with 95% intervals: in unobserved "
        "episodes, and at p = 1, where there are none, in all. Oracles are paid the true reward "
        "and have the same settings.",
        alt=f"For each oversight probability, true return against {sweep.setting}, one line per "
        "method. The numbers are in the table below.",
        draw=draw,
    )


def sensitivity_table(sweep: SettingSweep) -> Table:
    """Return true returns by method and level, and differences from the oracle's, by value."""
    rows: dict[str, list[Cell]] = {}
    oracle = next(filter(is_oracle, sweep.methods), None)
    for level in sweep.levels:
        for method in sweep.methods:
            cells = [
                each.estimate(method, level, score_at(level)) for each in sweep.panels.values()
            ]
            if any(cell.seeds for cell in cells):
                rows[f"{method}, p = {level:g}"] = list(cells)
            if oracle is None or is_oracle(method):
                continue
            costs = [
                difference(
                    *(each.sample(name, level, score_at(level)) for name in (method, oracle))
                )
                for each in sweep.panels.values()
            ]
            if any(cost.seeds for cost in costs):
                rows[f"{method} minus {oracle}, p = {level:g}"] = list(costs)
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(sweep.panels), dtype=object)
    frame.index.name = sweep.setting
    return Table(
        name=_file_name(sweep),
        title=f"Return by {sweep.setting}",
        caption="IQM over seeds (95% interval). Rows that say minus are differences of two IQMs: "
        "what a method costs where the oracle is paid every true reward.",
        frame=frame,
    )
