"""Retargeting: an unrouted policy is made to seek another cell by one activation set by hand.

Mini et al. 2023 (arXiv 2310.08043) found channels of a maze policy that are active where the cheese
lies, and moved such an activation, without training, to send the policy elsewhere. It is the
control for modules that can be swapped: what can be steered without any routing.

- `find_channel` finds the channel of the last convolution that shows where the goal is.
- `retarget` returns a policy whose channel shows a cell of the caller's choice instead.

Both read where the goal is, which only an evaluation knows; no training may call them.
"""

from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from agents.features import BoardCNN
from agents.policy import MotivationPolicy


class GoalChannel(NamedTuple):
    """The channel of the last convolution that shows where the goal is.

    Attributes:
        number: number of the channel.
        share: share of the observations on which it is most active at the goal.
        peak: its mean activation there.
    """

    number: int
    share: float
    peak: float


@torch.no_grad()
def find_channel(
    policy: MotivationPolicy, observations: NDArray[Any], cells: ArrayLike
) -> GoalChannel:
    """Return the channel whose activation peaks at the goal most often; the first one of equals.

    Args:
        policy: a trained policy with `conv_channels`.
        observations: boards, [batch, channels, height, width].
        cells: row and column of the goal on each of them, [batch, 2].

    Raises:
        ValueError: if the policy has no convolutions, there are no boards, or the cells are not on
            them.
    """
    board = _board(policy)
    shown = torch.as_tensor(observations, device=policy.device)
    goals = _numbers(cells, board, len(observations)).to(policy.device)
    planes = policy.extract_features(shown, board).reshape(len(shown), -1, _area(board))
    there = planes.gather(2, goals[:, None, None].expand(-1, planes.shape[1], 1)).squeeze(2)
    highest = planes.amax(2, keepdim=True)
    single = (planes == highest).sum(2) == 1  # not of a channel that is as active elsewhere
    peaks = single & (there == highest.squeeze(2))  # [batch, channels]
    share = peaks.float().mean(0)
    number = int(share.argmax())
    found = there[peaks[:, number], number]
    return GoalChannel(number, float(share[number]), float(found.mean()) if len(found) else 0.0)


def retarget(policy: MotivationPolicy, channel: int, value: float) -> "RetargetedPolicy":
    """Return a copy of a policy that seeks the cells that it is given.

    Args:
        policy: a trained policy with `conv_channels`.
        channel: channel of the last convolution that shows where the goal is.
        value: activation of this channel at the cell given; it is 0 at all others.

    Raises:
        ValueError: if the policy has no such channel.
    """
    return RetargetedPolicy(policy, channel, value)


class RetargetedPolicy:
    """A policy one of whose channels is active at a cell of the caller's choice, and there only.

    Args:
        policy: as for `retarget`, which is copied.
        channel: as for `retarget`.
        value: as for `retarget`.
    """

    def __init__(self, policy: MotivationPolicy, channel: int, value: float) -> None:
        board = _board(policy)
        channels = board.features_dim // _area(board)
        if not 0 <= channel < channels:
            raise ValueError(
                f"channel must be one of the last convolution, 0 to {channels - 1}, got {channel}"
            )
        self.policy = deepcopy(policy)
        self.policy.set_training_mode(False)
        copy = self.policy.features_extractor
        assert isinstance(copy, BoardCNN)
        self.moved = MovedActivation(copy, channel, value)
        self.policy.features_extractor = self.moved
        self.policy.pi_features_extractor = self.policy.vf_features_extractor = self.moved

    def predict(
        self, observations: NDArray[Any], cells: ArrayLike, deterministic: bool = False
    ) -> NDArray[Any]:
        """Return an action for each observation.

        Args:
            observations: boards, [batch, channels, height, width].
            cells: row and column of the cell to seek on each of them, [batch, 2].
            deterministic: whether to take the likeliest action instead of sampling.

        Raises:
            ValueError: if the cells are not on the boards.
        """
        numbers = _numbers(cells, self.moved.board, len(observations))
        self.moved.cells = numbers.to(self.policy.device)
        actions, _ = self.policy.predict(observations, deterministic=deterministic)
        return actions


class MovedActivation(BaseFeaturesExtractor):
    """The features of a board, with one channel active at a given cell and nowhere else.

    Args:
        board: the features of the policy.
        channel: number of the channel.
        value: its activation at the cell.
    """

    def __init__(self, board: BoardCNN, channel: int, value: float) -> None:
        super().__init__(board._observation_space, board.features_dim)
        self.board, self.channel, self.value = board, channel, value
        self.cells = torch.zeros(0, dtype=torch.int64)  # [batch], row * width + column

    def forward(self, observations: Tensor) -> Tensor:
        """Return the features of observations, [batch, channels * height * width]."""
        planes = self.board(observations).reshape(len(observations), -1, _area(self.board))
        moved = planes.new_zeros(planes.shape[0], planes.shape[2])
        moved.scatter_(1, self.cells.unsqueeze(1), self.value)
        planes[:, self.channel] = moved
        return planes.flatten(1)  # type: ignore[no-any-return]


def _board(policy: MotivationPolicy) -> BoardCNN:
    board = policy.features_extractor
    if not isinstance(board, BoardCNN):
        raise ValueError(
            f"retargeting needs a policy with convolutions, got {type(board).__name__}: train it "
            "with --ppo.conv-channels 16 16, and with --ppo.no-centered in a grid world"
        )
    return board


def _area(board: BoardCNN) -> int:
    """Return the number of cells of a board."""
    return int(np.prod((board._observation_space.shape or ())[1:]))


def _numbers(cells: ArrayLike, board: BoardCNN, boards: int) -> Tensor:
    """Return cells, [batch, 2], as their numbers row by row, [batch]."""
    given, shape = np.asarray(cells), (board._observation_space.shape or ())[1:]
    whole = given.shape == (boards, 2) and given.dtype.kind in "iu" and boards > 0
    if not whole or (given < 0).any() or (given >= shape).any():
        raise ValueError(
            f"cells must be rows and columns on boards of {shape[0]} x {shape[1]} cells, integers "
            f"of shape ({boards}, 2) for {boards} boards (at least one), got an array of shape "
            f"{given.shape}"
        )
    return torch.from_numpy(np.ravel_multi_index(tuple(given.T.astype(np.int64)), shape))
