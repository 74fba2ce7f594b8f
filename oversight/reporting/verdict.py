"""The verdict: who wins where nobody watches, and what early stopping does, as two sentences."""

from collections.abc import Iterable, Sequence

from oversight.reporting.comparison import FEWEST, Comparison, compare
from oversight.reporting.panel import PLAIN, Panel
from oversight.reporting.statistics import Estimate

UNWATCHED = "Where nobody watches"


def verdict(panel: Panel) -> str:
    """Return who has the highest true return where nobody watches, level by level."""
    levels = panel.measured()
    if not levels:
        return f"{UNWATCHED}, nothing was measured: there is no verdict."
    compared = [compare(panel, panel.competitors, level) for level in levels]
    decided = [each for each in compared if len(each.ranked) > 1]
    if not decided:
        return _undecided(compared)
    clauses = [*_wins(decided, len(levels)), *_draws(decided, len(levels))]
    open_levels = [each.level for each in compared if len(each.ranked) < 2]
    if open_levels:
        clauses.append(f"{at(open_levels)} there are too few seeds or methods to tell")
    return f"{UNWATCHED}, {'; '.join(clauses)}."


def early_stopping(panel: Panel, routed: str) -> str:
    """Return whether stopping on observed episodes brings plain PPO up to a routed method."""
    for method in (PLAIN, routed):
        if method not in panel.methods:
            return f"Early stopping is not settled here: the study has no runs of {method}."
    stopped = panel if panel.rule == "observed" else Panel(panel.name, panel.rows, "observed")
    pairs = [compare(stopped, (routed, PLAIN), level) for level in stopped.measured()]
    pairs = [pair for pair in pairs if len(pair.ranked) == 2]
    if not pairs:
        return (
            f"Early stopping is not settled here: it takes {FEWEST} seeds of both "
            f"{PLAIN} and {routed} with checkpoints chosen on observed episodes."
        )
    ahead = [pair for pair in pairs if pair.winner == routed]
    behind = [pair for pair in pairs if pair.winner == PLAIN]
    even = [pair.level for pair in pairs if pair.winner is None]
    clauses = [
        f"{name} is ahead of {other} {at(_places(those))}, by {_least(those)}"
        for name, other, those in ((routed, PLAIN, ahead), (PLAIN, routed, behind))
        if those
    ]
    clauses += [f"{at(even)} {routed} and {PLAIN} cannot be told apart"] if even else []
    return f"With early stopping on observed episodes, {'; '.join(clauses)}."


def _wins(compared: Sequence[Comparison], levels: int) -> list[str]:
    """Return a clause for each winner, who wins most first."""
    winners: dict[str, list[Comparison]] = {}
    for each in compared:
        if each.winner is not None:
            winners.setdefault(each.winner, []).append(each)
    ordered = sorted(winners.items(), key=lambda item: -len(item[1]))
    everywhere = len(winners) == 1 and len(compared) == levels == len(ordered[0][1]) > 1
    return [
        f"{method} wins {'at every level' if everywhere else at(_places(those))}, "
        f"by {_least(those)}"
        for method, those in ordered
    ]


def _draws(compared: Sequence[Comparison], levels: int) -> list[str]:
    """Return a clause for the levels at which the best cannot be told from others."""
    groups: dict[str, list[Comparison]] = {}
    for each in compared:
        if each.draw:
            groups.setdefault(each.draw[0], []).append(each)
    return [
        f"{'at every level' if len(those) == levels > 1 else at(_places(those))} it is a draw "
        f"{_between(those)}"
        for those in groups.values()
    ]


def _between(draws: Sequence[Comparison]) -> str:
    """Return who draws if it is the same two or three everywhere, else who is in front."""
    if len({frozenset(each.draw) for each in draws}) == 1 and len(draws[0].draw) <= 3:
        return f"between {listed(draws[0].draw)}"
    return f"with {draws[0].draw[0]} in front"


def _places(compared: Iterable[Comparison]) -> list[float]:
    return [each.level for each in compared]


def _least(compared: Sequence[Comparison]) -> str:
    """Return the margin, or the smallest of several."""
    least = min((each.margin for each in compared), key=lambda margin: margin.value)
    return f"{'' if len(compared) == 1 else 'at least '}{spoken(least, '95% interval ')}"


def _undecided(compared: Sequence[Comparison]) -> str:
    """Return why there is nothing to compare, for want of seeds or of methods."""
    if any(each.few for each in compared):
        return (
            f"{UNWATCHED}, there is no verdict: it takes {FEWEST} seeds of a method, "
            "for with fewer a lead is not a finding."
        )
    alone = sorted({each.ranked[0] for each in compared if each.ranked})
    what = f"only {listed(alone)} was run" if alone else "only oracles were run"
    return f"{UNWATCHED}, there is no verdict: {what}, and a comparison needs two methods."


def spoken(estimate: Estimate, label: str = "") -> str:
    """Return an estimate for a sentence.

    >>> spoken(Estimate(0.1, 0.06, 0.14, 5), "95% interval ")
    '0.10 (95% interval 0.06 to 0.14)'
    """
    return f"{estimate.value:z.2f} ({label}{estimate.low:z.2f} to {estimate.high:z.2f})"


def at(levels: Sequence[float]) -> str:
    """Return levels for a sentence.

    >>> at([0.01, 0.1])
    'at p = 0.01 and 0.1'
    """
    return f"at p = {listed([f'{level:g}' for level in levels])}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
