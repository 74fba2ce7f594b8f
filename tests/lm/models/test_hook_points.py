"""The gates of a model are hook points of TransformerLens in its export."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm.corpus import make_grammar, make_world, story_tokenizer
from lm.models.gpt import GPT
from lm.models.gpt_export import to_causal_lm, to_pretrained_tokenizer
from lm.models.hook_points import gate_hooks
from lm.models.shapes import GPTConfig
from oversight.routing import Gate

SHAPE = GPTConfig(
    vocab_size=300,
    width=16,
    num_layers=2,
    num_heads=2,
    context=16,
    expansion=4,
    expanded_layers=(0, 1),
    modules=("sea", "forest"),
)


def random_model(shape: GPTConfig = SHAPE) -> GPT:
    """Return a model all of whose weights are random, those of modules included."""
    model, generator = GPT(shape), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model


def test_experts_have_no_hook_points() -> None:
    shape = GPTConfig(
        vocab_size=8,
        width=4,
        num_layers=1,
        num_heads=1,
        expansion=16,
        expanded_layers=(0,),
        modules=("sea",),
        expert_weights=(1.0,),
    )
    with pytest.raises(ValueError, match="experts"):
        list(gate_hooks(GPT(shape)))


def exported_to_lens(model: GPT, folder: Path) -> Any:  # noqa: ANN401
    """Export a model with a tokenizer, and return it as TransformerLens loads it."""
    lens = pytest.importorskip("transformer_lens.model_bridge")
    to_causal_lm(model).save_pretrained(folder)
    words = story_tokenizer(make_grammar(make_world(seed=0)), SHAPE.vocab_size)
    to_pretrained_tokenizer(words).save_pretrained(folder)
    return lens.TransformerBridge.boot_transformers(str(folder))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_flows_through_a_gate_is_at_its_hook_point(tmp_path: Path) -> None:
    model = random_model()
    bridge = exported_to_lens(model, tmp_path)
    tokens = torch.arange(10)[None] % SHAPE.vocab_size
    flows: list[tuple[str, Tensor]] = []

    def read(module: nn.Module, inputs: Any, y: Tensor) -> None:  # noqa: ANN401
        assert isinstance(module, Gate)
        flows.append((module.targets[0], y.detach()))

    for block in model.layers():
        for each in block.modules():
            if isinstance(each, Gate):
                each.register_forward_hook(read)
    with torch.no_grad():
        model(tokens)
        _, cache = bridge.run_with_cache(tokens)
    hooks = list(gate_hooks(model))
    assert len(flows) == len(hooks) == 2 * 5
    for layer in range(2):
        expected = dict(flows[5 * layer : 5 * layer + 5])
        for gate in (each for each in hooks if each.layer == layer):
            there = cache[gate.hook][..., gate.start : gate.stop]
            torch.testing.assert_close(there, expected[gate.target], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_zeros_at_the_hook_points_of_a_module_remove_it(tmp_path: Path) -> None:
    model = random_model()
    bridge = exported_to_lens(model, tmp_path)
    tokens = torch.arange(10)[None] % SHAPE.vocab_size

    def without(gate: Any) -> Any:  # noqa: ANN401
        def zero(values: Tensor, hook: object) -> Tensor:
            values = values.clone()
            values[..., gate.start : gate.stop] = 0
            return values

        return gate.hook, zero

    hooks = [without(gate) for gate in gate_hooks(model) if gate.target == "sea"]
    with torch.no_grad():
        ablated = bridge.run_with_hooks(tokens, fwd_hooks=hooks)
        expected = model.profile("forest")(tokens)
        whole = bridge(tokens)
    torch.testing.assert_close(ablated, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole, expected, atol=1e-2)
