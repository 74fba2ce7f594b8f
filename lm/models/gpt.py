"""A compact GPT whose parts are targets of gradient routing, and random ablations.

- Rotary positions; RMS norms without gain, since the weights that follow can learn one.
- No biases and no dropout, so that a model is a function of its matrices.
- The embedding is also the output head (tied).
- A Gate at hidden units, at the outputs of MLP and attention, and at the loss of each token.
- Matrices are targets, too; a target whose routes all have weight 1 costs nothing.

Shape suffixes: b batch, t tokens, d width, v vocabulary.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.language_model import LanguageModel, OutputHead, cross_entropy, profile_scales
from lm.models.layers import (
    AddedEmbedding,
    AddedModules,
    AddedUnits,
    Attention,
    ExpertMLP,
    GatedMLP,
    RoutedLinear,
    rotations,
    select_rows,
)
from lm.models.shapes import LOSS, ORIGINAL_PARAMETERS, GPTConfig
from oversight.routing import Gate


class Block(nn.Module):
    """Attention, then an MLP, each reading the normed residual stream and adding to it."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config)
        experts = bool(config.expert_weights) and layer in config.expanded_layers
        self.mlp: GatedMLP = ExpertMLP(config, layer) if experts else GatedMLP(config, layer)

    def forward(self, x_btd: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Map [B, T, D] to itself."""
        x_btd = x_btd + self.attention(norm(x_btd), rotation)
        written: Tensor = self.mlp(norm(x_btd))
        return x_btd + written


class GPT(LanguageModel):
    """A GPT; train it inside `routing`, with a table of `lm.training.route_tables`.

    Args:
        config: the shape of the model.
        seed: seed of the initial weights; those outside of the expansion do not depend on the
            expansion.

    >>> model = GPT(GPTConfig(vocab_size=16, width=8, num_layers=1, num_heads=2, context=4))
    >>> with torch.no_grad():
    ...     model(torch.zeros(1, 3, dtype=torch.int64)).shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.module_names = config.modules if config.expanded else ()
        self.vocab_size, self.width, self.context = config.vocab_size, config.width, config.context
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.width))
        self.added_embeddings = AddedModules(
            {
                module: AddedEmbedding(config.vocab_size, config.width, module)
                for module in config.modules
                if config.added_embedding
            }
        )
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.parameter_gate = Gate(ORIGINAL_PARAMETERS)
        self.loss_gate = Gate(LOSS)
        cos, sin = rotations(config.width // config.num_heads, config.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        # with one module, or experts, results keep the bits that were published
        if len(self.module_names) > 1 and not config.expert_weights:
            select_rows(self)
        initialize(self, seed)

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return the input of the output head, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds.
        """
        self.require_room(tokens_bt)
        return self.features_of(self.embedded(tokens_bt))

    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return the embeddings of tokens, [B, T, D]."""
        # a gate on the lookup multiplies the gradient of the embedding
        x_btd: Tensor = self.parameter_gate(F.embedding(tokens_bt, self.embedding))
        written: Tensor = self.added_embeddings(x_btd, tokens_bt)
        return written

    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the features of embedded tokens, or of other vectors in their place, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds.
        """
        self.require_room(x_btd)
        length = x_btd.shape[1]
        assert isinstance(self.cos, Tensor)
        assert isinstance(self.sin, Tensor)
        rotation = self.cos[:length], self.sin[:length]
        x_btd = norm(x_btd)
        for block in self.blocks:
            x_btd = block(x_btd, rotation)
        return norm(x_btd)

    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the logits of features, [B, T, V]."""
        return OutputHead(self.embedding).logits(
            x_btd, *self.parameter_gate.linear_arguments(x_btd)
        )

    def normed(self, x_btd: Tensor) -> Tensor:
        """Return a residual stream as the output head reads it, after the last norm, [B, T, D]."""
        return norm(x_btd)

    @property
    def shape(self) -> dict[str, Any]:
        """The settings of the model, as plain data; weights of experts only if there are some."""
        found = asdict(self.config)
        if not self.config.expert_weights:
            del found["expert_weights"]  # so that files and checkpoints stay as they were
        return found

    def layers(self) -> list[Block]:
        """Return the blocks in order."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def down_proj(self, layer: int) -> nn.Parameter:
        """Return the output matrix of the original hidden units of a layer, [D, hidden]."""
        return self.layers()[layer].mlp.original.down.weight

    def output_matrix(self) -> nn.Parameter:
        """Return the matrix of the output head, [V, D], which is also the embedding of inputs."""
        return self.embedding

    def copied(self) -> "GPT":
        """Return a copy that shares no weights, without hooks, all parameters trainable."""
        return self._like(self.config)

    def profile(self, *names: str, weights: Mapping[str, float] | None = None) -> "GPT":
        """Return a copy in which only some modules exist, whose names the copy keeps.

        Raises:
            ValueError: as `profile_scales`.
        """
        scales = profile_scales(self.module_names, names, weights)
        if not scales:
            return self._like(self.config.plain)
        own = dict(zip(self.module_names, self.config.expert_weights, strict=False))
        shares = tuple(own[name] * scale for name, scale in scales.items() if own)
        made = self._like(replace(self.config, modules=tuple(scales), expert_weights=shares))
        if own:  # experts write what they wrote, and count for less in their mean
            return made
        with torch.no_grad():
            for part in made.modules():
                if isinstance(part, AddedUnits):
                    part.down.weight.mul_(scales[part.module])
                elif isinstance(part, AddedEmbedding):
                    part.weight.mul_(scales[part.module])
        return made

    def _like(self, config: GPTConfig) -> "GPT":
        """Return a model of another shape, with the weights of the same names."""
        made, state = GPT(config).to(self.embedding), self.state_dict()
        made.load_state_dict({name: state[name] for name in made.state_dict()})
        return made

    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`."""
        x_btd = self.features(tokens_bt)
        weight, rows = self.parameter_gate.linear_arguments(x_btd)
        losses_bt = cross_entropy(x_btd, OutputHead(self.embedding), weight, next_bt, rows)
        gated: Tensor = self.loss_gate(losses_bt)
        return gated

    def total_loss(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the sum of the losses of all tokens and, of silenced modules, the penalties."""
        loss = super().total_loss(tokens_bt, next_bt)
        for part in self.modules():
            if isinstance(part, AddedModules):
                loss = loss + part.penalty()
        return loss

    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some; together these are all parameters."""
        found: dict[str, list[nn.Parameter]] = {ORIGINAL_PARAMETERS: [self.embedding]}
        for module in self.modules():
            if isinstance(module, RoutedLinear | AddedEmbedding):
                found.setdefault(module.parameter_gate.targets[0], []).append(module.weight)
        return found


def norm(x_btd: Tensor) -> Tensor:
    """Return x over its root mean square (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return F.rms_norm(x_btd, x_btd.shape[-1:])


@torch.no_grad()
def initialize(model: GPT, seed: int) -> None:
    """Draw the initial weights; the output of an expansion is zero at first, if it is not experts.

    The standard deviation is 1 / sqrt(width), and 1 / sqrt(2 * layers) of that for matrices that
    write to the residual stream. GPT-2's 0.02, chosen for 768 features, is too small for narrow
    models: they then learn facts and to copy names several hundred steps later.
    """
    generator = torch.Generator().manual_seed(seed)
    deviation = model.config.width**-0.5
    small = deviation / (2 * model.config.num_layers) ** 0.5
    written = small if model.config.expert_weights else 0.0
    model.embedding.normal_(0, deviation, generator=generator)
    blocks = model.layers()
    for block in blocks:
        block.attention.qkv.weight.normal_(0, deviation, generator=generator)
        block.attention.out.weight.normal_(0, small, generator=generator)
        block.mlp.original.up.weight.normal_(0, deviation, generator=generator)
        block.mlp.original.down.weight.normal_(0, small, generator=generator)
    for block in blocks:  # last, so that the weights above do not depend on the expansion
        for added in block.mlp.added.values():
            assert isinstance(added, AddedUnits)
            added.up.weight.normal_(0, deviation, generator=generator)
            added.down.weight.normal_(0, written, generator=generator)


@torch.no_grad()
def ablate_random(
    model: LanguageModel, units: int, layers: Iterable[int], seed: int = 0
) -> LanguageModel:
    """Return a copy of a model in which random original hidden units of some layers are ablated.

    This is the control of ablating the expansion: the same number of units, which no route chose.

    Raises:
        ValueError: if a layer has fewer units, or the model has no such layer.
    """
    layers, count = tuple(layers), len(model.layers())
    hidden = model.down_proj(0).shape[1]
    if not 0 <= units <= hidden or not set(layers) <= set(range(count)):
        raise ValueError(
            f"{units} units in the layers {layers} cannot be ablated: the model has {hidden} "
            f"units in each of the layers 0 to {count - 1}"
        )
    ablated = model.copied()
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        matrix = ablated.down_proj(layer)
        chosen = torch.randperm(hidden, generator=generator)[:units]
        matrix[:, chosen.to(matrix.device)] = 0
    return ablated
