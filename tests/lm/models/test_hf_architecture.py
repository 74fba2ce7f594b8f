"""Layers are found by structure in known and unknown families, and other models are refused."""

import copy
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models.hf import RoutedCausalLM
from lm.models.hf_architecture import Architecture, architecture_of
from lm.models.shapes import AdapterConfig
from tests.lm.models.hf_factories import (
    CONFIGS,
    FAMILIES,
    GROUPED,
    LLAMA,
    SIZES,
    TOKENS,
    expanded_model,
    plain_model,
    tokens,
    transformers,
)
from tests.lm.models.unknown_family import UnknownConfig

LIKE_LLAMA: dict[str, Any] = {
    "layers": "model.layers",
    "attention_output": "self_attn.o_proj",
    "mlp": "mlp",
    "up_projs": ("gate_proj", "up_proj"),
    "down_proj": "down_proj",
    "norm": "model.norm",
    "head": "lm_head",
    "heads_first": (),
}
LIKE_GPT2 = LIKE_LLAMA | {
    "layers": "transformer.h",
    "attention_output": "attn.c_proj",
    "up_projs": ("c_fc",),
    "down_proj": "c_proj",
    "norm": "transformer.ln_f",
}
HEAD_NORMS = ("q_layernorm.norms.0", "q_layernorm.norms.1", "k_layernorm.norms.0")
EXPECTED = {
    **dict.fromkeys(("llama", "qwen2", "mistral", "qwen3", "olmo2", "cohere"), LIKE_LLAMA),
    "gpt2": LIKE_GPT2,
    "gpt_neo": LIKE_GPT2 | {"attention_output": "attn.attention.out_proj"},
    "gpt_neox": LIKE_LLAMA
    | {
        "layers": "gpt_neox.layers",
        "attention_output": "attention.dense",
        "up_projs": ("dense_h_to_4h",),
        "down_proj": "dense_4h_to_h",
        "norm": "gpt_neox.final_layer_norm",
    },
    "phi3": LIKE_LLAMA | {"up_projs": ("gate_up_proj",)},
    "gemma3_text": LIKE_LLAMA | {"heads_first": ("self_attn.q_norm", "self_attn.k_norm")},
    "stablelm": LIKE_LLAMA | {"heads_first": tuple(f"self_attn.{name}" for name in HEAD_NORMS)},
    UnknownConfig.model_type: {
        "layers": "trunk.cells",
        "attention_output": "mix.out",
        "mlp": "units",
        "up_projs": ("inner",),
        "down_proj": "outer",
        "norm": "trunk.end",
        "head": "readout",
        "heads_first": (),
    },
}


def model_of(config: object) -> Any:  # noqa: ANN401 (a model of any class)
    """Return a model with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config)


@FAMILIES
def test_layers_are_found_without_changing_the_model(family: str) -> None:
    plain, random = plain_model(family).train(), torch.get_rng_state()
    before, names = str(plain), [name for name, _ in plain.named_modules()]
    assert architecture_of(plain) == Architecture(**EXPECTED[family])
    assert all(module.training for module in plain.modules())
    assert (str(plain), [name for name, _ in plain.named_modules()]) == (before, names)
    assert not any(module._forward_hooks for module in plain.modules())
    assert torch.equal(torch.get_rng_state(), random)


@FAMILIES
def test_layers_are_found_without_weights(family: str) -> None:
    with torch.device("meta"):
        plain = transformers.AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[family]))
        assert asdict(architecture_of(plain)) == EXPECTED[family]
        model = RoutedCausalLM(plain, adapters=AdapterConfig())
    assert all(parameter.device.type == "meta" for parameter in model.parameters())


REFUSED = {
    "an encoder beside": transformers.BartConfig(
        **TOKENS,
        vocab_size=13,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
    ),
    "MixtralExperts holds stacked matrices, as those of a mixture": transformers.MixtralConfig(
        **GROUPED, num_local_experts=2
    ),
    "MambaBlock holds no MLP of plain linear maps; a state-space": transformers.MambaConfig(
        **TOKENS, vocab_size=13, hidden_size=8, num_hidden_layers=2
    ),
    "the linear maps of the MLP are in OPTDecoderLayer itself": transformers.OPTConfig(
        **SIZES, **TOKENS, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=8
    ),
    # its activation has parameters
    "ApertusDecoderLayer holds no MLP": transformers.ApertusConfig(**GROUPED, **TOKENS),
    # a subclass of a linear map may compute something else
    "FalconDecoderLayer holds no MLP": transformers.FalconConfig(
        **TOKENS, vocab_size=13, hidden_size=8, num_hidden_layers=2, num_attention_heads=2
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_models_of_another_structure_are_refused_with_the_reason(reason: str) -> None:
    config = copy.deepcopy(REFUSED[reason])
    if config.model_type == "bart":
        model = transformers.BartForConditionalGeneration(config)
    else:
        model = model_of(config)
    names = [name for name, _ in model.named_modules()]
    with pytest.raises(ValueError, match=f"cannot be routed, since .*{reason}.*: give a") as error:
        RoutedCausalLM(model)
    assert "\n" not in str(error.value)
    assert [name for name, _ in model.named_modules()] == names


class WiderMLP(nn.Module):
    """An MLP with another number of layers than that of the other blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.up_proj, self.down_proj = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Map [B, T, D] to itself, token by token."""
        y_btd: Tensor = self.down_proj(F.relu(self.up_proj(x_btd)))
        return y_btd


class Doubled(nn.Linear):
    """A linear map that writes twice as much."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        return 2 * super().forward(x)


def test_models_that_are_no_longer_of_their_family_are_refused() -> None:
    plain = plain_model("llama")
    plain.model.layers[1].mlp = WiderMLP()
    with pytest.raises(ValueError, match="its blocks differ from each other"):
        RoutedCausalLM(plain)
    plain = plain_model("llama")
    plain.model.layers[1].mlp.down_proj = Doubled(12, 8)
    with pytest.raises(ValueError, match="LlamaDecoderLayer holds no MLP"):
        RoutedCausalLM(plain)
    plain = plain_model("qwen2")
    plain.lm_head = Doubled(8, 13)
    with pytest.raises(ValueError, match="or no linear output head"):
        RoutedCausalLM(plain)
    plain = plain_model("qwen2")
    plain.model.norm = nn.Identity()
    with pytest.raises(ValueError, match="no single norm stands between its last block"):
        RoutedCausalLM(plain)
    with pytest.raises(ValueError, match="it has gates already"):
        RoutedCausalLM(expanded_model("llama").causal_lm)


Written = tuple[Tensor, None]


def second_mlp(self: Any, stream: Tensor) -> Written:  # noqa: ANN401 (a block)
    """Write the output of a second MLP."""
    return self.second(self.units(stream + self.mix(stream))), None


def second_attention(self: Any, stream: Tensor) -> Written:  # noqa: ANN401 (a block)
    """Add what a linear map outside of attention writes."""
    return self.units(stream + self.mix(stream) + self.outside(stream)), None


def flattened(self: Any, stream: Tensor) -> Written:  # noqa: ANN401 (a block)
    """Normalize tokens without the axis of rows."""
    written = self.units_norm(self.units(self.mix_norm(self.mix(stream))).flatten(0, 1))
    return stream + written.view(stream.shape), None


def twice(self: Any, stream: Tensor) -> Written:  # noqa: ANN401 (a block)
    """Use a norm two times."""
    return self.units_norm(self.units(self.units_norm(self.mix_norm(self.mix(stream))))), None


CHANGED = {
    "Cell holds 2 MLPs": second_mlp,
    "Cell has linear maps in mix, outside, not in one attention layer": second_attention,
    "units_norm reads no .B, T, features., but": flattened,
    "units_norm holds parameters, and does not map one tensor once": twice,
}


@pytest.mark.parametrize("reason", CHANGED)
def test_blocks_of_other_parts_are_refused(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_model(UnknownConfig.model_type)
    change = CHANGED[reason]
    for cell in plain.trunk.cells:
        if change is second_mlp:
            cell.second = copy.deepcopy(cell.units)
        if change is second_attention:
            cell.outside = nn.Linear(8, 8)
    monkeypatch.setattr(type(plain.trunk.cells[0]), "forward", change)
    with pytest.raises(ValueError, match=f"cannot be routed, since {reason}"):
        architecture_of(plain)


def test_models_of_more_than_text_or_with_parameters_of_no_layer_are_refused() -> None:
    plain = plain_model("llama")
    plain.config.get_text_config = lambda: copy.copy(plain.config)
    with pytest.raises(ValueError, match="since it reads more than text"):
        architecture_of(plain)
    plain = plain_model(UnknownConfig.model_type)
    for cell in plain.trunk.cells:
        cell.mix.sink = nn.Parameter(torch.zeros(8))
    with pytest.raises(ValueError, match="Mixer holds parameters beside those of its layers"):
        architecture_of(plain)


def test_gates_that_would_change_logits_are_taken_out_again() -> None:
    plain = plain_model("cohere")
    with torch.no_grad():
        expected = plain(tokens()[0]).logits
    plain.config.logit_scale = 0.5  # the model read another scale when it was made
    names = [name for name, _ in plain.named_modules()]
    for settings in ({}, {"units": 3, "layers": [0]}, {"adapters": AdapterConfig()}):
        with pytest.raises(ValueError, match="its logits are not those of its output head"):
            RoutedCausalLM(plain, **settings)
        assert [name for name, _ in plain.named_modules()] == names
        assert all(parameter.requires_grad for parameter in plain.parameters())
        with torch.no_grad():
            assert torch.equal(plain(tokens()[0]).logits, expected)


def test_model_that_looks_into_a_gated_layer_is_refused() -> None:
    plain = plain_model("llama")
    own = plain.model.forward

    def forward(*args: object, **kwargs: object) -> object:
        assert plain.model.layers[0].mlp.up_proj.weight.ndim == 2
        return own(*args, **kwargs)

    plain.model.forward = forward
    with pytest.raises(ValueError, match=r"computed with gates inside .*'weight'"):
        RoutedCausalLM(plain)


def test_units_are_added_only_where_a_configuration_can_say_so() -> None:
    bloom = model_of(transformers.BloomConfig(**TOKENS, vocab_size=13, hidden_size=8, n_head=2))
    with pytest.raises(ValueError, match="no setting of BloomConfig gives the number of hidden"):
        RoutedCausalLM(bloom, 3, [0])
    with torch.no_grad():
        expected = bloom.eval()(tokens()[0]).logits
        model = RoutedCausalLM(bloom, adapters=AdapterConfig())
        assert torch.equal(model(tokens()[0]), expected)


def test_units_that_depend_on_each_other_are_not_added(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_model(UnknownConfig.model_type)

    def mixed(self: Any, x_btd: Tensor) -> Tensor:  # noqa: ANN401 (an MLP of the test's model)
        y_btd: Tensor = self.outer(self.inner(x_btd).softmax(-1))
        return y_btd

    monkeypatch.setattr(type(plain.trunk.cells[0].units), "forward", mixed)
    with pytest.raises(ValueError, match="Units mixes its hidden units, so that none can be added"):
        RoutedCausalLM(plain, 3, [0])
    RoutedCausalLM(plain, adapters=AdapterConfig())


def test_module_that_mixes_tokens_is_no_mlp(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_model(UnknownConfig.model_type)

    def mixing(self: Any, x_btd: Tensor) -> Tensor:  # noqa: ANN401 (an MLP of the test's model)
        y_btd: Tensor = self.outer(F.relu(self.inner(x_btd)).cumsum(1))
        return y_btd

    monkeypatch.setattr(type(plain.trunk.cells[0].units), "forward", mixing)
    with pytest.raises(ValueError, match="Cell holds no MLP of plain linear maps"):
        architecture_of(plain)


def test_scales_and_soft_maxima_of_logits_are_those_of_the_model() -> None:
    config = transformers.GraniteConfig(**GROUPED, **TOKENS, logits_scaling=3.0)
    plain = model_of(config).eval()
    with torch.no_grad():
        expected = plain(tokens()[0]).logits
        assert torch.equal(RoutedCausalLM(plain)(tokens()[0]), expected)
    assert {CONFIGS["cohere"].logit_scale, CONFIGS["gemma3_text"].final_logit_softcapping} == {
        0.25,
        5.0,
    }


def test_parallel_residuals_are_covered() -> None:
    assert CONFIGS["gpt_neox"].use_parallel_residual
    assert CONFIGS["stablelm"].use_parallel_residual
    serial = transformers.GPTNeoXConfig(**SIZES, **LLAMA, **TOKENS, use_parallel_residual=False)
    assert asdict(architecture_of(model_of(serial))) == EXPECTED["gpt_neox"]
