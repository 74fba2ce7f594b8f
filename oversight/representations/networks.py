"""Networks whose code is split into parts: an encoder, decoders, and a certificate for each part.

A gate stands between the code and the decoder, with a target for each part, so that an image
teaches the encoder only through the parts that its route passes. A certificate reads one part,
detached: it learns what the part tells and does not affect it.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from oversight.representations.config import CLASSES, RunConfig
from oversight.routing import Gate, RouteTable

UNLABELED = "unlabeled"
"""The route of images without a label, which teach all parts."""


def target(part: int) -> str:
    """Return the name of a part of the code as a target of routing."""
    return f"part_{part}"


def route_table(config: RunConfig, *, routed: bool) -> RouteTable:
    """Return the weight of each route at each part: a route per group of classes, and unlabeled.

    A group that is routed passes its own part alone. In an unrouted table all weights are 1.

    >>> route_table(RunConfig(), routed=True).as_dict()["0-4"]
    {'part_0': 1.0, 'part_1': 0.0}
    """
    chosen = range(config.parts) if config.routed_groups is None else config.routed_groups
    rows = {
        name: {
            target(part): float(not (routed and group in chosen) or part == group)
            for part in range(config.parts)
        }
        for group, name in enumerate(config.group_names)
    }
    return RouteTable({**rows, UNLABELED: {target(part): 1.0 for part in range(config.parts)}})


class SplitNetwork(nn.Module):
    """An encoder, a gate on the parts of its code, decoders, and a certificate for each part.

    Args:
        encoder: maps images [batch, pixels] to a code [batch, *positions, code_size].
        make_head: makes a decoder or a certificate for a code of a size, which returns
            [batch, outputs].
        part_sizes: the dimensions of each part of the code.
        num_decoders: 1, or one decoder for each part.
    """

    def __init__(
        self,
        encoder: nn.Module,
        make_head: Callable[[int], nn.Module],
        part_sizes: Sequence[int],
        num_decoders: int = 1,
    ) -> None:
        super().__init__()
        self.part_sizes = tuple(part_sizes)
        self.encoder = encoder
        self.gate = Gate(None, **{target(part): size for part, size in enumerate(part_sizes)})
        code_size = sum(part_sizes)
        self.decoders = nn.ModuleList([make_head(code_size) for _ in range(num_decoders)])
        self.certificates = nn.ModuleList([make_head(size) for size in part_sizes])

    def encode(self, images: Tensor) -> Tensor:
        """Return the code, [batch, *positions, code_size]."""
        code: Tensor = self.encoder(images)
        return code

    def decode(self, code: Tensor, group: Tensor) -> Tensor:
        """Return what the decoder makes of the gated code, [batch, outputs].

        Args:
            code: the code of all images.
            group: the group of each, [batch] int64, which chooses among separate decoders.
        """
        gated = self.gate(code)
        if len(self.decoders) == 1:
            output: Tensor = self.decoders[0](gated)
            return output
        rows = [(group == number).nonzero()[:, 0] for number in range(len(self.decoders))]
        outputs = [decoder(gated[own]) for decoder, own in zip(self.decoders, rows, strict=True)]
        return torch.cat(outputs)[torch.cat(rows).argsort()]

    def certify(self, code: Tensor) -> list[Tensor]:
        """Return what each certificate makes of its part of the detached code, [batch, outputs]."""
        parts = torch.split(code.detach(), list(self.part_sizes), -1)
        return [
            certificate(part) for certificate, part in zip(self.certificates, parts, strict=True)
        ]


def build_network(config: RunConfig, shape: tuple[int, int]) -> SplitNetwork:
    """Return a new network for images of a shape; its weights come from PyTorch's generator."""
    num_decoders = config.parts if config.separate_decoders else 1
    if config.task == "classify":
        encoder = convolutions(config.hidden_sizes, config.code_size, shape)
        return SplitNetwork(encoder, PooledLinear, config.part_sizes, num_decoders)
    pixels = shape[0] * shape[1]
    encoder = perceptron((pixels, *config.hidden_sizes, config.code_size), bias=False)

    def decoder(size: int) -> nn.Module:
        return perceptron((size, *reversed(config.hidden_sizes), pixels))

    return SplitNetwork(encoder, decoder, config.part_sizes, num_decoders)


def perceptron(sizes: Sequence[int], *, bias: bool = True) -> nn.Sequential:
    """Return linear layers with ReLU between them.

    Args:
        sizes: widths from the input to the output.
        bias: whether the last layer has a bias; the paper's encoder has none.
    """
    layers: list[nn.Module] = []
    for place, (inputs, outputs) in enumerate(pairwise(sizes), start=2):
        is_last = place == len(sizes)
        layers += [nn.Linear(inputs, outputs, bias=bias or not is_last), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class ChannelsLast(nn.Module):
    """Move the channels behind the positions, where the slices of a gate are."""

    def forward(self, features: Tensor) -> Tensor:
        """Return [batch, height, width, channels]."""
        return features.movedim(1, -1)


def convolutions(widths: Sequence[int], code_size: int, shape: tuple[int, int]) -> nn.Sequential:
    """Return convolutions that map images [batch, pixels] to [batch, height, width, code_size].

    Hidden convolutions are normalized within each image; statistics of a batch, as in the paper's
    ResNet, would let the images of one group change the code of all others. Without normalization
    the parts outbid each other: what a part says about the images of others is never corrected, so
    that the code grows without bound. The last one has no bias, as in the shipped code.

    Args:
        widths: channels of the hidden convolutions; all but the first halve the resolution.
        code_size: channels of the code.
        shape: height and width of an image.
    """
    layers: list[nn.Module] = [nn.Unflatten(1, (1, *shape))]
    for place, (inputs, outputs) in enumerate(pairwise((1, *widths))):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=1 + (place > 0), padding=1)
        layers += [convolution, nn.GroupNorm(1, outputs), nn.ReLU()]
    layers.append(nn.Conv2d(widths[-1], code_size, 3, padding=1, bias=False))
    return nn.Sequential(*layers, ChannelsLast())


class PooledLinear(nn.Module):
    """Mean over positions, then a linear map to the classes, as in the paper.

    Args:
        size: channels of the code that it reads.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, CLASSES)

    def forward(self, code: Tensor) -> Tensor:
        """Return the logits of the classes, [batch, classes]."""
        logits: Tensor = self.linear(code.mean((1, 2)))
        return logits
