"""Parameters that are counted by arithmetic are those of the models."""

from dataclasses import replace

import pytest
import torch

from lm.dry_run import PUBLISHED, Kind, Shape, shape_of
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.hf_layers import AdapterConfig
from lm.models.layers import SIZES, GPTConfig
from tests.lm.models.gpt_factories import EXPANDED, SMALL
from tests.lm.models.hf_factories import transformers

KINDS: dict[Kind, str] = {"gpt_neo": "GPTNeo", "llama": "Llama", "qwen2": "Qwen2"}
TINY = {
    kind: Shape(kind=kind, vocab_size=13, width=8, layers=2, hidden=12, heads=4, kv_heads=2)
    for kind in KINDS
}
TINY["gpt_neo"] = replace(TINY["gpt_neo"], hidden=32, kv_heads=4, positions=16)


def built(shape: Shape) -> "transformers.PreTrainedModel":
    """Return a model of a shape; on the meta device its weights take no room."""
    if shape.kind == "gpt_neo":
        config = transformers.GPTNeoConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.width,
            num_layers=shape.layers,
            num_heads=shape.heads,
            attention_types=[[["global", "local"], shape.layers // 2]],
            intermediate_size=shape.hidden,
            max_position_embeddings=shape.positions,
            tie_word_embeddings=shape.tied,
        )
    else:
        config = getattr(transformers, f"{KINDS[shape.kind]}Config")(
            vocab_size=shape.vocab_size,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            intermediate_size=shape.hidden,
            tie_word_embeddings=shape.tied,
        )
    return transformers.AutoModelForCausalLM.from_config(config)


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_are_those_of_models_built_so(name: str) -> None:
    with torch.device("meta"):
        assert count(built(PUBLISHED[name])) == PUBLISHED[name].plain


def test_published_shapes_have_the_parameters_that_are_published() -> None:
    assert PUBLISHED["SmolLM2-135M"].total == 134_515_008
    assert round(PUBLISHED["Qwen2.5-0.5B"].total / 1e9, 2) == 0.49
    qwen = PUBLISHED["Qwen2.5-0.5B"]
    assert round((qwen.total - qwen.embedding) / 1e9, 2) == 0.36


@pytest.mark.parametrize("name", SIZES)
def test_our_sizes_have_the_parameters_that_are_counted(name: str) -> None:
    config = SIZES[name]
    layers = tuple(range(config.num_layers))
    expanded = replace(config, expansion=64, expanded_layers=layers, added_embedding=True)
    for each in (config, expanded):
        assert shape_of(each).total == closed_form(each)
    if shape_of(expanded).total < 10_000_000:
        assert count(GPT(expanded)) == shape_of(expanded).total


def closed_form(config: GPTConfig) -> int:
    """Return the parameters of a GPT: 12 times the squared width in a block, and the embedding."""
    embeddings = config.vocab_size * config.width * (2 if config.added_embedding else 1)
    block = 12 * config.width**2 + 2 * config.width * config.expansion
    return embeddings + config.num_layers * block


def test_a_small_model_has_the_parameters_that_are_counted() -> None:
    whole = replace(EXPANDED, expanded_layers=(0, 1))
    for config in (SMALL, whole):
        assert count(GPT(config)) == shape_of(config).total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_what_is_added_is_counted(kind: Kind, tied: bool) -> None:
    shape = replace(TINY[kind], tied=tied)
    assert count(built(shape)) == shape.total == shape.trained
    expanded = replace(shape, units=3)
    assert count(RoutedCausalLM(built(shape), 3, [0, 1])) == expanded.total == expanded.trained
    adapted = replace(shape, rank=2)
    model = RoutedCausalLM(built(shape), adapters=AdapterConfig(rank=2))
    assert count(model) == adapted.total
    trained = [p for part in model.parameter_targets().values() for p in part]
    assert sum(p.numel() for p in trained) == adapted.trained
