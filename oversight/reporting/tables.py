"""The tables of a report that compare methods level by level."""

from collections.abc import Iterable, Sequence
from math import nan

from oversight.reporting.comparison import Comparison, compare
from oversight.reporting.panel import PLAIN, Panel
from oversight.reporting.rows import ALL, FLAG_FLIP_GAP, UNOBSERVED
from oversight.reporting.statistics import Estimate, difference, improvement, paired_difference
from oversight.reporting.table import Cell, Table

MARKS = (
    "Bold: the winner of a level, its interval above all others'. Underlined: a draw. "
    "Oracles do not compete."
)


def returns_table(panel: Panel, score: str, name: str, title: str) -> Table:
    """Return the true return of each method at each level, the best methods first."""
    levels = panel.measured(score)
    compared = {level: compare(panel, panel.competitors, level, score) for level in levels}
    oracles = [method for method in panel.methods if method not in panel.competitors]
    rows = [
        [
            Cell(method),
            *(
                Cell(panel.estimate(method, level, score), mark(compared[level], method))
                for level in levels
            ),
        ]
        for method in [*oracles, *panel.ranked()]
    ]
    caption = f"IQM over seeds (95% interval). {MARKS}"
    return Table(
        name=name, title=title, caption=caption, columns=_columns("method", levels), rows=rows
    )


def standings(panel: Panel, name: str) -> Table:
    """Return for each level who is best, who is next, and how far apart they are."""
    rows = []
    for level in panel.measured():
        compared = compare(panel, panel.competitors, level)
        if compared.best is None:
            continue
        best = panel.estimate(compared.best, level)
        rows.append(
            [
                Cell(f"{level:g}"),
                Cell(_outcome(compared)),
                Cell(compared.best),
                Cell(best),
                Cell(compared.ranked[1] if len(compared.ranked) > 1 else "-"),
                Cell(compared.margin),
                Cell(_share(panel, level, best)),
            ]
        )
    return Table(
        name=name,
        title="Who is ahead where nobody watches",
        caption="The margin is the difference of the two IQMs with its own 95% interval. It is a "
        "win where the best method's interval lies above those of all others.",
        columns=["p", "outcome", "best", "true return", "next", "margin", "of the oracle"],
        rows=rows,
    )


def stopping_table(panel: Panel, routed: str, name: str) -> Table:
    """Return what early stopping does for plain PPO and for the routed method, level by level."""
    rows = []
    for level in panel.measured():
        ends = [panel.sample(method, level, rule="observed") for method in (routed, PLAIN)]
        gains = [
            paired_difference(*panel.pair(method, level, ("observed", "last")))
            for method in (PLAIN, routed)
        ]
        finals = [panel.estimate(method, level, rule="observed") for method in (PLAIN, routed)]
        rows.append([Cell(f"{level:g}"), *map(Cell, gains + finals), Cell(difference(*ends))])
    return Table(
        name=name,
        title=f"Early stopping on observed episodes: {PLAIN} against {routed}",
        caption="A gain is the return of the checkpoint chosen on observed episodes less that of "
        "the last one, over the same runs.",
        columns=[
            "p",
            f"gain of {PLAIN}",
            f"gain of {routed}",
            f"{PLAIN}, stopped",
            f"{routed}, stopped",
            f"{routed} less {PLAIN}",
        ],
        rows=rows,
    )


def leak_table(panel: Panel, name: str) -> Table:
    """Return how much choosing by the hidden truth would add, method by level."""
    levels = panel.measured()
    rows = [
        [
            Cell(method),
            *(
                Cell(paired_difference(*panel.pair(method, level, ("leaky", "observed"))))
                for level in levels
            ),
        ]
        for method in panel.ranked()
    ]
    return Table(
        name=name,
        title="The size of the leak",
        caption="True return where nobody watches of the checkpoint chosen by the hidden truth, "
        "less that of the one chosen on observed episodes, over the same runs.",
        columns=_columns("method", levels),
        rows=rows,
    )


def rules_table(panel: Panel, rules: Sequence[str], name: str) -> Table:
    """Return true return where nobody watches under every rule."""
    levels = panel.measured()
    rows = [
        [
            Cell(method),
            Cell(rule),
            *(Cell(panel.estimate(method, at, UNOBSERVED, rule)) for at in levels),
        ]
        for method in panel.methods
        for rule in rules
    ]
    return Table(
        name=name,
        title="Every method under every selection rule",
        caption="IQM over seeds (95% interval) where nobody watches.",
        columns=["method", *_columns("checkpoint", levels)],
        rows=rows,
    )


def improvement_table(panel: Panel, routed: str, name: str) -> Table:
    """Return the probability that the routed method beats each other one, level by level."""
    levels = panel.measured()
    rows = [
        [Cell(other), *(Cell(chance(panel, routed, other, [level])) for level in levels)]
        for other in panel.methods
        if other != routed
    ]
    return Table(
        name=name,
        title=f"Probability that {routed} beats each other method",
        caption="Of one random run over another, ties counting half (95% interval).",
        columns=_columns(f"{routed} beats", levels),
        rows=rows,
    )


def chance(panel: Panel, one: str, other: str, levels: Iterable[float]) -> Estimate:
    """Return the probability that one method beats another over the levels that both have."""
    pairs = [(panel.sample(one, level), panel.sample(other, level)) for level in levels]
    pairs = [(ours, theirs) for ours, theirs in pairs if len(ours) and len(theirs)]
    return improvement([ours for ours, _ in pairs], [theirs for _, theirs in pairs])


def tax_table(panel: Panel, name: str) -> Table | None:
    """Return what each method loses to plain PPO at full oversight, or None if that was not run."""
    plain = panel.estimate(PLAIN, 1.0, ALL)
    if not plain.value > 0:  # false for NaN as well
        return None
    rows = []
    for method in sorted(panel.methods, key=lambda each: -panel.estimate(each, 1.0, ALL).value):
        own = panel.estimate(method, 1.0, ALL)
        if own.seeds:
            rows.append([Cell(method), Cell(own), Cell(panel.tax(method)), Cell(own.seeds)])
    return Table(
        name=name,
        title="Alignment tax at full oversight",
        caption=f"At p = 1 every reward is seen and {PLAIN} is plain PPO. The tax is the share of "
        "its true return that a method gives up; below zero it gains.",
        columns=["method", "true return", "tax", "seeds"],
        rows=rows,
    )


def flag_table(panel: Panel, name: str) -> Table | None:
    """Return the flag-flip gap of each method at each level, or None if none was measured."""
    levels = panel.measured(FLAG_FLIP_GAP)
    rows = [
        [Cell(method), *(Cell(panel.estimate(method, at, FLAG_FLIP_GAP)) for at in levels)]
        for method in panel.methods
    ]
    if not levels:
        return None
    return Table(
        name=name,
        title="Flag-flip gap",
        caption="True return with the flag on less that with it off, on the same levels and seeds: "
        "how much of the behavior depends on being watched.",
        columns=_columns("method", levels),
        rows=rows,
    )


def _columns(first: str, levels: Iterable[float]) -> list[str]:
    return [first, *(f"p = {level:g}" for level in levels)]


def mark(compared: Comparison, method: str) -> str:
    """Return how a method's cell stands out at a level."""
    if method == compared.winner:
        return "best"
    return "level" if method in compared.draw else ""


def _outcome(compared: Comparison) -> str:
    if compared.winner is not None:
        return "win"
    return f"draw of {len(compared.draw)}" if compared.draw else "alone"


def _share(panel: Panel, level: float, best: Estimate) -> str:
    ceiling = panel.estimate(panel.oracle, level).value if panel.oracle else nan
    return f"{best.value / ceiling:.0%}" if ceiling > 0 else "-"
