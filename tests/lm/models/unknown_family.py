"""A causal model of a family that nobody knows, with names of its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class UnknownConfig(PretrainedConfig):  # type: ignore[misc]
    """The sizes of the model."""

    model_type = "unknown_family"
    vocab_size: int = 13
    hidden_size: int = 8
    num_hidden_layers: int = 2
    ffn_dim: int = 12
    max_position_embeddings: int = 16


class Mixer(nn.Module):
    """Causal attention with one head, which returns one tensor as an MLP does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.three, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself."""
        q, k, v = self.three(x_btd).chunk(3, -1)
        y_btd: Tensor = self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return y_btd


class Units(nn.Module):
    """An MLP whose dropout must not disturb what is found."""

    def __init__(self, config: UnknownConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.hidden_size, config.ffn_dim)
        self.outer = nn.Linear(config.ffn_dim, config.hidden_size, bias=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.dropout(self.outer(F.relu(self.inner(x_btd)).square()))
        return y_btd


class Cell(nn.Module):
    """A block that normalizes what it adds to the residual stream."""

    def __init__(self, config: UnknownConfig) -> None:
        super().__init__()
        self.mix, self.units = Mixer(config.hidden_size), Units(config)
        self.mix_norm = nn.RMSNorm(config.hidden_size)
        self.units_norm = nn.RMSNorm(config.hidden_size)

    def forward(self, *, stream: Tensor) -> tuple[Tensor, None]:
        """Return the residual stream after the block, and nothing."""
        stream = stream + self.mix_norm(self.mix(stream))
        return stream + self.units_norm(self.units(stream)), None


class UnknownModel(PreTrainedModel):  # type: ignore[misc]
    """The model without its head."""

    config_class = UnknownConfig

    def __init__(self, config: UnknownConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.cells = nn.ModuleList(Cell(config) for _ in range(config.num_hidden_layers))
        self.end = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of tokens."""
        return self.words

    def forward(
        self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None, **_: object
    ) -> BaseModelOutput:
        """Return the input of the head."""
        stream = self.words(input_ids) if inputs_embeds is None else inputs_embeds
        stream = stream + self.places(torch.arange(stream.shape[1], device=stream.device)[None])
        for cell in self.cells:
            stream = cell(stream=stream)[0]
        return BaseModelOutput(last_hidden_state=self.end(stream))


class UnknownForCausalLM(PreTrainedModel):  # type: ignore[misc]
    """The model with a head that has a bias."""

    config_class, base_model_prefix = UnknownConfig, "trunk"

    def __init__(self, config: UnknownConfig) -> None:
        super().__init__(config)
        self.trunk = UnknownModel(config)
        self.readout = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the output head."""
        return self.readout

    def forward(self, input_ids: Tensor | None = None, **kwargs: object) -> CausalLMOutput:
        """Return the logits."""
        return CausalLMOutput(logits=self.readout(self.trunk(input_ids, **kwargs)[0]))


AutoConfig.register(UnknownConfig.model_type, UnknownConfig, exist_ok=True)
AutoModelForCausalLM.register(UnknownConfig, UnknownForCausalLM, exist_ok=True)
