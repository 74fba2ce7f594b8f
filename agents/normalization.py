"""What the advantages of a minibatch are compared with."""

from torch import Tensor

from agents import losses
from agents.options import AdvantageNormalization
from agents.routes import DIAMOND, GHOST


def normalized(advantages: Tensor, routes: Tensor, over: AdvantageNormalization) -> Tensor:
    """Return the advantages of a minibatch, less a mean and divided by a deviation.

    - `all`: those of the whole minibatch, as in SB3. A hidden sample of advantage 0 is then pushed
      away from 0 by the mean of the observed ones, and the spread of the hidden ones sets how much
      the observed ones weigh.
    - `observed`: those of the samples on the routes `diamond` and `ghost`, applied to every
      sample. What is hidden no longer touches what is observed, but not the other way round. Where
      fewer than two samples are observed, or all of them are equal, there is no scale, and the
      advantages stay as they are.
    - `route`: each route's samples by their own. No route touches another; a single sample of its
      route stays as it is.
    - `none`: the advantages as they are.

    Args:
        advantages: [batch].
        routes: [batch], numbers of `ROUTES`.
        over: one of the above.

    >>> import torch
    >>> advantages, routes = torch.tensor([1.0, 3.0, 0.0]), torch.tensor([0, 1, 2])
    >>> normalized(advantages, routes, "observed")
    tensor([-0.7071,  0.7071, -1.4142])
    >>> normalized(advantages, routes, "route")
    tensor([1., 3., 0.])
    """
    if over == "all":
        return losses.normalize(advantages)
    if over == "observed":
        observed = advantages[(routes == DIAMOND) | (routes == GHOST)]
        if len(observed) < 2 or (observed == observed[0]).all():
            return advantages
        return (advantages - observed.mean()) / (observed.std() + 1e-8)
    if over == "route":
        result = advantages.clone()
        for route in set(routes.tolist()):
            rows = routes == route
            result[rows] = losses.normalize(advantages[rows])
        return result
    return advantages
