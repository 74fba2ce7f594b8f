"""Policies of known returns: one walks the shortest way, and one walks at random."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from envs import gridworld
from tests.envs.test_gridworld import SIZE, distances


class ScriptedPolicy(BasePolicy):
    """A policy without parameters."""

    def __init__(self) -> None:
        space = spaces.MultiBinary((gridworld.NUM_PLANES, SIZE, SIZE))
        super().__init__(space, spaces.Discrete(gridworld.NUM_ACTIONS))

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:  # noqa: ANN401
        boards = np.asarray(observation).reshape(-1, gridworld.NUM_PLANES, SIZE**2)
        return torch.from_numpy(self.actions(boards))

    def actions(self, boards: gridworld.Planes) -> gridworld.Cells:
        """Return an action for each of the boards, [boards, planes, cells]."""
        raise NotImplementedError


class ShortestPathPolicy(ScriptedPolicy):
    """A policy that walks the shortest way to its goal, around the other terminal or over it."""

    def __init__(self, avoid_ghost: bool = True, goal: int = gridworld.DIAMOND) -> None:
        super().__init__()
        self.left = distances(avoid_ghost)
        self.goal = goal
        self.other = gridworld.GHOST if goal == gridworld.DIAMOND else gridworld.DIAMOND

    def actions(self, boards: gridworld.Planes) -> gridworld.Cells:
        """Return the first move of a shortest way."""
        agent, goal, other = (
            boards[:, plane].argmax(-1) for plane in (gridworld.AGENT, self.goal, self.other)
        )
        after = [gridworld.move(agent, np.full_like(agent, move), SIZE) for move in range(4)]
        best: gridworld.Cells = self.left[other, goal, np.stack(after)].argmin(axis=0)
        return best


class RandomPolicy(ScriptedPolicy):
    """A policy that draws uniform moves from PyTorch's global generator."""

    def actions(self, boards: gridworld.Planes) -> gridworld.Cells:
        """Return uniform moves."""
        moves: gridworld.Cells = torch.randint(gridworld.NUM_ACTIONS, (len(boards),)).numpy()
        return moves
