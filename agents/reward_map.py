"""The reward map: a motivation module that scores each position of an observation."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from oversight.routing import Gate

WHOLE, POSITION = (64, 64), (32,)
"""Hidden widths of the head that scores an observation, and of the one that scores a position."""


class RewardMap(nn.Module):
    """Predicts the reward of a step from where it led, behind a `Gate("motivation")`.

    With `agent_channel` an observation is a stack of channels of which one shows where the agent
    is. A small head scores each position by the other channels there, so that what it learns at
    one position holds at all of them. A step is worth the score of the position to which it led.
    Without `agent_channel` the head scores an observation as a whole.

    Args:
        shape: of an observation.
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
            arrivals: where they led, and whether the episode ended there, [rows, features + 1].
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
            channels: of observations, [batch, channels, positions].
        """
        each = channels.index_select(1, self.inputs).transpose(1, 2)
        return self.head(each).squeeze(-1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def reverse(self) -> None:
        """Turn every score into its negative."""
        for parameter in self.head[-2].parameters():
            parameter.neg_()


class RewardMapFeatures(BaseFeaturesExtractor):
    """The features of a policy with a reward map: the agent's position and every position's score.

    The policy sees nothing else of the channels, so that all its motivation comes from the reward
    map; no gradient goes back there. Without `agent_channel` it sees all of an observation.

    Args:
        observation_space: as in SB3.
        agent_channel: as for `RewardMap`.
        masked_channels: as for `RewardMap`.

    Raises:
        ValueError: if observations are images of bytes, or have no such channel.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        agent_channel: int | None,
        masked_channels: Sequence[int],
    ) -> None:
        if agent_channel is not None and is_image_space(observation_space):
            raise ValueError(
                "agent_channel needs channels of ones and zeros, got images of bytes, "
                f"{observation_space}: leave it None"
            )
        reward_map = RewardMap(observation_space.shape or (), agent_channel, masked_channels)
        whole, positions = get_flattened_obs_dim(observation_space), reward_map.shape[1]
        super().__init__(observation_space, whole if agent_channel is None else 2 * positions)
        self.reward_map = reward_map

    @torch.no_grad()
    def forward(self, observations: Tensor) -> Tensor:
        """Return the features of observations, [batch, features]."""
        observations = observations.to(next(self.reward_map.parameters()))
        if self.reward_map.agent_channel is None:
            return observations.flatten(1)
        channels = observations.reshape(-1, *self.reward_map.shape)
        there = channels[:, self.reward_map.agent_channel]
        return torch.cat([there, self.reward_map.everywhere(channels)], 1)


def reward_head(inputs: int, hidden_sizes: Sequence[int]) -> nn.Sequential:
    """Return a small network from some inputs to a reward, behind a `Gate("motivation")`."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *hidden_sizes)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden_sizes[-1], 1), Gate("motivation"))
