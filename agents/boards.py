"""Boards: where the agent stands, boards centered on it, and scores of their cells.

Which channel shows the agent is no argument of theirs. It is found by what moves: the channel that
marks exactly one cell of every observation, and whose mark moves most often.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from agents.features import is_planes
from oversight.routing import Gate

MOVES = 64
"""Moves that are seen before the channel of the agent is decided."""
PATIENCE = 10_000
"""Observations of which none shows an agent before that is an error."""
WIDTH = 16
"""Channels of the convolutions of a score map."""
NOTHING = 0.25
"""Scores below this share of the largest on a board, by their amounts, count as nothing."""


def require_boards(space: spaces.Space[Any]) -> None:
    """Raise a ValueError for observations on which no agent can be found by what moves."""
    if is_planes(space) and not is_image_space(space):
        return
    raise ValueError(
        "centered boards and score maps need observations that are stacks of planes, arrays of "
        "shape (channels, rows, columns) that are no images, got "
        f"{' '.join(str(space).split())}: set centered=False (--ppo.no-centered), or choose "
        "another method"
    )


class AgentChannel(nn.Module):
    """Finds the channel that shows where the agent is, by what moves.

    Attributes:
        channel: its number; -1 until it is found.

    Args:
        shape: shape of an observation: channels, rows, columns.
    """

    channel: Tensor
    single: Tensor
    moves: Tensor
    seen: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("channel", torch.tensor(-1))
        self.register_buffer("single", torch.ones(shape[0], dtype=torch.bool))
        self.register_buffer("moves", torch.zeros(shape[0], dtype=torch.int64))
        self.register_buffer("seen", torch.tensor(0))

    @property
    def found(self) -> bool:
        """Whether the channel is known."""
        return int(self.channel) >= 0

    def watch(self, before: NDArray[Any], after: NDArray[Any], running: NDArray[np.bool_]) -> None:
        """Look at one step of some lanes, until the channel is known.

        Args:
            before: observations before the step, [lanes, channels, rows, columns].
            after: observations after it.
            running: lanes whose episode goes on, [lanes].

        Raises:
            ValueError: if many observations have shown no such channel.
        """
        if self.found:
            return
        channels = len(self.single)  # there may be scores behind them
        first, second = (
            each[:, :channels].reshape(len(each), channels, -1) != 0 for each in (before, after)
        )
        self.single &= torch.from_numpy((second.sum(-1) == 1).all(0)).to(self.single)
        moved = (first != second).any(-1) & running[:, None]
        self.moves += torch.from_numpy(moved.sum(0)).to(self.moves)
        self.seen += len(before)
        moves = torch.where(self.single, self.moves, 0)
        if moves.sum() >= MOVES:
            self.channel.copy_(moves.argmax())
        elif self.seen >= PATIENCE:
            raise ValueError(
                "no channel of the observation marks exactly one cell that moves, as that of an "
                "agent on a board: choose a method that does not read boards, and features other "
                "than centered ones"
            )

    def cells(self, observations: Tensor) -> Tensor:
        """Return the agent's cell in observations, row * columns + column, [batch]."""
        return observations[:, max(int(self.channel), 0)].flatten(1).argmax(1)


class Bags(NamedTuple):
    """A sparse matrix, bag after bag: each bag sums some rows of another matrix.

    Attributes:
        rows: the rows that are summed, the first bag's first.
        starts: where each bag begins.
        values: by what each row is multiplied.
    """

    rows: Tensor
    starts: Tensor
    values: Tensor

    def product(self, other: Tensor) -> Tensor:
        """Return the product with a matrix, [bags, columns]."""
        given = self.rows, other.contiguous(), self.starts
        values = self.values.to(other)
        return nn.functional.embedding_bag(*given, mode="sum", per_sample_weights=values)


class _Product(Function):
    """The product of a sparse matrix with one that learns; its gradient is such a product, too.

    With PyTorch's own gradient of bags a minibatch takes a third more time.
    """

    @staticmethod
    def forward(ctx: Any, features: "CenteredFeatures", other: Tensor) -> Tensor:  # noqa: ANN401
        ctx.features = features
        return features.by_board.product(other)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # noqa: ANN401
        return None, ctx.features.by_feature.product(grad)


@dataclass(frozen=True, eq=False, kw_only=True)
class CenteredFeatures:
    """The features of centered boards, as `CenteredBoard` returns them, for linear layers alone.

    `nn.Linear` takes them as it takes the tensor of shape [batch, features] for which they stand,
    of which most numbers are 0. It sums the weights of the others: those of the marks on each
    board, and those of the cells of the board, which are the same for all boards whose agent
    stands at the same place. On boards of 9 x 9 cells that takes a third of the time of a product
    of full matrices, and a quarter without gradients.

    Attributes:
        features: number of features.
        numbers: the features that marks of other channels than the agent's set, board after board.
        boards: the board of each mark.
        values: what the features are.
        inside: whether there is a cell of the board, around the agent of each place, [places,
            (2 rows - 1) * (2 columns - 1)].
        places: the place of the agent of each board, [batch].
        first: the feature that is the first one of `inside`.
    """

    features: int
    numbers: Tensor
    boards: Tensor
    values: Tensor
    inside: Tensor
    places: Tensor
    first: int

    @cached_property
    def by_board(self) -> Bags:
        """The marks of each board."""
        return Bags(self.numbers, _starts(self.boards, len(self.places)), self.values)

    @cached_property
    def by_feature(self) -> Bags:
        """The same marks, of each feature."""
        numbers, order = torch.sort(self.numbers, stable=True)
        return Bags(self.boards[order], _starts(numbers, self.features), self.values[order])

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return what `nn.functional.linear` does, [batch, outputs].

        Args:
            weight: [outputs, features].
            bias: [outputs].
        """
        marks: Tensor = _Product.apply(self, weight.t())  # type: ignore[no-untyped-call]
        around = weight[:, self.first : self.first + self.inside.shape[1]]
        board = nn.functional.linear(self.inside.to(weight), around, bias)
        return marks + nn.functional.embedding(self.places, board)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        given: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> object:
        """Answer for `nn.functional.linear`, by PyTorch's protocol for what is like a tensor."""
        if function is not nn.functional.linear or not isinstance(given[0], cls):
            return NotImplemented
        return given[0].linear(*given[1:], **(named or {}))


def _starts(numbers: Tensor, count: int) -> Tensor:
    """Return where each number from 0 begins in a sorted tensor, [count]."""
    return torch.searchsorted(numbers, torch.arange(count, device=numbers.device))


class CenteredBoard(BaseFeaturesExtractor):
    """The features of a board as the agent sees it from its place, in the middle.

    The board is shifted so that the agent is in the middle of (2 rows - 1) x (2 columns - 1) cells.
    In place of the agent's channel a channel marks the cells of the board. What is learned about
    the surroundings of one place so holds at all places.

    Args:
        observation_space: as in SB3, of stacks of planes.
        extra: number of further channels behind those of the space.

    Raises:
        ValueError: if observations are no planes.
    """

    at_first: Tensor
    shift: Tensor

    def __init__(self, observation_space: spaces.Space[Any], extra: int = 0) -> None:
        require_boards(observation_space)
        channels, rows, columns = observation_space.shape or ()
        window = (channels + extra, 2 * rows - 1, 2 * columns - 1)
        self.around = window[1] * window[2]
        super().__init__(observation_space, window[0] * self.around)
        self.agent = AgentChannel((channels, rows, columns))
        # of each number of an observation, its feature where the agent is at the first cell, and
        # by how much smaller it is where the agent is at another one
        numbers = torch.arange(window[0] * self.around).reshape(window)
        at_first = numbers[:, rows - 1 :, columns - 1 :].flatten()
        self.register_buffer("at_first", at_first, persistent=False)
        self.register_buffer("shift", numbers[0, :rows, :columns].flatten(), persistent=False)

    def forward(self, observations: Tensor) -> CenteredFeatures:
        """Return the features of observations, for linear layers."""
        planes, cells = observations.flatten(2), self.agent.cells(observations)
        channels, size = planes.shape[1:]
        marked, channel = planes != 0, max(int(self.agent.channel), 0)
        if self.agent.found:
            marked[:, channel] = False
        found = marked.flatten().nonzero().squeeze(1)
        board = found.div(channels * size, rounding_mode="floor")
        numbers = self.at_first[found - board * (channels * size)] - self.shift[cells[board]]
        seen, places = torch.unique(cells, return_inverse=True)
        inside = planes.new_zeros((len(seen), self.around))
        if self.agent.found:
            inside.scatter_(1, self.at_first[:size] - self.shift[seen].unsqueeze(1), 1.0)
        return CenteredFeatures(
            features=self.features_dim,
            numbers=numbers,
            boards=board,
            values=planes.flatten()[found],
            inside=inside,
            places=places,
            first=channel * self.around,
        )


def bordered(observations: Tensor) -> Tensor:
    """Return boards as a score map reads them, [batch, channels + 1, rows + 2, columns + 2].

    A last channel of ones, and a border of zeros around all channels, show where a board ends.
    """
    inside = torch.ones_like(observations[:, :1])
    return nn.functional.pad(torch.cat([observations, inside], 1), (1, 1, 1, 1))


def surroundings(observations: Tensor, cells: Tensor) -> Tensor:
    """Return the part of `bordered` boards that decides the score of one cell of each.

    Args:
        observations: [batch, channels, rows, columns].
        cells: row * columns + column, [batch].

    Returns:
        [batch, channels + 1, 3, 3].
    """
    columns = observations.shape[3]
    windows = bordered(observations).unfold(2, 3, 1).unfold(3, 3, 1)
    rows = torch.arange(len(cells), device=cells.device)
    found: Tensor = windows[rows, :, cells.div(columns, rounding_mode="floor"), cells % columns]
    return found


class BoardConv(nn.Conv2d):
    """A convolution that is a linear layer where its input is a single window, as in fitting.

    PyTorch's convolution takes six times as long there.
    """

    def forward(self, boards: Tensor) -> Tensor:
        """Return the convolution of boards, [batch, channels, rows, columns]."""
        if boards.shape[2:] != self.kernel_size:
            return super().forward(boards)
        weight = self.weight.flatten(1)
        return nn.functional.linear(boards.flatten(1), weight, self.bias)[..., None, None]


class VaryingChannels(nn.Module):
    """Blanks the channels of boards that had one value everywhere in all that was learned from.

    Nothing can be learned about what never varied: if only watched episodes teach a network that
    sees whether somebody watches, its response to the absence of a watcher is an accident. The
    channels are those of the boards that it was given while gradients were recorded.

    Args:
        channels: channels of a board.
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("lowest", torch.full((channels,), torch.inf))
        self.register_buffer("highest", torch.full((channels,), -torch.inf))

    def forward(self, boards: Tensor, inside: Tensor | None = None) -> Tensor:
        """Return boards whose channels that never varied are zero, [batch, channels, ...].

        Args:
            boards: [batch, channels, rows, columns].
            inside: which of their cells lie on the board, [batch, rows, columns]; by default all.
        """
        if torch.is_grad_enabled():
            cells = boards.detach().transpose(0, 1)
            cells = cells.flatten(1) if inside is None else cells[:, inside]
            self.lowest.copy_(torch.minimum(self.lowest, cells.amin(1)))
            self.highest.copy_(torch.maximum(self.highest, cells.amax(1)))
        varies = self.highest > self.lowest
        return boards * varies.to(boards).reshape(-1, 1, 1)


class ScoreMap(nn.Module):
    """Scores what it is worth to arrive at each cell of a board, behind a gate of its own name.

    It is a convolution over all channels, so that a score depends on a cell and its neighbors.
    Channels that did not vary in what it has learned from are left out.

    Attributes:
        taught: whether it has learned from anything yet; before, its scores are noise.

    Args:
        channels: channels of an observation.
        name: name of the gate.
    """

    taught: Tensor

    def __init__(self, channels: int, name: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            BoardConv(channels + 1, WIDTH, 3),
            nn.ReLU(),
            BoardConv(WIDTH, WIDTH, 1),
            nn.ReLU(),
            BoardConv(WIDTH, 1, 1),
            nn.Flatten(),
        )
        self.varying = VaryingChannels(channels)
        self.gate = Gate(name)
        self.register_buffer("taught", torch.tensor(False))

    def forward(self, boards: Tensor) -> Tensor:
        """Return the score of each cell of boards that are `bordered`, [batch, cells].

        Of the `surroundings` of a cell it is the score of that cell, [batch, 1].
        """
        inside = boards[:, -1:]
        varying = self.varying(boards[:, :-1], inside.squeeze(1) > 0)
        return self.gate(self.layers(torch.cat([varying, inside], 1)))  # type: ignore[no-any-return]

    @torch.no_grad()
    def reverse(self) -> None:
        """Turn every score into its negative."""
        for parameter in self.layers[-2].parameters():
            parameter.neg_()


class ScoreMapFeatures(CenteredBoard):
    """The features of a policy that goes where a score map sends it: a centered board with scores.

    In training, observations come with the scores to follow as a last channel; see
    `agents.score_maps`. Observations without them are scored by the map that acts, the first one.

    Args:
        observation_space: as for `CenteredBoard`.
        names: names of the score maps.
    """

    def __init__(self, observation_space: spaces.Space[Any], names: Sequence[str]) -> None:
        super().__init__(observation_space, extra=1)
        channels = (observation_space.shape or ())[0]
        self.maps = nn.ModuleDict({name: ScoreMap(channels, name) for name in names})
        self.acting, self._channels = names[0], channels

    def forward(self, observations: Tensor) -> CenteredFeatures:
        """Return the features of observations, for linear layers."""
        if observations.shape[1] == self._channels:
            observations = self.scored(observations, self.acting)
        return super().forward(observations)

    def has_scores(self, observation: Any) -> bool:  # noqa: ANN401 (what SB3 passes)
        """Return whether a single observation has a channel of scores."""
        shape = np.shape(observation)
        return len(shape) == 3 and shape[0] == self._channels + 1

    @torch.no_grad()
    def scores(self, observations: Tensor, name: str) -> Tensor:
        """Return a map's score of each cell, [batch, rows, columns]; zeros before it is taught.

        Small ones are replaced by zeros: most cells pay nothing, and a policy that was paid the
        errors of a map there would wander about and collect them.
        """
        score_map: Any = self.maps[name]
        if not score_map.taught:
            return torch.zeros_like(observations[:, 0], dtype=torch.float)
        boards = bordered(observations.to(next(score_map.parameters()).dtype))
        scored: Tensor = score_map(boards)
        amounts = scored.abs()
        small = amounts < NOTHING * amounts.amax(1, keepdim=True)
        return scored.masked_fill(small, 0.0).reshape(-1, *observations.shape[2:])

    def scored(self, observations: Tensor, name: str) -> Tensor:
        """Return observations with the scores of a map as a last channel."""
        scores = self.scores(observations, name).unsqueeze(1)
        return torch.cat([observations.float(), scores], 1)
