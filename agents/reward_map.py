"""Networks that predict the reward of a step from where it led.

- `reward_head` scores an observation as a whole.
- `BoardReward` is a convolution over the planes of an observation.
- `RewardMap` scores each position of an observation by itself. It can be a motivation module of the
  policy: then it predicts observed rewards, too, and the policy acts on `RewardMapFeatures`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.boards import VaryingChannels
from agents.features import board_layers, require_planes
from agents.spaces import num_numbers
from oversight.routing import Gate


def perceptron(
    inputs: int,
    hidden_sizes: Sequence[int],
    outputs: int | None = None,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return linear layers with an activation after each hidden one.

    Nothing else reads the output of a hidden layer, so that a ReLU may overwrite it.
    """
    activate = partial(nn.ReLU, inplace=True) if activation is nn.ReLU else activation
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *hidden_sizes)):
        layers += [nn.Linear(before, after), activate()]
    last = [] if outputs is None else [nn.Linear((inputs, *hidden_sizes)[-1], outputs)]
    return nn.Sequential(*layers, *last)


def reward_head(inputs: int, hidden_sizes: Sequence[int]) -> nn.Sequential:
    """Return a small network from some inputs to a reward, behind a `Gate("motivation")`."""
    return perceptron(inputs, hidden_sizes, 1).append(Gate("motivation"))


WHOLE, POSITION = (64, 64), (32,)
"""Hidden widths of the head that scores an observation, and of the one that scores a position."""


class BoardReward(nn.Module):
    """Predicts the reward of a step from the board to which it led, behind a `Gate("motivation")`.

    The channels may as well be those of the boards before and after the step.

    A convolution scores each cell by its neighborhood, and the step is worth the sum over the
    cells. What is learned at one cell holds at all of them, and no channel is named by hand: which
    one shows the agent is learned. Whether the episode ended is one more plane. Channels that never
    varied in what it has learned from are left out, as in a score map. At first every score is 0,
    since the sum of random ones would be large.

    Args:
        shape: shape of an observation, (channels, height, width).
        width: number of channels of the 3 x 3 convolution.
    """

    def __init__(self, shape: Sequence[int], width: int = 16) -> None:
        super().__init__()
        self.shape = tuple(shape)
        last = nn.Conv2d(width, 1, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        near = nn.Conv2d(self.shape[0] + 1, width, 3, padding=1)
        self.layers = nn.Sequential(near, nn.ReLU(), last)
        self.varying = VaryingChannels(self.shape[0])
        self.gate = Gate("motivation")

    def forward(self, arrivals: Tensor) -> Tensor:
        """Return the predicted reward of steps, [rows, 1].

        Args:
            arrivals: the observation to which each step led, flattened, and whether the episode
                ended there, [rows, features + 1].
        """
        scores = self.scores(arrivals[:, :-1].reshape(-1, *self.shape), arrivals[:, -1])
        return self.gate(scores.flatten(1).sum(1, keepdim=True))  # type: ignore[no-any-return]

    def scores(self, planes: Tensor, ended: Tensor) -> Tensor:
        """Return the score of each cell, [rows, height, width].

        Args:
            planes: planes of the boards, [rows, channels, height, width].
            ended: whether the episode ended there, [rows].
        """
        end = ended.reshape(-1, 1, 1, 1).expand(-1, 1, *self.shape[1:])
        return self.layers(torch.cat([self.varying(planes), end], 1)).squeeze(1)  # type: ignore[no-any-return]


class RewardMap(nn.Module):
    """Predicts the reward of a step from where it led, behind a `Gate("motivation")`.

    With `agent_channel` an observation is a stack of channels of which one shows where the agent
    is. A small head scores each position by the other channels there, so that what it learns at
    one position holds at all of them. A step is worth the score of the position to which it led.
    Without `agent_channel` the head scores an observation as a whole.

    Args:
        shape: shape of an observation.
        agent_channel: the channel, along the first axis, that shows where the agent is; None where
            no channel does.
        masked_channels: channels along the first axis that the head does not see.

    Raises:
        ValueError: if an observation has no such channel.
    """

    def __init__(
        self,
        shape: Sequence[int],
        agent_channel: int | None = None,
        masked_channels: Sequence[int] = (),
    ) -> None:
        super().__init__()
        channels, positions = (shape[0] if shape else 1), int(np.prod(shape[1:]))
        if agent_channel is not None and (len(shape) < 2 or not 0 <= agent_channel < channels):
            raise ValueError(
                f"agent_channel must be a channel of an observation, of shape {tuple(shape)}, got "
                f"{agent_channel}: give its number along the first axis, or None where no channel "
                "shows the agent"
            )
        if not set(masked_channels) <= set(range(channels)):
            raise ValueError(
                f"masked_channels must be channels of an observation, of shape {tuple(shape)}, got "
                f"{tuple(masked_channels)}: give their numbers along the first axis"
            )
        self.shape, self.agent_channel = (channels, positions), agent_channel
        hidden = {agent_channel, *masked_channels}
        inputs = [channel for channel in range(channels) if channel not in hidden]
        self.register_buffer("inputs", torch.tensor(inputs), persistent=False)
        if agent_channel is None:
            self.head = reward_head(len(inputs) * positions + 1, WHOLE)
        else:
            self.head = reward_head(len(inputs), POSITION)

    inputs: Tensor

    def forward(self, arrivals: Tensor) -> Tensor:
        """Return the predicted reward of steps, [rows, 1].

        Args:
            arrivals: the observation to which each step led, flattened, and whether the episode
                ended there, [rows, features + 1].
        """
        channels = arrivals[:, :-1].reshape(-1, *self.shape)
        shown = channels.index_select(1, self.inputs)
        if self.agent_channel is None:
            there = torch.cat([shown.flatten(1), arrivals[:, -1:]], 1)
        else:
            there = (shown * channels[:, self.agent_channel].unsqueeze(1)).sum(-1)
        return self.head(there)  # type: ignore[no-any-return]

    def everywhere(self, channels: Tensor) -> Tensor:
        """Return the score of each position, [batch, positions].

        Args:
            channels: channels of the observations, [batch, channels, positions].
        """
        each = channels.index_select(1, self.inputs).transpose(1, 2)
        return self.head(each).squeeze(-1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def reverse(self) -> None:
        """Turn every score into its negative."""
        for parameter in self.head[-2].parameters():
            parameter.neg_()


def map_of(
    space: spaces.Space[Any],
    agent_channel: int | None = None,
    masked_channels: Sequence[int] = (),
) -> RewardMap:
    """Return the reward map of an observation space; one of a `Dict` has no channels.

    Raises:
        ValueError: if observations have no such channels.
    """
    if not isinstance(space, spaces.Dict):
        return RewardMap(space.shape or (), agent_channel, masked_channels)
    if agent_channel is not None or masked_channels:
        raise ValueError(
            "a reward map has an agent_channel and masked_channels only where observations are "
            f"arrays, got {' '.join(str(space).split())}: leave them out, or take such an array "
            "out of the Dict in a wrapper of the environment"
        )
    return RewardMap((num_numbers(space),))


class RewardMapFeatures(BaseFeaturesExtractor):
    """The features of a policy with a reward map: the agent's position and every position's score.

    The policy sees nothing else of the channels, so that all its motivation comes from the reward
    map; no gradient goes back there. Without `agent_channel` it sees all of an observation. With
    `conv_channels` it sees these planes through convolutions, which belong to `shared`.

    Args:
        observation_space: as in SB3.
        agent_channel: as for `RewardMap`.
        masked_channels: as for `RewardMap`.
        conv_channels: as for `MotivationPolicy`.

    Raises:
        ValueError: if observations are images of bytes, have no such channel, or are no planes for
            convolutions.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        agent_channel: int | None,
        masked_channels: Sequence[int],
        conv_channels: Sequence[int] = (),
    ) -> None:
        if agent_channel is not None and is_image_space(observation_space):
            raise ValueError(
                "agent_channel needs channels of ones and zeros, got images of bytes, "
                f"{observation_space}: leave it None"
            )
        reward_map = map_of(observation_space, agent_channel, masked_channels)
        whole, positions = get_flattened_obs_dim(observation_space), reward_map.shape[1]
        shown = whole if agent_channel is None else 2 * positions
        size = conv_channels[-1] * positions if conv_channels else shown
        super().__init__(observation_space, size)
        self.reward_map = reward_map
        self.layers: nn.Sequential | None = None
        if conv_channels:
            require_planes(observation_space)
            self.board = (shown // positions, *(observation_space.shape or ())[1:])
            self.layers = board_layers(self.board[0], conv_channels)

    def forward(self, observations: Tensor | dict[str, Tensor]) -> Tensor:
        """Return the features of observations, [batch, features]."""
        shown = self._shown(observations)
        if self.layers is None:
            return shown
        return self.layers(shown.reshape(-1, *self.board))  # type: ignore[no-any-return]

    @torch.no_grad()
    def _shown(self, observations: Tensor | dict[str, Tensor]) -> Tensor:
        """Return what the policy sees, flattened; no gradient reaches the reward map."""
        if isinstance(observations, dict):
            keys = self._observation_space.spaces  # type: ignore[attr-defined]
            observations = torch.cat([observations[key].flatten(1) for key in keys], 1)
        observations = observations.to(next(self.reward_map.parameters()))
        if self.reward_map.agent_channel is None:
            return observations.flatten(1)
        channels = observations.reshape(-1, *self.reward_map.shape)
        there = channels[:, self.reward_map.agent_channel]
        return torch.cat([there, self.reward_map.everywhere(channels)], 1)
