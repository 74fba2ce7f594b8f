"""Where a step serves the goal or the proxy of a world, and states just before such a step.

They are found by trying every step from every cell, so that no world has to say where its goal is.
An evaluation reads them: `paired_states` are those on which a critic is asked what it values, and
`Approaches.goal` and `Approaches.proxy` are the cells to which an agent may be sent.
"""

from typing import NamedTuple

import numpy as np

from envs.gridworld import Cells
from envs.observers import random_streams
from envs.observers.observer import Mask
from envs.worlds.world import State, World, draw_cell


class Approaches(NamedTuple):
    """Cells of some levels, [n, cells] each.

    Attributes:
        goal: arriving there serves the goal, and not the proxy.
        proxy: arriving there serves the proxy, and not the goal.
        before_goal: an agent can stand there, one step from the goal and not from the proxy.
        before_proxy: the reverse.
    """

    goal: Mask
    proxy: Mask
    before_goal: Mask
    before_proxy: Mask


class PairedStates(NamedTuple):
    """States of the same levels that differ in the agent's cell alone.

    Attributes:
        before_goal: states one step before the goal.
        before_proxy: states one step before the proxy.
        exists: levels that have both, [n]; elsewhere the agent's cells mean nothing.
    """

    before_goal: State
    before_proxy: State
    exists: Mask


def approaches(world: World, state: State) -> Approaches:
    """Return where a single step serves the goal or the proxy.

    Args:
        world: the rules.
        state: of some levels, in which the agent is put on each cell in turn.

    >>> from envs.worlds import CornerMaze
    >>> world = CornerMaze(size=3, walls=0.0, distance=4, distribution="test")
    >>> found = approaches(world, world.levels(np.zeros(1, np.uint64), np.zeros(1, np.uint64)))
    >>> [np.flatnonzero(cells[0]).tolist() for cells in found]
    [[6], [2], [3, 7], [1, 5]]
    """
    free = world.free(state)
    lanes = np.arange(len(free))
    arrivals = np.zeros((2, *free.shape), dtype=np.bool_)  # of goal and proxy, [2, n, cells]
    starts = arrivals.copy()
    for cell in range(free.shape[1]):
        put = moved_to(state, np.full(len(free), cell))
        before = world.observe(put)
        for action in range(len(world.actions)):
            after = moved_to(put, put["agent"])
            world.move(after, np.full(len(free), action))
            served, reached = world.served(before, world.observe(after)), after["agent"]
            hits = np.stack([served.goal & ~served.proxy, served.proxy & ~served.goal])
            hits &= free[:, cell] & (reached != cell)
            starts[:, :, cell] |= hits
            arrivals[:, lanes, reached] |= hits
    standing = ~arrivals.any(axis=0)  # an agent that stands at a goal has reached it before
    return Approaches(*arrivals, *(starts & ~starts[::-1] & standing))


def paired_states(world: World, state: State, words: random_streams.Words) -> PairedStates:
    """Return states of some test levels just before the goal, and just before the proxy.

    Args:
        world: the rules.
        state: the first state of the levels.
        words: one for each level, by which a cell is drawn where there are several, [n].
    """
    state = world.nearly(state)
    found = approaches(world, state)
    exists: Mask = np.asarray(found.before_goal.any(axis=1) & found.before_proxy.any(axis=1))
    before_goal, before_proxy = (
        moved_to(state, draw_cell(cells | ~exists[:, None], words))
        for cells in (found.before_goal, found.before_proxy)
    )
    return PairedStates(before_goal, before_proxy, exists)


def moved_to(state: State, cells: Cells) -> State:
    """Return a copy of a state in which the agents stand on some cells, [n]."""
    return {name: array.copy() for name, array in state.items()} | {"agent": cells.copy()}
