"""A saved model comes back whole, and nothing else is taken for one."""

import json
from pathlib import Path

import pytest
import torch

from lm.models.gpt import load, save
from tests.lm.small import EXPANDED, lively


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_model_comes_back_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    model = lively(EXPANDED, dtype)
    save(model, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors")
    assert back.config == model.config
    before, after = model.state_dict(), back.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert back.embedding.dtype == dtype
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_file_is_laid_out_as_the_format_says(tmp_path: Path) -> None:
    model = lively(EXPANDED)
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


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(lively(EXPANDED), path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"\xff" * 99, b"\x02" + b"\0" * 7 + b"{}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no model saved by this project"):
            load(path)
    path.write_bytes(whole.replace(b'"embedding"', b'"embeddinG"'))
    with pytest.raises(ValueError, match="another shape"):
        load(path)
