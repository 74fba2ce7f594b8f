"""A compact GPT whose parts are targets of gradient routing.

- rotary positions; norms without gain, since the weights that follow can do what a gain would;
- no biases and no dropout, so that a model is a function of its matrices;
- the embedding is the output head as well (tied);
- a Gate at hidden units, at the outputs of MLP and attention, and at each token's loss;
- matrices learn by token, too; a target that every route passes costs nothing.

Shape suffixes: b batch, t tokens, d width, v vocabulary.

A model in one file of safetensors: its weights, and its shape beside them.

Give a GPT weights to route to, and silence as many random ones, the control of an ablation.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.language_model import LanguageModel, cross_entropy, output_logits
from lm.models.layers import (
    EXPANSION_PARAMETERS,
    LOSS,
    ORIGINAL_PARAMETERS,
    Attention,
    ExpansionEmbedding,
    GatedMLP,
    GPTConfig,
    HiddenUnits,
    RoutedLinear,
    rotations,
)
from oversight.routing import Gate
from oversight.runs.folder import from_json, replace_file


class Block(nn.Module):
    """Attention, then an MLP, each reading the normed residual stream and adding to it."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.mlp = GatedMLP(config, layer)

    def forward(self, x_btd: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Map [B, T, D] to itself."""
        x_btd = x_btd + self.attention(norm(x_btd), rotation)
        written: Tensor = self.mlp(norm(x_btd))
        return x_btd + written


class GPT(LanguageModel):
    """A language model; train it inside `routing`, with a table of `lm.training.route_tables`.

    Args:
        config: its shape.
        seed: of its first weights. Those that it has without an expansion do not depend on that.

    >>> model = GPT(GPTConfig(vocab_size=16, width=8, num_layers=1, num_heads=2, context=4))
    >>> with torch.no_grad():
    ...     model(torch.zeros(1, 3, dtype=torch.int64)).shape
    torch.Size([1, 3, 16])
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.width))
        self.expansion_embedding: ExpansionEmbedding | None = None
        if config.added_embedding:
            self.expansion_embedding = ExpansionEmbedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.parameter_gate = Gate(ORIGINAL_PARAMETERS)
        self.loss_gate = Gate(LOSS)
        cos, sin = rotations(config.width // config.num_heads, config.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        initialize(self, seed)

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return what the output head reads, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds.
        """
        _require_room(tokens_bt, self.config.context)
        return self.features_of(self.embedded(tokens_bt))

    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return what tokens are looked up as, [B, T, D], before anything is done to it."""
        # weighing what the lookup gives weighs what it teaches the embedding
        x_btd: Tensor = self.parameter_gate(F.embedding(tokens_bt, self.embedding))
        if self.expansion_embedding is not None:
            x_btd = x_btd + self.expansion_embedding(tokens_bt)
        return x_btd

    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the features of embedded tokens, or of what is put in their place, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds.
        """
        _require_room(x_btd, self.config.context)
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
        return output_logits(x_btd, self.embedding, self.parameter_gate.weight_for(x_btd))

    def normed(self, x_btd: Tensor) -> Tensor:
        """Return the features that the output head would read of a residual stream, [B, T, D]."""
        return norm(x_btd)

    @property
    def shape(self) -> dict[str, Any]:
        """The settings that build it."""
        return asdict(self.config)

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""
        return self.config.vocab_size

    @property
    def width(self) -> int:
        """Features of the residual stream."""
        return self.config.width

    @property
    def context(self) -> int:
        """Tokens that it sees at most."""
        return self.config.context

    @property
    def expanded(self) -> bool:
        """Whether there is an expansion."""
        return self.config.expanded

    def layers(self) -> list[Block]:
        """Return the blocks, the first first."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def down_proj(self, layer: int) -> nn.Parameter:
        """Return the matrix by which the original hidden units of a layer write, [D, hidden]."""
        return self.layers()[layer].mlp.original.down.weight

    def copied(self) -> "GPT":
        """Return a copy with weights of its own, no hooks, and nothing frozen."""
        return self._like(self.config)

    def ablated(self) -> "GPT":
        """Return a plain copy, without the expansion.

        Raises:
            ValueError: if the model has none.
        """
        if not self.expanded:
            raise ValueError("the model has no expansion to ablate: expand it before training")
        return self._like(self.config.plain)

    def _like(self, config: GPTConfig) -> "GPT":
        """Return a model of a shape whose every weight is the one of that name here."""
        made, state = GPT(config).to(self.embedding), self.state_dict()
        made.load_state_dict({name: state[name] for name in made.state_dict()})
        return made

    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`."""
        x_btd = self.features(tokens_bt)
        losses_bt = cross_entropy(
            x_btd, self.embedding, self.parameter_gate.weight_for(x_btd), next_bt
        )
        gated: Tensor = self.loss_gate(losses_bt)
        return gated

    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some, all of the model's in all."""
        found: dict[str, list[nn.Parameter]] = {ORIGINAL_PARAMETERS: [self.embedding]}
        if self.expansion_embedding is not None:
            found[EXPANSION_PARAMETERS] = [self.expansion_embedding.weight]
        for module in self.modules():
            if isinstance(module, RoutedLinear):
                found.setdefault(module.parameter_gate.targets[0], []).append(module.weight)
        return found


def _require_room(x_bt: Tensor, context: int) -> None:
    if x_bt.shape[1] > context:
        raise ValueError(f"{x_bt.shape[1]} tokens were given to a context of {context}: cut them")


def norm(x_btd: Tensor) -> Tensor:
    """Return x over its root mean square (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return F.rms_norm(x_btd, x_btd.shape[-1:])


@torch.no_grad()
def initialize(model: GPT, seed: int) -> None:
    """Draw the first weights; an expansion writes nothing at first.

    Their deviation is 1 over the root of the width, and that over the root of twice the number of
    layers where a matrix writes to the residual stream. GPT-2's 0.02, made for 768 features, is
    too small for few: copying a name, and facts, are then learned several hundred steps later.
    """
    generator = torch.Generator().manual_seed(seed)
    deviation = model.config.width**-0.5
    small = deviation / (2 * model.config.num_layers) ** 0.5
    model.embedding.normal_(0, deviation, generator=generator)
    blocks = model.layers()
    for block in blocks:
        block.attention.qkv.weight.normal_(0, deviation, generator=generator)
        block.attention.out.weight.normal_(0, small, generator=generator)
        draw_units(block.mlp.original, deviation, small, generator)
    for block in blocks:  # last, so that the weights above are those of a plain model
        if block.mlp.expansion is not None:
            draw_units(block.mlp.expansion, deviation, 0.0, generator)


@torch.no_grad()
def draw_units(
    units: HiddenUnits, reading: float, writing: float, generator: torch.Generator
) -> None:
    """Draw the weights of hidden units, those that read and those that write, by deviation."""
    units.up.weight.normal_(0, reading, generator=generator)
    units.down.weight.normal_(0, writing, generator=generator)


def save(model: GPT, path: Path) -> None:
    """Write a model whole: a kill leaves the old file or the new one.

    Raises:
        ValueError: if the file cannot be written.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    replace_file(path, serialize(tensors, {"gpt": json.dumps(asdict(model.config))}))


def load(path: Path) -> GPT:
    """Return the model that `save` wrote.

    Raises:
        ValueError: if there is no such file, or it is damaged, or of something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()["gpt"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no model saved by this project, or not all of one: {error}"
        ) from error
    model = GPT(from_json(GPTConfig, shape, str(path)))
    try:
        model.to(weights["embedding"].dtype).load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path} holds weights of another shape than it says") from error
    return model


def expand(
    model: GPT, units: int, layers: Iterable[int], seed: int = 0, embedding: bool = False
) -> GPT:
    """Return a copy of a model with hidden units added to the MLP of some layers.

    They write nothing at first, so that the function stays the same to the last bit; they read by
    random weights, and so learn from the first step. (Cloud et al. 2024 draw all weights of the
    expanded model anew and train from there.) Nor does an embedding that is added on request.

    Raises:
        ValueError: if the model is expanded already, or has no such layers.

    >>> from lm.models.layers import GPTConfig
    >>> plain = GPT(GPTConfig(vocab_size=16, width=8, num_layers=2, num_heads=2, context=4))
    >>> expand(plain, 3, [0]).blocks[0].mlp.expansion.up.weight.shape
    torch.Size([3, 8])
    """
    if model.config.expanded:
        raise ValueError(
            f"the model has {model.config.expansion} added hidden units in the layers "
            f"{model.config.expanded_layers} already: ablate them first"
        )
    config = replace(
        model.config, expansion=units, expanded_layers=tuple(layers), added_embedding=embedding
    )
    expanded = GPT(config, seed).to(model.embedding)
    expanded.load_state_dict(expanded.state_dict() | model.state_dict())
    return expanded


@torch.no_grad()
def ablate_random(
    model: LanguageModel, units: int, layers: Iterable[int], seed: int = 0
) -> LanguageModel:
    """Return a copy of a model in which random original hidden units of some layers are silent.

    The control of an ablation: as many units as the expansion has, but not those routed to.

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
    silenced = model.copied()
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        matrix = silenced.down_proj(layer)
        chosen = torch.randperm(hidden, generator=generator)[:units]
        matrix[:, chosen.to(matrix.device)] = 0
    return silenced
