"""The layers of a GPT: attention, MLPs, and the modules that are added to be removed.

Shape suffixes: b batch, h heads, t tokens, d width, c features of a head, f hidden units.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.shapes import (
    ATTENTION,
    CORE,
    EXPANSION,
    HIDDEN,
    MLP,
    ORIGINAL,
    ORIGINAL_PARAMETERS,
    GPTConfig,
    mask_of,
    parameters_of,
)
from oversight.routing import Gate, gate_linear


class RoutedLinear(nn.Module):
    """A linear map without bias whose matrix is a target.

    The weight of a token at the target scales the token's contribution to the gradient of the
    matrix. This costs nothing while every route has weight 1.

    Args:
        inputs: number of input features.
        outputs: number of output features.
        target: name of the matrix in a route table.
    """

    def __init__(self, inputs: int, outputs: int, target: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.parameter_gate = Gate(target)  # never applied; it only knows the current weights

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        weight, rows = self.parameter_gate.linear_arguments(x)
        return gate_linear(x, self.weight, weight, rows=rows)


class ModuleMask(nn.Module):
    """Multiply what a module writes by each token's weight; the weight is 1 without routes.

    Args:
        module: name of the module.
    """

    def __init__(self, module: str = EXPANSION) -> None:
        super().__init__()
        self.gate = Gate(mask_of(module))  # never applied; it only knows the current weights

    def forward(self, written_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself."""
        weight = self.weight_for(written_btd)
        return written_btd if weight is None else written_btd * weight

    def weight_for(self, written_btd: Tensor) -> Tensor | None:
        """Return the weight of each token, to be multiplied with [B, T, D]; None for 1."""
        weight = self.gate.weight_for(written_btd)
        return None if weight is None else weight.to(written_btd.device, written_btd.dtype)


class AddedModules(nn.ModuleDict):
    """The parts of a model's modules that read and write at the same place, by module.

    If their masks select rows (`select_rows`), each part reads only the texts that pass through it,
    and a part that no text passes through is not computed.

    Parts may be silenced (`silence_modules`): then there is a penalty on what they would write
    about the other texts.
    """

    all_take_part = False
    """Whether parts without texts are computed, too, so that their parameters have gradients."""
    silence = 0.0
    """Weight of the penalty."""
    last_input: Tensor | None = None
    """The input of the last forward pass, without its gradient, if there is a penalty."""

    def forward(self, y_btd: Tensor, x_bt: Tensor) -> Tensor:
        """Return y and what the parts write about x, [B, T, D].

        Args:
            y_btd: what is written already.
            x_bt: the input of the parts, [B, T, ...].
        """
        penalized = self.silence > 0 and torch.is_grad_enabled()
        self.last_input = x_bt.detach() if penalized else None
        read: list[tuple[nn.Module, Tensor]] = []
        for added in self.values():
            assert isinstance(added, AddedUnits | AddedEmbedding)
            rows = added.mask.gate.rows
            if rows is None:
                y_btd = y_btd + added(x_bt)
            elif len(rows.places) or self.all_take_part:
                read.append((added, rows.places))
        if not read:
            return y_btd
        places = torch.cat([rows for _, rows in read])
        parts = torch.split(x_bt.index_select(0, places), [len(rows) for _, rows in read])
        written = [added(part) for (added, _), part in zip(read, parts, strict=True)]
        return y_btd.index_add(0, places, torch.cat(written))

    def penalty(self) -> Tensor | float:
        """Return the penalty of the last forward pass, whose gradient reaches the parts alone.

        It is half the square of what parts would write about texts that do not pass through them,
        times the weight: a sum over parts, tokens and features, estimated from one token in n for
        each of n parts. Which token depends on the place of the text in the batch, since stories
        begin alike.
        """
        x_bt, self.last_input = self.last_input, None
        if x_bt is None or not self:
            return 0.0
        total, count = torch.zeros((), device=x_bt.device), len(self)
        rows_b, tokens_t = (torch.arange(size, device=x_bt.device) for size in x_bt.shape[:2])
        turn_bt = (rows_b[:, None] + tokens_t) % count
        for number, added in enumerate(self.values()):
            assert isinstance(added, AddedUnits | AddedEmbedding)
            rows = added.mask.gate.rows
            if rows is not None:  # else all texts pass through
                asked_bt = turn_bt == number
                asked_bt[rows.places] = False
                written = added.ungated(x_bt[asked_bt])
                exact = torch.promote_types(written.dtype, torch.float32)
                total = total + count / 2 * written.square().sum(dtype=exact)
        return self.silence * total


def activated(h_btf: Tensor) -> Tensor:
    """Return what hidden units make of their inputs, [..., hidden]."""
    return F.gelu(h_btf, approximate="tanh")


class HiddenUnits(nn.Module):
    """Hidden units of an MLP with their input and output weights.

    Hidden units are independent of each other. So an MLP is the sum of groups of units, and each
    group has its own parameters and optimizer state.

    Args:
        width: features of the residual stream.
        units: number of hidden units.
        target: name of their activations in a route table.
        parameters: name of their weights in a route table.
    """

    def __init__(self, width: int, units: int, target: str, parameters: str) -> None:
        super().__init__()
        self.up = RoutedLinear(width, units, parameters)
        self.down = RoutedLinear(units, width, parameters)
        self.gate = Gate(target)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to the output of the units, [B, T, D]."""
        y_btd: Tensor = self.down(self.gate(activated(self.up(x_btd))))
        return y_btd


class AddedUnits(HiddenUnits):
    """The hidden units that a module adds to an MLP.

    Args:
        width: features of the residual stream.
        units: number of hidden units.
        module: name of the module.
    """

    def __init__(self, width: int, units: int, module: str) -> None:
        super().__init__(width, units, module, parameters_of(module))
        self.module = module
        self.mask = ModuleMask(module)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to the output of the units, [B, T, D]."""
        written: Tensor = self.mask(super().forward(x_btd))
        return written

    def ungated(self, x_nd: Tensor) -> Tensor:
        """Map single tokens, [N, D], as `forward` does, with gradients that no route weighs."""
        return F.linear(activated(F.linear(x_nd, self.up.weight)), self.down.weight)


class GatedMLP(nn.Module):
    """An MLP, expanded if its layer is among the expanded ones; a Gate is at its output."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        expanded = layer in config.expanded_layers
        self.original = HiddenUnits(
            config.width, config.hidden, ORIGINAL if expanded else HIDDEN, ORIGINAL_PARAMETERS
        )
        self.added = AddedModules(
            {
                module: AddedUnits(config.width, config.expansion, module)
                for module in config.modules
                if expanded
            }
        )
        self.gate = Gate(MLP)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        gated: Tensor = self.gate(self.added(self.original(x_btd), x_btd))
        return gated


class ExpertMLP(GatedMLP):
    """Experts in place of an MLP: that of the core, and one for each module (a DEMix layer).

    The output is the weighted mean of the outputs of those experts that a token passes through. The
    others do not count, so that a token which passes through one alone gets its output as it is.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.original = AddedUnits(config.width, config.hidden, CORE)
        self.weights = (1.0, *config.expert_weights)

    def experts(self) -> list[AddedUnits]:
        """Return the expert of the core, then those of the modules."""
        return [part for part in self.modules() if isinstance(part, AddedUnits)]

    def shares(self) -> list[float]:
        """Return the share of each expert in the mean, if a token passes through all of them."""
        return [weight / sum(self.weights) for weight in self.weights]

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd, total = torch.zeros_like(x_btd), torch.zeros_like(x_btd[..., :1])
        for expert, weight in zip(self.experts(), self.weights, strict=True):
            passes = expert.mask.weight_for(x_btd)
            y_btd = y_btd + weight * expert(x_btd)
            total = total + (weight if passes is None else weight * passes)
        gated: Tensor = self.gate(y_btd / total)
        return gated


class AddedEmbedding(nn.Module):
    """The token embedding of a module, zero at first.

    Words that occur only in forget text are learned here if routes keep them out of the model's own
    embedding. The output head does not use it.

    Args:
        vocab_size: tokens of the vocabulary.
        width: features of the residual stream.
        module: name of the module.
    """

    def __init__(self, vocab_size: int, width: int, module: str) -> None:
        super().__init__()
        self.module = module
        self.weight = nn.Parameter(torch.zeros(vocab_size, width))
        self.parameter_gate = Gate(parameters_of(module))
        self.mask = ModuleMask(module)

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """Map tokens [B, T] to the vectors that are added to their embeddings, [B, T, D]."""
        # a gate on the lookup multiplies the gradient of the embedding
        vectors: Tensor = self.parameter_gate(F.embedding(tokens_bt, self.weight))
        added: Tensor = self.mask(vectors)
        return added

    def ungated(self, tokens_n: Tensor) -> Tensor:
        """Map tokens, [N], as `forward` does, with gradients that no route weighs."""
        return F.embedding(tokens_n, self.weight)


def select_rows(model: nn.Module) -> None:
    """Compute parts of a model only for the texts that need them; results are equal up to rounding.

    Parts of a module read the texts that pass through it: those with a token whose mask is not 0.
    The gradients of the original matrices are sums over the texts with a token that teaches them.
    """
    for part in model.modules():
        if isinstance(part, AddedUnits | AddedEmbedding):
            for gate in (each for each in part.modules() if isinstance(each, Gate)):
                gate.selects = mask_of(part.module)
        elif isinstance(part, Gate) and part.targets == (ORIGINAL_PARAMETERS,):
            part.selects = ORIGINAL_PARAMETERS


def silence_modules(model: nn.Module, weight: float) -> None:
    """Penalize what the modules of a model would write about texts that do not pass through them.

    The total loss of a batch then contains, for each token and module, `weight / 2` times the
    square of what each part of the module would write, summed over features. Its gradient reaches
    only the modules. It does not contain the next token, so that they do not learn to predict it.
    """
    select_rows(model)
    for part in model.modules():
        if isinstance(part, AddedModules):
            part.silence = weight


class Attention(nn.Module):
    """Causal self-attention with rotary positions; a Gate is at its output."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = RoutedLinear(config.width, 3 * config.width, ORIGINAL_PARAMETERS)
        self.out = RoutedLinear(config.width, config.width, ORIGINAL_PARAMETERS)
        self.gate = Gate(ATTENTION)

    def forward(self, x_btd: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Map [B, T, D] to itself; each token attends to itself and those before it."""
        batch, length, width = x_btd.shape
        parts = self.qkv(x_btd).view(batch, length, 3, self.heads, width // self.heads)
        q_bhtc, k_bhtc, v_bhtc = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q_bhtc, k_bhtc = rotate(q_bhtc, rotation), rotate(k_bhtc, rotation)
        y_bhtc = F.scaled_dot_product_attention(q_bhtc, k_bhtc, v_bhtc, is_causal=True)
        y_btd = y_bhtc.transpose(1, 2).reshape(batch, length, width)
        gated: Tensor = self.gate(self.out(y_btd))
        return gated


def rotations(features: int, length: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the angles of each position, [length, features / 2].

    Rotary position embedding of Su et al. 2021 (arXiv 2104.09864), with base 10,000: pair i of the
    features is rotated by position / 10000^(2i / features).
    """
    frequencies = 10_000.0 ** (-torch.arange(0, features, 2, dtype=torch.float64) / features)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def rotate(x_bhtc: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate features i and i + C / 2 by the angle of their position."""
    cos, sin = (part.to(x_bhtc.dtype) for part in rotation)
    first, second = x_bhtc.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
