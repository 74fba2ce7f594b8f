"""The exact values of a world's levels by exhaustive search: a slow reference for `World.solve`.

The search knows a world only by its rules. It goes through all states that can be reached, step by
step up to the horizon, and keeps the best score of each of them.
"""

from collections.abc import Callable
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.gridworld import Cells, Numbers, Planes
from envs.observers.observer import Mask
from envs.worlds import Solution, World
from envs.worlds.world import State

Reward = Callable[[Planes, Planes], Numbers]
Scores = NDArray[np.int64]

UNIT = 1e-6  # returns are whole numbers of this, so that sums in another order are equal
STEPS = 1 << 16  # more steps than an episode can have
NEVER = np.iinfo(np.int64).min


class Frontier(NamedTuple):
    """The states that are reached after some steps, and the best way to each of them.

    Attributes:
        level: the level that a state belongs to, [n].
        state: the states, [n, ...] each.
        score: the highest return so far in units, times `STEPS`, less the number of the last step
            that paid anything, which is the lowest for that return, [n].
    """

    level: Cells
    state: State
    score: Scores


def search(world: World, state: State) -> Solution:
    """Return the best that can be done on some levels, by trying everything.

    The proxy is pursued under the rules of training. Where nothing is ever paid, 0 steps earn it.
    """
    training = copy(world)
    training.distribution = "train"
    return Solution(
        *best_returns(world, state, world.true_reward),
        *best_returns(training, state, training.proxy_reward),
    )


def best_returns(world: World, state: State, reward: Reward) -> tuple[Numbers, Cells]:
    """Return the highest return of a reward on each level, and the fewest steps that earn it."""
    num_levels = len(next(iter(state.values())))
    copied = {name: array.copy() for name, array in state.items()}
    front = Frontier(np.arange(num_levels), copied, np.zeros(num_levels, dtype=np.int64))
    best = np.full(num_levels, NEVER)
    for step in range(1, world.horizon + 1):
        after, ended = successors(world, front, reward, step)
        ended |= step == world.horizon
        np.maximum.at(best, after.level[ended], after.score[ended])
        if ended.all():
            break
        front = without_duplicates(select(after, ~ended))
    units = units_of(best)
    returns = np.asarray(units * UNIT, dtype=np.float64)
    return returns, (units * STEPS - best).astype(np.intp)


def successors(world: World, front: Frontier, reward: Reward, step: int) -> tuple[Frontier, Mask]:
    """Return what every action leads to from every state, and which episodes ended there."""
    num_states, num_actions = len(front.level), len(world.actions)
    state = {name: np.repeat(array, num_actions, axis=0) for name, array in front.state.items()}
    previous = np.repeat(world.observe(front.state), num_actions, axis=0)
    world.move(state, np.tile(np.arange(num_actions), num_states))
    planes = world.observe(state)
    paid = np.rint(reward(previous, planes) / UNIT).astype(np.int64)
    score = np.repeat(front.score, num_actions)
    score = np.where(paid != 0, (units_of(score) + paid) * STEPS - step, score)
    ended = world.ended(state, world.served(previous, planes))
    return Frontier(np.repeat(front.level, num_actions), state, score), ended.copy()


def units_of(score: Scores) -> Scores:
    """Return the returns in units that are part of scores."""
    return -(-score // STEPS)


def select(front: Frontier, chosen: Mask) -> Frontier:
    """Return some of the states."""
    state = {name: array[chosen] for name, array in front.state.items()}
    return Frontier(front.level[chosen], state, front.score[chosen])


def without_duplicates(front: Frontier) -> Frontier:
    """Return each state of each level once, with the best of its scores."""
    arrays = [front.level, *front.state.values()]
    rows = [np.ascontiguousarray(each).reshape(len(each), -1).view(np.uint8) for each in arrays]
    joined = np.concatenate(rows, axis=1)
    keys = joined.view(np.dtype((np.void, joined.shape[1])))[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    score = np.full(len(first), NEVER)
    np.maximum.at(score, inverse, front.score)
    state = {name: array[first] for name, array in front.state.items()}
    return Frontier(front.level[first], state, score)


def assert_solved(world: World, num_levels: int, first_seed: int = 0) -> Solution:
    """Compare `World.solve` with the search on the first levels of some seeds; return it."""
    seeds = np.uint64(first_seed) + np.arange(num_levels, dtype=np.uint64)
    state = world.levels(seeds, np.zeros(num_levels, dtype=np.uint64))
    ours, slow = world.solve(state), search(world, state)
    for name in ("optimal_return", "proxy_return"):
        np.testing.assert_allclose(getattr(ours, name), getattr(slow, name), atol=UNIT)
    for name in ("optimal_steps", "proxy_steps"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(slow, name))
    return ours
