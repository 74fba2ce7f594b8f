"""The share of the oracle: how near each method comes to one that is paid the truth."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from oversight.reporting.panel import PLAIN, Panel
from oversight.reporting.rows import ALL
from oversight.reporting.statistics import UNKNOWN, Estimate, Sample, bootstrap, iqm
from oversight.reporting.table import Cell, Table

_FULL = "p = 1, of plain PPO"
_LEAST = 1e-9  # of a return that others are measured against


def ratio(one: Sample, other: Sample) -> Estimate:
    """Return the IQM of one sample as a share of that of another, of other runs.

    It is unknown where the other has no positive IQM.

    >>> import numpy as np
    >>> ratio(np.array([0.4, 0.4]), np.array([0.8, 0.8]))
    Estimate(value=0.5, low=0.5, high=0.5, seeds=2)
    """
    if not len(other) or not iqm(other) > 0:
        return UNKNOWN

    def share(ours: Any, theirs: Any, axis: int) -> Any:  # noqa: ANN401
        return iqm(ours, axis) / np.maximum(iqm(theirs, axis), _LEAST)

    return bootstrap([one, other], share)


def share_table(panel: Panel, name: str) -> Table | None:
    """Return each method's share of the oracle where nobody watches, and of plain PPO at p = 1.

    None if there is nothing to measure against.
    """
    columns = {f"p = {level:g}": _of_oracle(panel, level) for level in panel.measured()}
    columns[_FULL] = _of_plain(panel)
    known = {head: cells for head, cells in columns.items() if _any(cells.values())}
    if not known:
        return None
    said = f" At p = 1, over that of {PLAIN}, which is plain PPO there, over all episodes."
    said = said if _FULL in known else ""
    return Table(
        name=name,
        title="Share of the oracle's true return where nobody watches",
        caption=f"The IQM of a method over that of {panel.oracle or 'the oracle'} at the same "
        f"level, both resampled over seeds (95% interval).{said}",
        columns=["method", *known],
        rows=[
            [Cell(method), *(Cell(cells[method]) for cells in known.values())]
            for method in panel.ranked()
        ],
    )


def _of_oracle(panel: Panel, level: float) -> dict[str, Estimate]:
    if panel.oracle is None:
        return dict.fromkeys(panel.competitors, UNKNOWN)
    ceiling = panel.sample(panel.oracle, level)
    return {each: ratio(panel.sample(each, level), ceiling) for each in panel.competitors}


def _of_plain(panel: Panel) -> dict[str, Estimate]:
    plain = panel.sample(PLAIN, 1.0, ALL)
    found = {each: ratio(panel.sample(each, 1.0, ALL), plain) for each in panel.competitors}
    if found.get(PLAIN, UNKNOWN).seeds:
        found[PLAIN] = Estimate(1.0, 1.0, 1.0, len(plain))  # it is what the others are measured by
    return found


def _any(estimates: Iterable[Estimate]) -> bool:
    return any(each.seeds for each in estimates)
