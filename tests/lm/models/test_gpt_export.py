"""A GPT exported to Hugging Face has the same logits, and its folder loads to the same bits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm.models.gpt import GPT
from lm.models.gpt_export import to_causal_lm, to_pretrained_tokenizer
from lm.models.hf import RoutedCausalLM
from lm.models.hf_loading import load_pretrained, save_pretrained
from lm.models.shapes import SIZES
from tests.lm.evaluation.factories import tiny_task
from tests.lm.models.gpt_factories import EXPANDED, SMALL, random_gpt, tokens

SHAPE = replace(
    SIZES["nano"],
    vocab_size=512,
    context=96,
    expansion=16,
    expanded_layers=(0, 1, 2, 3),
    added_embedding=True,
    modules=("forest", "sea"),
)
EXPERTS = replace(SHAPE, expansion=SHAPE.hidden, added_embedding=False, expert_weights=(1.0, 1.0))
PROFILES = [((), {}), (("sea",), {}), (("forest", "sea"), {}), (("forest", "sea"), {"sea": 0.5})]


@pytest.fixture(scope="module")
def model() -> GPT:
    """Return a model of the usual size whose modules write as much as a trained one's."""
    made = GPT(SHAPE, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "added" in name:
                parameter.normal_(0, 0.1, generator=generator)
    return made


@pytest.mark.parametrize(("on", "weights"), PROFILES)
def test_logits_equal_those_of_the_profile(
    on: tuple[str, ...], weights: dict[str, float], model: GPT
) -> None:
    served = model.profile(*on, weights=weights)
    plain, (inputs, _) = to_causal_lm(served), tokens(config=SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(plain(inputs).logits, served(inputs), rtol=0, atol=1e-5)
        assert torch.equal(RoutedCausalLM(plain)(inputs), plain(inputs).logits)
    assert plain.config.intermediate_size == 512 + 16 * len(on)


@pytest.mark.parametrize(("on", "weights"), PROFILES)
def test_experts_become_units_that_write_their_share_of_the_mean(
    on: tuple[str, ...], weights: dict[str, float]
) -> None:
    served = GPT(EXPERTS, seed=1).profile(*on, weights=weights)
    plain, (inputs, _) = to_causal_lm(served), tokens(config=SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(plain(inputs).logits, served(inputs), rtol=0, atol=1e-5)
        assert torch.equal(RoutedCausalLM(plain)(inputs), plain(inputs).logits)
    assert plain.config.intermediate_size == 512 * (1 + len(on))


def test_logits_are_exact_in_float64_also_where_weights_are_large() -> None:
    served = random_gpt(SMALL, torch.float64)
    inputs, _ = tokens()
    with torch.no_grad():
        # the rotary frequencies and norms of transformers are computed in float32
        torch.testing.assert_close(
            to_causal_lm(served)(inputs).logits, served(inputs), atol=1e-4, rtol=0
        )


def test_folder_loads_with_the_same_bits_and_its_tokenizer(model: GPT, tmp_path: Path) -> None:
    task = tiny_task()
    plain = to_causal_lm(model.profile("sea"), task.end)
    save_pretrained(plain, to_pretrained_tokenizer(task.tokenizer, task.end), tmp_path / "plain")
    again, tokenizer = load_pretrained(tmp_path / "plain")
    inputs, _ = tokens(config=SHAPE)
    with torch.no_grad():
        assert torch.equal(again(inputs).logits, plain(inputs).logits)
    text = "One day Ann saw a tree."
    assert tokenizer(text)["input_ids"] == [task.start, *task.encode(text)]
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert tokenizer.eos_token_id == again.config.eos_token_id == task.end


def test_export_leaves_the_model_alone(model: GPT) -> None:
    before = {name: each.clone() for name, each in model.state_dict().items()}
    plain = to_causal_lm(model)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


def test_model_with_some_expanded_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layers \(1,\) of 2 are expanded: .* expand all layers"):
        to_causal_lm(GPT(EXPANDED))
