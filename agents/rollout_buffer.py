"""Rollouts: the reward that each step teaches, and its route once its episode has ended.

- `RewardSource` returns the rewards that an agent learns from, given what it is shown of a `Step`.
- Four routes say how an episode ended, as the overseer saw it (`ROUTES`).
- `Outcomes` follows each lane's running episode and yields its route at the end.
- `write_back` gives every step the route of its episode.
- `RoutedBuffer` is SB3's buffer with a route for each sample, `RoutedDictBuffer` that for
  observations of a `Dict` space.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from reprlib import repr as shorten
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from torch import Tensor

from agents.spaces import MEND_OBSERVATIONS, MEND_VALUES, arrays_of, require_finite
from oversight.routing import RouteTable

Observations = Tensor | dict[str, Tensor]
Rewards = NDArray[np.float32]
Routes = NDArray[np.int8]
Timeouts = Literal["open", "hidden"]

ROUTES = ("positive", "negative", "hidden", "open")
"""How an episode ended, as the overseer saw it.

`positive` and `negative`: at least one step was observed, and the observed rewards sum to more
than 0, or do not. `hidden`: it ended at a terminal and no step was observed. `open`: no step was
observed, but the time limit or the rollout's end cut it; that may count as `hidden` too.
"""
POSITIVE, NEGATIVE, HIDDEN, OPEN = range(len(ROUTES))
UNRESOLVED, UNUSED = -1, -2
"""The route of an unfinished episode, and that of a step that only reset the environment."""

LARGEST = float(np.finfo(np.float32).max)


class Step(NamedTuple):
    """What a learner is shown of one step of every lane, as SB3's vector environments show it."""

    observations: Any
    paid: Rewards
    dones: NDArray[np.bool_]
    infos: Sequence[Mapping[str, Any]]

    def observed(self) -> list[int]:
        """Return the lanes whose reward was observed."""
        return [lane for lane, info in enumerate(self.infos) if info.get("observed", False)]


class RewardSource:
    """Returns the rewards that an agent learns from: here, those that the environment pays.

    Subclasses return others, and may themselves learn from what was observed.
    """

    def __call__(self, step: Step) -> Rewards:
        """Return the reward of each lane, [lanes]."""
        return step.paid

    def show(self, observations: Any) -> Any:  # noqa: ANN401 (of any space)
        """Return what the policy sees of observations in training: here, the observations."""
        return observations

    def fit(self) -> None:
        """Learn from the steps so far; called after each update of the policy."""

    def audit(self) -> dict[str, dict[str, float]]:
        """Return the norm of the gradient that remembered steps of each route send to each target.

        It has the form of `oversight.routing.audit`, and is empty if nothing is fitted. Nothing is
        drawn, and nothing changes.
        """
        return {}

    def get_state(self) -> dict[str, Any]:
        """Copy all that its future depends on: arrays, tensors and plain numbers."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where `get_state` was called."""


def require_choice(name: str, value: object, choices: Any) -> None:  # noqa: ANN401 (a Literal type)
    """Raise a ValueError for a value that is none of a `Literal` type.

    >>> require_choice("timeouts", "never", Timeouts)
    Traceback (most recent call last):
    ValueError: timeouts must be open or hidden, got 'never'
    """
    *allowed, last = get_args(choices)
    if not isinstance(value, str) or value not in (*allowed, last):
        raise ValueError(f"{name} must be {', '.join(allowed)} or {last}, got {value!r}")


def in_route_order(table: RouteTable) -> RouteTable:
    """Return a table whose rows are in the order of `ROUTES`, since a buffer stores routes by it.

    Raises:
        ValueError: if it is no table, lacks a route, or has another one.

    >>> rows = {route: {"shared": number} for number, route in enumerate(reversed(ROUTES))}
    >>> in_route_order(RouteTable(rows)).as_dict()["positive"]
    {'shared': 3.0}
    """
    if not isinstance(table, RouteTable):
        raise ValueError(
            f"a route table must be a RouteTable, got {table!r}: build it with RouteTable(rows)"
        )
    if table.route_names == ROUTES:
        return table
    if set(table.route_names) != set(ROUTES):
        raise ValueError(
            f"a route table has the routes {', '.join(table.route_names)}, but episodes take the "
            f"routes {', '.join(ROUTES)}: give one row for each of them, and no other"
        )
    rows = table.as_dict()
    return RouteTable({route: rows[route] for route in ROUTES})


def observed_reward(info: Mapping[str, Any], lane: int) -> float:
    """Return the observed reward that an info states.

    Raises:
        ValueError: if it states none, or one that is no finite number.
    """
    given = info.get("observed_reward")
    try:
        reward = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # the last one of huge integers
        reward = float("nan")
    if not abs(reward) <= LARGEST:  # true for NaN as well
        raise ValueError(
            "info['observed_reward'] of an observed step must be a finite number that float32 can "
            f"hold, got {shorten(given)} in lane {lane}: give it at every step whose "
            "info['observed'] is True, and scale larger rewards"
        )
    return reward


class Outcomes:
    """The observed part of each lane's running episode.

    An episode is observed if any of its steps was. Its outcome is `positive` if its observed
    rewards sum to more than 0, and `negative` if not. Rollouts may begin and end anywhere in it:
    the steps before a border are labeled by what was observed up to there, those after it by all.

    Of an `info` only `observed`, `observed_reward` (read where `observed` is true), SB3's
    `TimeLimit.truncated` and the adapter's `resetting` are read; never a hidden reward.

    Args:
        lanes: number of lanes.
        timeouts: the route of an unobserved episode that a time limit cut, or that still runs when
            the rollout ends. `open` is right where unfinished episodes earn nothing: then nothing
            was hidden. Where every step pays use `hidden`, or hidden rewards, paid as zeros, teach
            like observed ones.

    Raises:
        ValueError: if `timeouts` is neither.

    >>> outcomes, start, end = Outcomes(1), np.array([True]), np.array([True])
    >>> outcomes.step([{"observed": True, "observed_reward": -1.0}], ~end, start)
    array([-1], dtype=int8)
    >>> outcomes.step([{"observed": False}], end, ~start)
    array([1], dtype=int8)
    """

    def __init__(self, lanes: int, timeouts: Timeouts = "open") -> None:
        require_choice("timeouts", timeouts, Timeouts)
        self.observed = np.zeros(lanes, dtype=np.bool_)
        self.returns = np.zeros(lanes)
        self._cut = ROUTES.index(timeouts)

    def step(
        self,
        infos: Sequence[Mapping[str, Any]],
        dones: NDArray[np.bool_],
        starts: NDArray[np.bool_],
    ) -> Routes:
        """Add what was observed of one step; return the route of each episode that it ends.

        Args:
            infos: infos of the step, one for each lane.
            dones: whether the step ended the episode, [lanes].
            starts: whether the step was the first of its episode, [lanes].

        Returns:
            [lanes], `UNRESOLVED` where the episode is unfinished and `UNUSED` where there was none.
        """
        self.observed[starts] = False
        self.returns[starts] = 0.0
        routes = np.full(len(infos), UNRESOLVED, dtype=np.int8)
        # the infos of most lanes are empty: see VectorEnvAdapter
        for lane in (lane for lane, info in enumerate(infos) if info):
            if infos[lane].get("observed", False):
                self.observed[lane] = True
                self.returns[lane] += observed_reward(infos[lane], lane)
            if infos[lane].get("resetting", False):
                routes[lane] = UNUSED
        for lane in np.flatnonzero(dones).tolist():
            routes[lane] = self._route(lane, infos[lane].get("TimeLimit.truncated", False))
        return routes

    def unfinished(self) -> Routes:
        """Return the route of each lane's episode if the rollout ends here, [lanes]."""
        lanes = range(len(self.observed))
        return np.array([self._route(lane, cut=True) for lane in lanes], dtype=np.int8)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy what was observed of the running episodes."""
        return {"observed": self.observed.copy(), "returns": self.returns.copy()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `get_state` was called."""
        self.observed[:], self.returns[:] = state["observed"], state["returns"]

    def _route(self, lane: int, cut: bool) -> int:
        if self.observed[lane]:
            return POSITIVE if self.returns[lane] > 0 else NEGATIVE
        return self._cut if cut else HIDDEN


def write_back(last: Routes, unfinished: Routes | None = None) -> Routes:
    """Give every step the route of its episode.

    Args:
        last: [steps, lanes], the route at each episode's last step, `UNRESOLVED` elsewhere, and
            `UNUSED` at a step that only reset its lane, which comes right after an end.
        unfinished: [lanes], the route of an episode that the rollout's end cuts, `open` by default.

    >>> write_back(np.array([[-1], [2], [-1]], dtype=np.int8)).ravel()
    array([2, 2, 3], dtype=int8)
    """
    routes = np.empty_like(last)
    route = np.full(last.shape[1:], OPEN, dtype=last.dtype) if unfinished is None else unfinished
    for step in reversed(range(len(last))):
        route = np.where(last[step] == UNRESOLVED, route, last[step])
        routes[step] = route
    return routes


Assignment = Callable[[Routes, np.random.RandomState, float | None], Routes]
"""From the routes of a rollout's episodes by their outcomes, [episodes], to those they take.

Its other arguments are the generator to draw from, and the probability that an end is observed.
"""


def shuffled(pool: Routes, order: np.random.RandomState, propensity: float | None) -> Routes:
    """Deal the routes out among the episodes by chance: as many of each, independent of outcome."""
    return order.permutation(pool)


def by_coin(pool: Routes, order: np.random.RandomState, propensity: float | None) -> Routes:
    """Keep each episode with probability `propensity`, and make the others `hidden`.

    A kept episode takes its own route, or `open` if it was hidden. The coin is independent of the
    outcome.
    """
    assert propensity is not None, "RoutedPPO refuses a coin without a probability"
    kept = order.random_sample(len(pool)) < propensity
    return np.where(kept, np.where(pool == HIDDEN, OPEN, pool), HIDDEN)


def assign(
    last: Routes,
    unfinished: Routes,
    assignment: Assignment,
    order: np.random.RandomState,
    propensity: float | None = None,
) -> tuple[Routes, Routes]:
    """Return the routes that the episodes of a rollout take, given those of their outcomes.

    An episode that the rollout's end cuts counts as two, one in each rollout.

    Args:
        last: the route at each episode's last step, [steps, lanes]; see `write_back`.
        unfinished: the route of each lane's unfinished episode, [lanes].
        assignment: function that gives each episode its route.
        order: the generator to draw from.
        propensity: probability that the end of an episode is observed.
    """
    ended, running = last >= 0, last[-1] == UNRESOLVED
    outcomes = np.concatenate([last[ended], unfinished[running]])
    pool = _routes(assignment(outcomes, order, propensity), len(outcomes))
    last, unfinished = last.copy(), unfinished.copy()
    last[ended], unfinished[running] = pool[: ended.sum()], pool[ended.sum() :]
    return last, unfinished


def _routes(given: object, episodes: int) -> Routes:
    """Return the routes that an assignment gave to episodes, or raise a ValueError."""
    routes = np.asarray(given)
    numbers = routes.shape == (episodes,) and routes.dtype.kind in "iu"
    if not numbers or np.any((routes < 0) | (routes >= len(ROUTES))):
        raise ValueError(
            f"an assignment must return a route for each of {episodes} episodes, integers from 0 "
            f"to {len(ROUTES) - 1} which number {', '.join(ROUTES)}, got {shorten(given)}"
        )
    return routes


class RoutedSamples(NamedTuple):
    """SB3's rollout samples, [batch], with a route and the proxy's advantage for each.

    `routes` are numbers of `ROUTES`, int64. `advantages` are of the rewards that the method learns
    from, `proxy_advantages` of those that the environment paid. `mixture_logits` are those of the
    policy that is updated, where its losses are computed and it has them.
    """

    observations: Observations
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    proxy_advantages: Tensor
    routes: Tensor
    mixture_logits: Tensor | None = None

    def select(self, rows: Tensor) -> "RoutedSamples":
        """Return the samples of some numbers, [rows]."""
        _, *scalars = self
        few: Any = (each if each is None else each.index_select(0, rows) for each in scalars)
        return RoutedSamples(self.select_observations(rows), *few)

    def select_observations(self, rows: Tensor) -> Observations:
        """Return the observations of the samples of some numbers, [rows, ...]."""
        if isinstance(self.observations, dict):
            return {key: part.index_select(0, rows) for key, part in self.observations.items()}
        return self.observations.index_select(0, rows)


class RoutedBuffer(RolloutBuffer):
    """SB3's buffer with a route per step, and minibatches drawn from a generator of its own.

    Args:
        *args: as for `RolloutBuffer`.
        seed: seed of the order of minibatches. The legacy generator is SB3's own, so that with the
            same seed both draw the same minibatches.
        timeouts: as for `Outcomes`.
        assignment: function that gives each episode its route, drawing from the same generator;
            by default each episode takes the route of its own outcome.
        propensity: as for `assign`.
        scored: whether observations, which are planes, have a further channel of scores; see
            `RewardSource.show`.
        **kwargs: as for `RolloutBuffer`.
    """

    def __init__(  # noqa: PLR0913 (each is one decision, and has a default)
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        *args: Any,  # noqa: ANN401
        seed: int | None = None,
        timeouts: Timeouts = "open",
        assignment: Assignment | None = None,
        propensity: float | None = None,
        scored: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.order = np.random.RandomState(seed)
        self.assignment = assignment
        self.propensity = propensity
        if scored:
            channels, *board = observation_space.shape or ()
            observation_space = spaces.Box(-np.inf, np.inf, (channels + 1, *board), np.float32)
        super().__init__(buffer_size, observation_space, *args, **kwargs)
        self.outcomes = Outcomes(self.n_envs, timeouts)

    def reset(self) -> None:
        """Empty the buffer; no route is known."""
        self.proxy_residual = np.zeros((self.buffer_size, self.n_envs), dtype=np.float32)
        self.last_route = np.full((self.buffer_size, self.n_envs), UNRESOLVED, dtype=np.int8)
        self._assigned: tuple[Routes, Routes] | None = None
        super().reset()
        if isinstance(self.action_space, spaces.Box) and self.action_space.dtype.kind != "f":
            # SB3's array has the dtype of the space, which would cut off the policy's fractions
            self.actions = self.actions.astype(np.float32)

    def label(
        self,
        infos: Sequence[Mapping[str, Any]],
        dones: NDArray[np.bool_],
        starts: NDArray[np.bool_],
    ) -> None:
        """Note which routes the step of the coming `add` settles; see `Outcomes.step`."""
        self.last_route[self.pos] = self.outcomes.step(infos, dones, starts)

    def add_residual(self, residual: NDArray[np.float32]) -> None:
        """Note by how much the reward paid exceeds that of the coming `add`, [lanes]."""
        self.proxy_residual[self.pos] = residual

    def routes(self) -> Routes:
        """Return the route of every step of a full buffer, [steps, lanes].

        `UNUSED` marks the steps that only reset a lane, which `get` leaves out.
        """
        if self._assigned is not None:
            return write_back(*self._assigned)
        return write_back(self.last_route, self.outcomes.unfinished())

    def compute_returns_and_advantage(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Compute returns and advantages as SB3 does, and settle which route each episode takes."""
        super().compute_returns_and_advantage(*args, **kwargs)
        self.proxy_advantages = self.advantages
        if self.proxy_residual.any():
            self.proxy_advantages = self.advantages + self._discounted(self.proxy_residual)
        if self.assignment is not None:
            outcomes = self.last_route, self.outcomes.unfinished()
            self._assigned = assign(*outcomes, self.assignment, self.order, self.propensity)

    def _discounted(self, rewards: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what rewards add to the advantages, [steps, lanes].

        The estimates of GAE (Schulman et al. 2016, equation 16) are linear in the rewards, so that
        one critic serves both: a reward adds its own sum, discounted by gamma * lambda.
        """
        sums, total = np.empty_like(rewards), np.zeros_like(rewards[0])
        goes_on = 1 - np.append(self.episode_starts[1:], np.zeros_like(rewards[:1]), axis=0)
        for step in reversed(range(len(rewards))):
            total = rewards[step] + self.gamma * self.gae_lambda * goes_on[step] * total
            sums[step] = total
        return sums

    def add(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Store one step of every lane.

        Raises:
            ValueError: if an observation or a reward is not finite.
        """
        step = self.pos
        super().add(*args, **kwargs)
        for key, stored in arrays_of(self.observations):
            what = f"an observation of the environment{key}"
            require_finite(what, stored[step], MEND_OBSERVATIONS)
        require_finite("a reward with the critic's value after it", self.rewards[step], MEND_VALUES)

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the rollout once, in shuffled minibatches."""
        assert self.full, "the rollout is not complete"
        tensors = self._flat()
        total = self.buffer_size * self.n_envs
        order = torch.from_numpy(self.order.permutation(total)).to(self.device)
        used = tensors.routes.index_select(0, order) != UNUSED
        order = order if used.all() else order[used]
        for rows in torch.split(order, batch_size or total):
            if len(rows):
                yield tensors.select(rows)

    def spread(self, count: int) -> RoutedSamples:
        """Return samples of a full buffer that are evenly spaced, all of them if there are fewer.

        Unlike `get` it draws nothing, so that it does not change which minibatches follow.
        """
        assert self.full, "the rollout is not complete"
        tensors = self._flat()
        return tensors.select(spaced((tensors.routes != UNUSED).nonzero().squeeze(-1), count))

    def used(self) -> NDArray[np.bool_]:
        """Return which steps are data, [steps, lanes]."""
        used: NDArray[np.bool_] = self.last_route != UNUSED
        return used

    def _flat(self) -> RoutedSamples:
        """Return the whole rollout as tensors, lane after lane as SB3 orders it."""
        scalars = (self.values, self.log_probs, self.advantages, self.returns)
        routes = self.routes().astype(np.int64)
        return RoutedSamples(
            self._flat_observations(),
            self.to_torch(self.swap_and_flatten(self.actions.astype(np.float32, copy=False))),
            *(
                self.to_torch(self.swap_and_flatten(array).flatten())
                for array in (*scalars, self.proxy_advantages, routes)
            ),
        )

    def _flat_observations(self) -> Observations:
        return self.to_torch(self.swap_and_flatten(self.observations))


class RoutedDictBuffer(RoutedBuffer, DictRolloutBuffer):  # type: ignore[misc]
    """`RoutedBuffer` for observations of a `Dict` space, as SB3's `DictRolloutBuffer`."""

    def _flat_observations(self) -> Observations:
        parts = self.observations.items()
        return {key: self.to_torch(self.swap_and_flatten(part)) for key, part in parts}


def spaced(rows: Tensor, count: int) -> Tensor:
    """Return so many of some rows, evenly spaced, or all of them if there are fewer.

    >>> spaced(torch.arange(10), 4).tolist(), spaced(torch.arange(2), 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    if len(rows) <= count:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, count, dtype=torch.float64).long()]


def set_generator_state(generator: np.random.RandomState, state: Mapping[str, Any]) -> None:
    """Put a generator where `get_state(legacy=False)` was called; its array may be a tensor."""
    inside = state["state"]
    generator.set_state({**state, "state": {**inside, "key": np.asarray(inside["key"])}})
