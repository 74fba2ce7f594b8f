"""Saved models load with equal bits, and damaged or foreign files are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lm.models.files import load, save
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.shapes import GPTConfig
from tests.lm.models.gpt_factories import EXPANDED, EXPERTS, random_gpt
from tests.lm.models.hf_factories import (
    FAMILIES,
    adapted_model,
    expanded_model,
    plain_model,
    tokens,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("config", [EXPANDED, EXPERTS], ids=["expanded", "experts"])
def test_gpt_loads_with_equal_bits_after_saving(
    config: GPTConfig, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = random_gpt(config, dtype)
    assert ("expert_weights" in model.shape) == (config is EXPERTS)  # older files have none
    save(model, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors")
    assert isinstance(back, GPT)
    assert back.config == model.config
    before, after = model.state_dict(), back.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert back.embedding.dtype == dtype
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_file_follows_the_safetensors_format(tmp_path: Path) -> None:
    model = random_gpt(EXPANDED)
    save(model, tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    entry = header["embedding"]
    start, end = (8 + length + place for place in entry["data_offsets"])
    assert length % 8 == 0
    assert entry["dtype"] == "F32"
    assert entry["shape"] == [13, 8]
    assert content[start:end] == model.embedding.detach().numpy().tobytes()
    ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
    assert max(ends) == len(content) - 8 - length


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(random_gpt(EXPANDED), path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"\xff" * 99, b"\x02" + b"\0" * 7 + b"{}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no model saved by this project"):
            load(path)
    path.write_bytes(whole.replace(b'"embedding"', b'"embeddinG"'))
    with pytest.raises(ValueError, match="are missing or unknown"):
        load(path)


@FAMILIES
@pytest.mark.parametrize("made", [expanded_model, adapted_model])
def test_hf_model_loads_with_equal_bits_after_saving(
    family: str, made: Callable[[str], RoutedCausalLM], tmp_path: Path
) -> None:
    model, path = made(family), tmp_path / "model.safetensors"
    save(model, path)
    again = load(path)
    assert isinstance(again, RoutedCausalLM)
    added = model.units, model.expanded_layers, model.adapters
    assert (again.units, again.expanded_layers, again.adapters) == added
    with torch.no_grad():
        assert torch.equal(again(tokens()[0]), model(tokens()[0]))
    sizes = {target: len(some) for target, some in model.parameter_targets().items()}
    assert {target: len(some) for target, some in again.parameter_targets().items()} == sizes


def test_truncated_hf_file_and_unwritable_path_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(RoutedCausalLM(plain_model("qwen2")), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is no model saved by this project"):
        load(path)
    with pytest.raises(ValueError, match="cannot be written"):
        save(RoutedCausalLM(plain_model("qwen2")), tmp_path / "no" / "model.safetensors")


def test_model_that_was_loaded_is_saved_with_the_same_bytes(tmp_path: Path) -> None:
    plain = plain_model("llama")
    # a setting that transformers sets after it has made a config, as chat models have
    plain.config.dtype = torch.float32
    plain.config.__dict__ = {"unk_token_id": 1, **plain.config.__dict__}
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    save(RoutedCausalLM(plain), paths[0])
    save(load(paths[0]), paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
