"""Ideal policies score what they score in an independent simulation of the paper's game."""

import numpy as np
import pytest

from envs import GridVectorEnv, gridworld

SIZE, WINDOW, GAMMA = 5, 32, 0.97
CELLS = SIZE**2


def distances(avoid_ghost: bool) -> gridworld.Numbers:
    """Moves left to the diamond, [ghost, diamond, cell], by relaxation."""
    cells = np.arange(CELLS)
    after = np.stack([gridworld.move(cells, np.full(CELLS, a), SIZE) for a in range(4)])
    left = np.full((CELLS, CELLS, CELLS), np.inf)
    left[:, cells, cells] = 0
    for _ in range(CELLS):
        if avoid_ghost:
            left[cells, :, cells] = np.inf
        left = np.minimum(left, 1 + left[:, :, after].min(axis=2))
    if avoid_ghost:
        left[cells, :, cells] = np.inf
    return left


def mean_return(avoid_ghost: bool, num_lanes: int = 4096, seed: int = 0) -> float:
    """The paper's metric: mean return-to-go over all steps, cut at the window's end."""
    left = distances(avoid_ghost)
    rng = np.random.default_rng(seed)
    env = GridVectorEnv(num_lanes, reward="true")
    env.reset(seed=seed)
    rewards, ends = [], []
    for _ in range(WINDOW):
        board = env.board
        after = np.stack(
            [gridworld.move(board.agent, np.full(num_lanes, a), SIZE) for a in range(4)]
        )
        costs = left[board.ghost, board.diamond, after] + 0.5 * rng.random((4, num_lanes))
        _, reward, terminated, truncated, _ = env.step(costs.argmin(axis=0))
        rewards.append(reward)
        ends.append(terminated | truncated)
    returns = np.zeros((WINDOW + 1, num_lanes))
    for t in reversed(range(WINDOW)):
        returns[t] = rewards[t] + GAMMA * returns[t + 1] * ~ends[t]
    return float(returns[:WINDOW].mean())


@pytest.mark.parametrize(("avoid_ghost", "anchor"), [(True, 0.909), (False, 0.778)])
def test_ideal_policies_reach_their_anchors(avoid_ghost: bool, anchor: float) -> None:
    assert mean_return(avoid_ghost) == pytest.approx(anchor, abs=0.01)
