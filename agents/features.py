"""Features: what lies between an observation and the motivation modules.

- `default_features` chooses SB3's feature extractor by the observation space.
- `BoardCNN` is a convolution over a stack of planes, which is too small for SB3's `NatureCNN`.
- `CombinedFeatures` is SB3's `CombinedExtractor`, which also takes images too small for a CNN.
- `masked_features` numbers the features that show some channels or keys of an observation.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from torch import Tensor, nn

SMALLEST = 36
"""The smallest height and width of an image on which each filter of `NatureCNN` has a place."""


def suits_cnn(space: spaces.Space[Any], normalized: bool = False) -> bool:
    """Return whether observations are images, channels first, that `NatureCNN` can read.

    Args:
        space: space of a single observation, or of a key of it.
        normalized: whether any array of three axes is an image, as with SB3's
            `normalize_images=False`.
    """
    image = is_image_space(space, normalized_image=normalized)
    return image and min((space.shape or (0,))[1:]) >= SMALLEST


class CombinedFeatures(CombinedExtractor):
    """The features of a `Dict` as SB3's `CombinedExtractor` has them, small images flattened.

    SB3 reads every image by `NatureCNN`, which fails on one that is smaller than 36 x 36.

    Args:
        observation_space: as in SB3, a `Dict`.
        cnn_output_dim: as in SB3.
        normalized_image: as in SB3.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        cnn_output_dim: int = 256,
        normalized_image: bool = False,
    ) -> None:
        seen = {
            key: part if suits_cnn(part, normalized_image) else _without_axes(part)
            for key, part in observation_space.spaces.items()
        }
        super().__init__(spaces.Dict(seen), cnn_output_dim, normalized_image)
        self._observation_space = observation_space


def board_layers(inputs: int, channels: Sequence[int]) -> nn.Sequential:
    """Return 3 x 3 convolutions with an activation after each, and flatten their last planes.

    Padding by zeros keeps the height and the width. PyTorch's own convolution in its default layout
    is the fastest one on a CPU: on 5 planes of 9 x 9 it takes a third of the time of a sum of
    matrix products, and a tenth of that of `unfold`.

    Args:
        inputs: number of planes.
        channels: number of channels of each convolution.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *channels)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten())


class BoardCNN(BaseFeaturesExtractor):
    """The features of a board: 3 x 3 convolutions over its planes that keep its height and width.

    It reads stacks of planes, channels first, such as those of shape (5, 9, 9) of a grid world.

    Args:
        observation_space: as in SB3, of arrays of three axes.
        channels: number of channels of each convolution.

    Raises:
        ValueError: if observations are no planes, or `NatureCNN` reads them.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], channels: Sequence[int] = (16, 16)
    ) -> None:
        require_planes(observation_space)
        planes, height, width = observation_space.shape or ()
        super().__init__(observation_space, channels[-1] * height * width)
        self.layers = board_layers(planes, channels)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the features of observations, [batch, channels * height * width]."""
        return self.layers(observations)  # type: ignore[no-any-return]


def is_planes(space: spaces.Space[Any]) -> bool:
    """Return whether observations are stacks of planes: arrays of three axes of numbers."""
    return isinstance(space, spaces.Box | spaces.MultiBinary) and len(space.shape or ()) == 3


def require_planes(space: spaces.Space[Any]) -> None:
    """Raise a ValueError for observations that `BoardCNN` does not read."""
    if not is_planes(space):
        raise ValueError(
            "conv_channels need observations that are stacks of planes, arrays of shape (channels, "
            f"height, width), got {' '.join(str(space).split())}: leave them out"
        )
    if suits_cnn(space):
        raise ValueError(
            f"conv_channels are for boards too small for SB3's NatureCNN, got {space}: leave them "
            "out, so that NatureCNN reads these images"
        )


def _without_axes(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Return a `Box` as a space of vectors, which is no image, and other spaces as they are."""
    if not isinstance(space, spaces.Box):
        return space
    return spaces.Box(space.low.ravel(), space.high.ravel(), dtype=space.dtype.type)


def default_features(
    space: spaces.Space[Any], normalized: bool = False, masked: bool = False
) -> type[BaseFeaturesExtractor]:
    """Return the class of the features of an observation space.

    Args:
        space: space of a single observation.
        normalized: as for `suits_cnn`.
        masked: whether some channels are masked, which a CNN would mix with the others.
    """
    if isinstance(space, spaces.Dict):
        return CombinedFeatures
    return NatureCNN if suits_cnn(space, normalized) and not masked else FlattenExtractor


def masked_features(
    masked: Sequence[int | str], space: spaces.Space[Any], extractor: BaseFeaturesExtractor
) -> list[int]:
    """Return the numbers of the features that show some parts of an observation.

    Args:
        masked: channels along the first axis of an array, or keys of a `Dict`.
        space: space of a single observation.
        extractor: its features.

    Raises:
        ValueError: if an observation has no such parts, or its features mix them.
    """
    if not masked:
        return []
    if isinstance(space, spaces.Dict):
        return _of_keys(masked, space, extractor)
    shape = space.shape or ()
    numbers = [each for each in masked if isinstance(each, int)]
    if (
        not shape
        or np.prod(shape) != extractor.features_dim
        or len(numbers) < len(masked)
        or not all(0 <= part < shape[0] for part in numbers)
    ):
        raise ValueError(
            "masked_channels must be channels along the first axis of an observation of shape "
            f"{shape} that is flattened for the network, got {tuple(masked)}: give "
            "numbers from 0 to its length - 1"
        )
    parts = np.arange(extractor.features_dim).reshape(shape[0], -1)
    return parts[numbers].ravel().tolist()


def _of_keys(
    masked: Sequence[int | str], space: spaces.Dict, extractor: BaseFeaturesExtractor
) -> list[int]:
    """Return the numbers of the features of some keys of a `Dict`."""
    if not isinstance(extractor, CombinedExtractor) or not set(masked) <= set(space.spaces):
        raise ValueError(
            f"masked_channels must be keys of a Dict observation, here of {sorted(space.spaces)}, "
            f"that SB3's CombinedExtractor reads, got {tuple(masked)}: give such keys"
        )
    numbers, first = [], 0
    for key, part in extractor.extractors.items():
        width = get_flattened_obs_dim(space.spaces[key])
        if isinstance(part, NatureCNN):
            width = part.features_dim
        numbers += list(range(first, first + width)) if key in masked else []
        first += width
    return numbers
