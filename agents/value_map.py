"""The appraiser: a motivation module that says what each place of an observation is worth."""

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

WHOLE, PLACE = (64, 64), (32,)
"""Hidden widths of what judges an observation, and of what judges a place: 25 of them a board."""


class Appraiser(nn.Module):
    """Judges where a step led, behind a `Gate("motivation")`.

    With `place` an observation is a stack of planes of which one says where the agent is. A small
    network judges each place by the other planes there, so that what it learns of one place holds
    for all of them. A step is worth what the place is worth to which it led. Without `place` the
    network judges an observation as a whole.

    Args:
        shape: of an observation.
        place: the plane, along the first axis, that says where the agent is; None without planes.
        blind: parts along the first axis that are not judged.

    Raises:
        ValueError: if an observation has no such plane.
    """

    def __init__(
        self, shape: Sequence[int], place: int | None = None, blind: Sequence[int] = ()
    ) -> None:
        super().__init__()
        parts, places = (shape[0] if shape else 1), int(np.prod(shape[1:]))
        if place is not None and (len(shape) < 2 or not 0 <= place < parts):
            raise ValueError(
                f"place must be a plane of an observation, of shape {tuple(shape)}, got {place}: "
                "give its number along the first axis, or None where no plane says it"
            )
        self.shape, self.place = (parts, places), place
        judged = [part for part in range(parts) if part != place and part not in blind]
        self.register_buffer("judged", torch.tensor(judged), persistent=False)
        if place is None:
            self.network = judge(len(judged) * places + 1, WHOLE)
        else:
            self.network = judge(len(judged), PLACE)

    judged: Tensor

    def forward(self, arrivals: Tensor) -> Tensor:
        """Return the worth of steps, [rows, 1].

        Args:
            arrivals: where they led, and whether the episode ended there, [rows, features + 1].
        """
        planes = arrivals[:, :-1].reshape(-1, *self.shape)
        judged = planes.index_select(1, self.judged)
        if self.place is None:
            there = torch.cat([judged.flatten(1), arrivals[:, -1:]], 1)
        else:
            there = (judged * planes[:, self.place].unsqueeze(1)).sum(-1)
        return self.network(there)  # type: ignore[no-any-return]

    def everywhere(self, planes: Tensor) -> Tensor:
        """Return what each place is worth, [batch, places], of planes [batch, planes, places]."""
        each = planes.index_select(1, self.judged).transpose(1, 2)
        return self.network(each).squeeze(-1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def reverse(self) -> None:
        """Turn every worth into its negative."""
        for parameter in self.network[-2].parameters():
            parameter.neg_()


class AppraisedFeatures(BaseFeaturesExtractor):
    """What a policy sees that has an appraiser: where it is, and what every place is worth.

    It sees nothing else of the planes, so that all it wants comes from the appraiser; no gradient
    goes back there. Without `place` it sees all of an observation.

    Args:
        observation_space: as in SB3.
        place: as for `Appraiser`.
        blind: as for `Appraiser`.

    Raises:
        ValueError: if the planes are no planes, or there is none of that number.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], place: int | None, blind: Sequence[int]
    ) -> None:
        if place is not None and is_image_space(observation_space):
            raise ValueError(
                f"place needs planes of ones and zeros, got images of bytes, {observation_space}: "
                "leave it None"
            )
        appraiser = Appraiser(observation_space.shape or (), place, blind)
        whole, places = get_flattened_obs_dim(observation_space), appraiser.shape[1]
        super().__init__(observation_space, whole if place is None else 2 * places)
        self.appraiser = appraiser

    @torch.no_grad()
    def forward(self, observations: Tensor) -> Tensor:
        """Return the features of observations, [batch, features]."""
        observations = observations.to(next(self.appraiser.parameters()))
        if self.appraiser.place is None:
            return observations.flatten(1)
        planes = observations.reshape(-1, *self.appraiser.shape)
        there = planes[:, self.appraiser.place]
        return torch.cat([there, self.appraiser.everywhere(planes)], 1)


def judge(inputs: int, hidden_sizes: Sequence[int]) -> nn.Sequential:
    """Return a small network from some inputs to a worth, behind a `Gate("motivation")`."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *hidden_sizes)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden_sizes[-1], 1), Gate("motivation"))
