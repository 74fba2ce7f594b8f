"""What a method is: a route table, the reward it learns from, and the parts of its network.

The choices of routed PPO where stock PPO couples what is hidden to what is observed.

The numbers of the routes, and the route of each step from those of the episodes' ends.

How likely the end of an episode is to be observed, for the methods that are told so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from oversight.routing import RouteTable

Reward = Literal["observed", "proxy", "true"]
Mixture = Literal["learned", "fixed"]
Selection = Literal["outcome", "shuffled", "coin"]
Label = Literal["paid", "observed", "zero", "imputed", "imputed-map", "pessimistic", "reward-map"]

ROUTES = ("positive", "negative", "hidden", "open")
"""How an episode ended, as the overseer saw it.

`positive` and `negative`: at least one step was observed, and the observed rewards sum to more
than 0, or do not. `hidden`: it ended at a terminal and no step was observed. `open`: no step was
observed, but the time limit or the rollout's end cut it; that may count as `hidden` too.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One way to learn under partial oversight.

    Attributes:
        name: the word that selects it.
        summary: one sentence for a help page.
        reward: what the environment must pay it: the `observed` reward with the proxy where it is
            hidden, the `proxy` alone, or the `true` reward, which only an oracle may see.
        table: the weight of each route's gradient at each target.
        modules: the motivation modules of its network, one or two.
        deployed: the module that acts after training.
        mixture: how two modules are blended: by a `learned` weight, or a `fixed` one of one half.
        trunk: whether a trunk lies below the modules, the target `competence`.
        selection: whose route an episode takes: that of its own `outcome`, that of another episode
            of the rollout (`shuffled`), or its own by chance and else `hidden` (`coin`).
        label: the reward that it learns from: the one `paid`; or the observed one, and where
            nothing was observed the one paid (`observed`), none (`zero`), the guess of a reward
            model (`imputed`), one that judges each place by itself (`imputed-map`), or a
            cautious one (`pessimistic`); or, whether or not it was observed, what its own
            motivation module thinks of it (`reward-map`).
        proxy_table: the weights of a second policy loss, from the reward paid, beside `label`.
        inverse_propensity: whether observed episodes stand for those that nobody saw.
    """

    name: str
    summary: str
    reward: Reward
    table: RouteTable
    modules: tuple[str, ...] = ("goal", "proxy")
    deployed: str = "goal"
    mixture: Mixture = "learned"
    trunk: bool = False
    selection: Selection = "outcome"
    label: Label = "paid"
    proxy_table: RouteTable | None = None
    inverse_propensity: bool = False

    @property
    def mixed(self) -> bool:
        """Whether a learned mixture blends its modules."""
        return len(self.modules) == 2 and self.mixture == "learned"

    @property
    def has_reward_map(self) -> bool:
        """Whether a motivation module judges where steps led, and the rest is paid by it."""
        return self.label == "reward-map"

    @property
    def plain(self) -> bool:
        """Whether every gradient goes everywhere, so that its network needs no gates."""
        ones = self.table.passed == frozenset(self.table.target_names)
        return ones and self.proxy_table is None and not self.inverse_propensity

    @property
    def needs_propensity(self) -> bool:
        """Whether it must be told how likely the end of an episode is to be observed."""
        return self.inverse_propensity or self.selection == "coin"


Timeouts = Literal["open", "hidden"]
AdvantageNormalization = Literal["all", "observed", "route", "none"]
GradientClipping = Literal["global", "target"]
Bootstrap = Literal["always", "observed", "never"]

CHOICES: dict[str, Any] = {
    "timeouts": Timeouts,
    "advantage_normalization": AdvantageNormalization,
    "gradient_clipping": GradientClipping,
    "bootstrap": Bootstrap,
}


def require_choices(**chosen: str) -> None:
    """Raise a ValueError for an option with a value that it does not have.

    >>> require_choices(bootstrap="sometimes")
    Traceback (most recent call last):
    ValueError: bootstrap must be always, observed or never, got 'sometimes'
    """
    for name, value in chosen.items():
        *allowed, last = get_args(CHOICES[name])
        if value not in (*allowed, last):
            raise ValueError(f"{name} must be {', '.join(allowed)} or {last}, got {value!r}")


def check_normalization(chosen: AdvantageNormalization, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the normalization, and put SB3's `normalize_advantage` in line with it.

    Raises:
        ValueError: if there is none of that name, or SB3's argument turns it off.
    """
    require_choices(advantage_normalization=chosen)
    if kwargs.get("normalize_advantage", True):
        kwargs["normalize_advantage"] = chosen != "none"
    elif chosen not in ("all", "none"):
        raise ValueError(
            f"normalize_advantage=False turns advantage_normalization={chosen!r} off: give one only"
        )
    return chosen


def require_rollout(batch_size: int, n_steps: int, n_envs: int) -> None:
    """Raise a ValueError for a batch that no rollout can fill."""
    rollout = n_steps * n_envs
    if batch_size > rollout:
        raise ValueError(
            f"a batch of {batch_size} is larger than a rollout of {n_steps} steps x {n_envs} "
            f"environments = {rollout}: lower batch_size or raise either"
        )


def require_gates(method: Method, policy: object, routed: bool) -> None:
    """Raise a ValueError for a method that must route through a policy without gates."""
    if not routed and not method.plain:
        raise ValueError(
            f"{type(policy).__name__} has no gates, so method {method.name!r} could not route: use "
            "MotivationPolicy, or a method whose table is all ones"
        )


UNRESOLVED, UNUSED = -1, -2
"""An episode that goes on, and a step that belongs to none: it only reset the environment."""
POSITIVE, NEGATIVE, HIDDEN, OPEN = range(len(ROUTES))


def write_back(
    last: NDArray[np.int8], unfinished: NDArray[np.int8] | None = None
) -> NDArray[np.int8]:
    """Give every step the route of its episode.

    Args:
        last: [steps, lanes], the route at each episode's last step, `UNRESOLVED` elsewhere, and
            `UNUSED` at a step that only reset its lane, which comes right after an end.
        unfinished: [lanes], the route of an episode that the rollout's end cuts: `open` unless
            told otherwise.

    >>> write_back(np.array([[-1], [2], [-1]], dtype=np.int8)).ravel()
    array([2, 2, 3], dtype=int8)
    """
    routes = np.empty_like(last)
    route = np.full(last.shape[1:], OPEN, dtype=last.dtype) if unfinished is None else unfinished
    for step in reversed(range(len(last))):
        route = np.where(last[step] == UNRESOLVED, route, last[step])
        routes[step] = route
    return routes


def check_propensity(method: Method, propensity: float | None) -> float | None:
    """Return the chance that the end of an episode is observed, if the method can go by it.

    Raises:
        ValueError: if it needs one and has none, or it is no chance above 0.
    """
    if propensity is not None and not 0 < propensity <= 1:  # true for NaN as well
        raise ValueError(f"propensity must be above 0 and at most 1, got {propensity}")
    if propensity is None and method.needs_propensity:
        raise ValueError(
            f"method {method.name!r} must be told the chance that the end of an episode is "
            "observed: give propensity, which the design of the oversight states"
        )
    return propensity


def table_of(
    method: Method, routes: Callable[[], NDArray[np.int8]], propensity: float | None
) -> RouteTable:
    """Return the table of one rollout: the method's own, or one weighted for it."""
    if not method.inverse_propensity:
        return method.table
    assert propensity is not None, "check_propensity refuses such a method without one"
    return weighted(method.table, routes(), propensity)


def weighted(table: RouteTable, routes: NDArray[np.int8], propensity: float) -> RouteTable:
    """Return a table whose target `shared` has inverse-propensity weights (Horvitz, Thompson 1952).

    An episode that was observed stands for the `1 / propensity` that ended alike, one that was
    hidden for none, and one that ended at no terminal for itself. The weights are divided by their
    mean over the rollout, so that the size of a step does not depend on the propensity. Where
    nothing has weight, nothing is learned.

    Args:
        table: weights by which these are multiplied.
        routes: of the steps of a rollout, of any shape; negative ones are no data.
        propensity: chance that the end of an episode is observed.

    >>> ones = RouteTable({route: {"shared": 1} for route in ROUTES})
    >>> routes = np.array([0, 2, 2, 2, 3], dtype=np.int8)
    >>> [row["shared"] for row in weighted(ones, routes, 0.25).as_dict().values()]
    [4.0, 4.0, 0.0, 1.0]
    """
    weights = np.ones(len(ROUTES))
    weights[[POSITIVE, NEGATIVE]], weights[HIDDEN] = 1 / propensity, 0
    rows = {
        route: {**row, "shared": row["shared"] * weight}
        for (route, row), weight in zip(table.as_dict().items(), weights.tolist(), strict=True)
    }
    mean = np.mean([rows[ROUTES[route]]["shared"] for route in routes[routes >= 0].tolist()])
    if mean > 0:
        for row in rows.values():
            row["shared"] /= float(mean)
    return RouteTable(rows)
