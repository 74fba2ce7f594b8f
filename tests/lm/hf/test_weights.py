"""A routed model of each family comes back from its file, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lm.models import files
from lm.models.hf import RoutedCausalLM
from tests.lm.hf.small import FAMILIES, adapted_model, expanded_model, plain_model, tokens


@FAMILIES
@pytest.mark.parametrize("made", [expanded_model, adapted_model])
def test_a_saved_model_is_the_same_again(
    family: str, made: Callable[[str], RoutedCausalLM], tmp_path: Path
) -> None:
    model, path = made(family), tmp_path / "model.safetensors"
    files.save(model, path)
    again = files.load(path)
    assert isinstance(again, RoutedCausalLM)
    added = model.units, model.expanded_layers, model.adapters
    assert (again.units, again.expanded_layers, again.adapters) == added
    with torch.no_grad():
        assert torch.equal(again(tokens()[0]), model(tokens()[0]))
    sizes = {target: len(some) for target, some in model.parameter_targets().items()}
    assert {target: len(some) for target, some in again.parameter_targets().items()} == sizes


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    files.save(RoutedCausalLM(plain_model("qwen2")), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is no model saved by this project"):
        files.load(path)
    with pytest.raises(ValueError, match="cannot be written"):
        files.save(RoutedCausalLM(plain_model("qwen2")), tmp_path / "no" / "model.safetensors")
