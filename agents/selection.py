"""Which route each episode takes: its own, that of another one, or its own by chance."""

import numpy as np
from numpy.typing import NDArray

from agents.definition import Selection
from agents.routes import HIDDEN, OPEN, UNRESOLVED

Routes = NDArray[np.int8]


def selected(
    last: Routes,
    unfinished: Routes,
    how: Selection,
    order: np.random.RandomState,
    propensity: float | None = None,
) -> tuple[Routes, Routes]:
    """Return the routes that the episodes of a rollout take, given those of their outcomes.

    - `outcome`: their own.
    - `shuffled`: those of all episodes, in an order drawn by chance: as many of each route, and
      none that tells anything of its episode.
    - `coin`: with a chance of `propensity` an episode teaches, on its own route, or on `open` if
      it was hidden; else it is `hidden`. The coin knows nothing of the outcome.

    An episode that the rollout's end cuts counts as two, one in each rollout.

    Args:
        last: the route at each episode's last step, [steps, lanes]; see `write_back`.
        unfinished: the route of each lane's episode that goes on, [lanes].
        how: one of the above.
        order: what draws.
        propensity: chance of the coin.
    """
    if how == "outcome":
        return last, unfinished
    ended, running = last >= 0, last[-1] == UNRESOLVED
    pool = np.concatenate([last[ended], unfinished[running]])
    if how == "shuffled":
        pool = order.permutation(pool)
    else:
        assert propensity is not None, "RoutedPPO refuses a coin without a chance"
        kept = order.random_sample(len(pool)) < propensity
        pool = np.where(kept, np.where(pool == HIDDEN, OPEN, pool), HIDDEN)
    last, unfinished = last.copy(), unfinished.copy()
    last[ended], unfinished[running] = pool[: ended.sum()], pool[ended.sum() :]
    return last, unfinished
