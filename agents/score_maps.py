"""Score maps: a policy learns to go where a map sends it, and maps learn what a reward is for.

`ScoreMaps` is the reward source of such a method. Each episode of training follows one map: a
motivation module of the policy, or a random one. The policy is paid the score of each cell that it
enters, so that it learns to reach whatever a map asks for (its competence) without any reward of
the environment. The motivation modules alone learn from these: each step teaches the modules that
the route table names what it was worth to enter a cell.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.boards import ScoreMapFeatures, surroundings
from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    OPEN,
    POSITIVE,
    ROUTES,
    Rewards,
    RewardSource,
    Step,
    Timeouts,
    observed_reward,
    set_generator_state,
    spaced,
)
from oversight.routing import RouteTable, audit, routing

CAPACITY, BATCH, STEPS, RATE = 8192, 256, 32, 1e-3
"""Steps remembered of each kind, and how a map is fitted to them after each rollout."""
RANDOM, AVOIDING = 0.125, 0.125
"""Shares of episodes that follow a random cell, and one with cells to avoid."""
AVOIDED = 3
"""Cells to avoid."""

TEACHING = {"observed": ("positive", "negative"), "hidden": ("hidden",), "open": ("open",)}
"""The kinds of steps, and the routes on which each of them teaches."""


class Memory:
    """The last steps of one kind: the surroundings of the cell that was entered, and what it paid.

    Args:
        channels: channels of these surroundings.
    """

    def __init__(self, channels: int) -> None:
        self.entered = np.zeros((CAPACITY, channels, 3, 3), np.float32)
        self.rewards = np.zeros(CAPACITY, np.float32)
        self.routes = np.zeros(CAPACITY, np.int64)
        self.seen = 0

    def add(self, entered: NDArray[Any], rewards: NDArray[Any], routes: NDArray[Any]) -> None:
        """Remember some steps, [steps, ...] each."""
        slots = (self.seen + np.arange(len(rewards))) % CAPACITY
        self.entered[slots], self.rewards[slots], self.routes[slots] = entered, rewards, routes
        self.seen += len(rewards)

    def draw(self, number: int, order: np.random.RandomState) -> list[NDArray[Any]]:
        """Draw some steps, half of them from those that paid, if there are any.

        Most steps pay nothing, so that a minibatch of all steps alike would teach little.

        Returns:
            The arrays of the steps: surroundings, rewards and routes.
        """
        known = min(self.seen, CAPACITY)
        paid = np.flatnonzero(self.rewards[:known])
        rows = order.randint(known, size=number)
        if paid.size:
            rows[: number // 2] = order.choice(paid, size=number // 2)
        return [array[rows] for array in self.arrays().values()]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays."""
        return {name: getattr(self, name) for name in ("entered", "rewards", "routes")}


class ScoreMaps(RewardSource):
    """Pays a policy the scores of the cells that it enters, and teaches the maps that score them.

    It draws from a generator of its own. Checkpoints hold its state.

    Args:
        features: features of the policy, which hold the maps.
        table: route table with a target for each map.
        seed: seed of the random maps and of the minibatches.
        timeouts: as for `RoutedPPO`. With `open`, steps that were not observed and did not end at
            a terminal are known to have paid nothing, and teach on the route `open`.
    """

    def __init__(
        self, features: ScoreMapFeatures, table: RouteTable, seed: int, timeouts: Timeouts
    ) -> None:
        self.features, self.table, self.every_step_hides = features, table, timeouts == "hidden"
        self.order = np.random.RandomState(seed)
        self.optimizers = {
            name: torch.optim.Adam(each.parameters(), lr=RATE, fused=True)
            for name, each in features.maps.items()
        }
        self.shape = features._observation_space.shape or ()
        self.memories = {name: Memory(self.shape[0] + 1) for name in TEACHING}
        self.follows = np.zeros(0, np.int64)  # the map of each lane's episode; see `_follow`
        self.target = np.zeros(0, np.int64)
        self.avoided = np.zeros((0, AVOIDED), np.int64)
        self.shown: NDArray[np.float32] | None = None  # with the scores to follow

    def show(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Return observations with the scores to follow as a last channel.

        Args:
            observations: [lanes, channels, rows, columns]; those with scores already stay as they
                are, unless the maps that their lanes follow are not known.
        """
        lanes, channels = len(observations), self.shape[0]
        known = len(self.follows) == lanes
        if known and observations.shape[1] > channels:
            self.shown = observations
            return observations
        observations = observations[:, :channels]
        if not known:
            self.follows, self.target = (np.zeros(lanes, np.int64) for _ in range(2))
            self.avoided = np.zeros((lanes, AVOIDED), np.int64)
            self._follow(np.arange(lanes))
        self.shown = np.empty((lanes, channels + 1, *self.shape[1:]), np.float32)
        self.shown[:, :-1], self.shown[:, -1] = observations, self._scores(observations)
        return self.shown

    def __call__(self, step: Step) -> Rewards:
        """Remember what teaches, and return the score of the cell that each lane entered."""
        assert self.shown is not None, "a rollout shows observations first"
        before, scores = self.shown[:, :-1], self.shown[:, -1].reshape(len(self.shown), -1)
        arrival = np.array(step.observations, dtype=np.float32)
        for lane in np.flatnonzero(step.dones).tolist():
            last = step.infos[lane].get("terminal_observation")
            if last is not None:
                arrival[lane] = last
                scored = np.concatenate([last, self.shown[lane, -1:]])  # whose value SB3 asks for
                step.infos[lane]["terminal_observation"] = scored  # type: ignore[index]
        if not self.features.agent.found:
            return np.zeros(len(before), np.float32)
        start, end = (self._cells(each) for each in (before, arrival))
        moved = start != end
        self._remember(step, before, end)
        lanes = np.arange(len(end))
        rewards = np.where(moved, scores[lanes, end], 0.0).astype(np.float32)
        reached = (self.follows >= len(self.features.maps)) & (end == self.target)
        self._aim(np.flatnonzero(reached))
        self._follow(np.flatnonzero(step.dones))
        return rewards

    def fit(self) -> None:
        """Take some steps of descent on the squared error of each map, on what teaches it."""
        weights = self.table.as_dict()
        for name in self.features.maps:
            teaching = {
                kind: self.memories[kind].seen
                for kind, routes in TEACHING.items()
                if self.memories[kind].seen and any(weights[route][name] for route in routes)
            }
            if teaching:
                self._fit(name, teaching)

    def _fit(self, name: str, teaching: dict[str, int]) -> None:
        """Fit one map to steps of some kinds, given how many of each were seen."""
        paying = sum(seen for kind, seen in teaching.items() if kind != "open")
        if paying and "open" in teaching:
            teaching["open"] = paying  # else most steps would be some of which nothing is learned
        shares = np.array(list(teaching.values())) / sum(teaching.values())
        numbers = self.order.multinomial(STEPS * BATCH, shares).tolist()
        parts = [
            self.memories[kind].draw(number, self.order)
            for kind, number in zip(teaching, numbers, strict=True)
        ]
        entered, rewards, routes = (np.concatenate(part) for part in zip(*parts, strict=True))
        for rows in self.order.permutation(len(entered)).reshape(STEPS, BATCH):
            self._descend(
                name, *(torch.from_numpy(each[rows]) for each in (entered, rewards, routes))
            )
        self.features.maps[name].taught.fill_(True)  # type: ignore[operator]

    def audit(self) -> dict[str, dict[str, float]]:
        """Return the norm of the gradient that remembered steps of each route send to each map."""
        known = {
            kind: spaced(torch.arange(min(memory.seen, CAPACITY)), BATCH).numpy()
            for kind, memory in self.memories.items()
        }
        parts = [
            [array[known[kind]] for array in memory.arrays().values()]
            for kind, memory in self.memories.items()
        ]
        entered, rewards, routes = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True)
        )
        norms: dict[str, dict[str, float]] = {route: {} for route in ROUTES}
        for name, network in deepcopy(self.features.maps).items() if len(routes) else ():
            table = RouteTable(_column(self.table, name))
            with routing(network, table, routes):
                scores = network(entered.to(self._like)).squeeze(1)
                losses = (scores - rewards.to(scores)).square() / len(routes)
            for route, row in audit(losses, {name: network}, table, routes).items():
                norms[route] |= row
        return norms

    def get_state(self) -> dict[str, Any]:
        """Copy all that its future depends on: arrays, tensors and plain numbers."""
        return {
            "optimizers": {n: deepcopy(each.state_dict()) for n, each in self.optimizers.items()},
            "order": self.order.get_state(legacy=False),
            "memories": {
                name: {n: array.copy() for n, array in memory.arrays().items()}
                | {"seen": memory.seen}
                for name, memory in self.memories.items()
            },
            "follows": self.follows.copy(),
            "target": self.target.copy(),
            "avoided": self.avoided.copy(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where `get_state` was called."""
        for name, each in self.optimizers.items():
            each.load_state_dict(state["optimizers"][name])
        set_generator_state(self.order, state["order"])
        for name, memory in self.memories.items():
            stored = state["memories"][name]
            for key, array in memory.arrays().items():
                array[:] = np.asarray(stored[key])
            memory.seen = int(stored["seen"])
        self.follows, self.target, self.avoided = (
            np.asarray(state[name]).copy() for name in ("follows", "target", "avoided")
        )

    def _descend(self, name: str, entered: Tensor, rewards: Tensor, routes: Tensor) -> None:
        network, optimizer = self.features.maps[name], self.optimizers[name]
        optimizer.zero_grad()
        with routing(network, RouteTable(_column(self.table, name)), routes):
            scores = network(entered.to(self._like)).squeeze(1)
            loss = nn.functional.mse_loss(scores, rewards.to(scores))
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @property
    def _like(self) -> Tensor:
        return next(self.features.maps.parameters())

    def _remember(self, step: Step, before: NDArray[Any], cells: NDArray[Any]) -> None:
        """Sort the steps by what is known of them: observed, hidden, or known to pay nothing."""
        lanes = np.arange(len(before))
        resting = np.array([bool(info.get("resetting", False)) for info in step.infos])
        observed = np.zeros(len(before), np.bool_)
        observed[step.observed()] = True
        cut = np.array([bool(info.get("TimeLimit.truncated", False)) for info in step.infos])
        hides = ~observed if self.every_step_hides else ~observed & step.dones & ~cut
        # what was neither observed nor hidden is known to have paid nothing
        rewards = np.where(hides, step.paid, 0.0).astype(np.float32)
        for lane in np.flatnonzero(observed).tolist():
            rewards[lane] = observed_reward(step.infos[lane], lane)
        signs = np.where(rewards > 0, POSITIVE, NEGATIVE)
        kinds = {
            "observed": (observed, signs),
            "hidden": (hides, np.full(len(lanes), HIDDEN)),
            "open": (~observed & ~hides, np.full(len(lanes), OPEN)),
        }
        for name, (mask, routes) in kinds.items():
            rows = np.flatnonzero(mask & ~resting)
            if rows.size:
                entered = surroundings(*(torch.from_numpy(each[rows]) for each in (before, cells)))
                self.memories[name].add(entered.numpy(), rewards[rows], routes[rows])

    def _scores(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Return the scores that each lane follows, [lanes, rows, columns]."""
        scores = np.zeros((len(observations), int(np.prod(self.shape[1:]))), np.float32)
        for number, name in enumerate(self.features.maps):
            lanes = np.flatnonzero(self.follows == number)
            if lanes.size:
                shown = torch.from_numpy(observations[lanes]).to(self._like)
                scores[lanes] = self.features.scores(shown, name).flatten(1).cpu().numpy()
        random = np.flatnonzero(self.follows >= len(self.features.maps))
        avoiding = np.flatnonzero(self.follows > len(self.features.maps))
        scores[avoiding[:, None], self.avoided[avoiding]] = -1.0
        scores[random, self.target[random]] = 1.0
        return scores.reshape(-1, *self.shape[1:])

    def _cells(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        cells: Tensor = self.features.agent.cells(torch.from_numpy(observations))
        return cells.cpu().numpy()

    def _follow(self, lanes: NDArray[Any]) -> None:
        """Draw the map that the next episode of some lanes follows.

        Numbers below that of the maps are maps, of which the first one gets twice the share of
        each other one; then come a random cell, and a random cell with others to avoid.
        """
        maps = len(self.features.maps)
        shares = np.append(2.0, np.ones(maps - 1)) / (maps + 1) * (1 - RANDOM - AVOIDING)
        drawn = self.order.choice(maps + 2, size=len(lanes), p=[*shares, RANDOM, AVOIDING])
        self.follows[lanes] = drawn
        self._aim(lanes)

    def _aim(self, lanes: NDArray[Any]) -> None:
        """Draw the random cells of some lanes."""
        cells = int(np.prod(self.shape[1:]))
        self.target[lanes] = self.order.randint(cells, size=len(lanes))
        self.avoided[lanes] = self.order.randint(cells, size=(len(lanes), AVOIDED))


def _column(table: RouteTable, name: str) -> dict[str, dict[str, float]]:
    """Return the rows of a table with the weight of one target."""
    rows = table.as_dict()
    return {route: {name: rows[route][name]} for route in ROUTES}
