"""Pretrained models load with their tokenizer, and failures give an error of one line."""

import json
import pickle
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import GatedRepoError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor

from lm.models.hf_loading import load_pretrained
from oversight.runs.folder import read_json
from tests.lm.models.hf_factories import plain_model, tokens, transformers


def folder(path: Path, words: int) -> Path:
    """Write a tiny model, and a tokenizer with the given number of words."""
    tokenizer = Tokenizer(WordLevel({f"w{n}": n for n in range(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0")
    fast.save_pretrained(path)
    plain_model("llama").half().save_pretrained(path)
    return path


def test_model_is_loaded_in_float32_with_its_tokenizer(tmp_path: Path) -> None:
    model, tokenizer = load_pretrained(folder(tmp_path, 13))
    assert tokenizer("w3 w12")["input_ids"] == [3, 12]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    expected = plain_model("llama").half().float().state_dict()
    assert all(torch.equal(expected[name], part) for name, part in model.state_dict().items())


def test_tokenizer_is_refused_when_it_has_more_tokens_than_the_embedding(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 14 tokens and the model's embedding 13") as caught:
        load_pretrained(folder(tmp_path, 14))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gguf_file", [None, "model.gguf"])
def test_folder_is_refused_when_missing_or_without_a_model(
    tmp_path: Path, gguf_file: str | None
) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ValueError, match="is no model that can be loaded") as caught:
            load_pretrained(path, gguf_file)
        assert "\n" not in str(caught.value)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def without(path: Path, name: str) -> None:
    kept = {key: part for key, part in weights_of(path).items() if key != name}
    save_file(kept, path / "model.safetensors", {"format": "pt"})


def refusal(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Return the only line that is said of a folder that cannot be loaded."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load_pretrained(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    return str(caught.value)


NORM, HEAD = "model.layers.1.input_layernorm.weight", "lm_head.weight"


@pytest.mark.parametrize("name", [NORM, HEAD, "model.layers.0.self_attn.q_proj.bias"])
def test_checkpoint_without_a_tensor_is_refused(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    without(folder(tmp_path, 13), name)
    assert f"lacks {name}: give a complete one" in refusal(tmp_path, capfd)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_checkpoint_is_refused_when_a_value_is_not_finite(
    tmp_path: Path, value: float, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(folder(tmp_path, 13))
    weights[NORM][3] = value
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert f"has values that are not finite in {NORM}" in refusal(tmp_path, capfd)


def test_checkpoint_is_refused_when_tensors_are_renamed_added_or_of_other_shape(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(folder(tmp_path, 13))
    renamed = {key.replace("layers.1", "layers.7"): part for key, part in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", {"format": "pt"})
    assert "lacks model.layers.1." in refusal(tmp_path, capfd)
    added = {**weights, "model.layers.2.mlp.up_proj.weight": torch.ones(2)}
    save_file(added, tmp_path / "model.safetensors", {"format": "pt"})
    assert "no part of the model reads, under model.layers.2.mlp" in refusal(tmp_path, capfd)
    save_file({**weights, NORM: torch.ones(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    told = f"has other shapes than its configuration states for {NORM} (shape (3,))"
    assert told in refusal(tmp_path, capfd)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.bool, torch.complex64])
def test_checkpoint_is_refused_when_weights_are_no_real_numbers(
    tmp_path: Path, dtype: torch.dtype, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(folder(tmp_path, 13))
    changed = {**weights, NORM: weights[NORM].to(dtype)}
    names = [tmp_path / f"model{end}.safetensors" for end in ("", "-00001-of-00001")]
    save_file(changed, names[0], {"format": "pt"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of the imaginary part
        assert f"stores {NORM} as " in refusal(tmp_path, capfd)
        names[0].rename(names[1])
        index = {"metadata": {}, "weight_map": dict.fromkeys(changed, names[1].name)}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        assert f"stores {NORM} as " in refusal(tmp_path, capfd)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before zip"])
@pytest.mark.parametrize("prefix", ["", "model."], ids=["whole", "base model"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.bool])
def test_pickle_is_refused_when_weights_are_no_real_numbers(
    tmp_path: Path, dtype: torch.dtype, prefix: str, old: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(folder(tmp_path, 13))
    (tmp_path / "model.safetensors").unlink()
    renamed = {key.removeprefix(prefix): part for key, part in weights.items()}
    changed = NORM.removeprefix(prefix)
    path = tmp_path / "pytorch_model.bin"
    torch.save(renamed, path, _use_new_zipfile_serialization=not old)
    assert torch.equal(load_pretrained(tmp_path).model.get_parameter(NORM), weights[NORM].float())
    renamed[changed] = renamed[changed].to(dtype)
    torch.save(renamed, path, _use_new_zipfile_serialization=not old)
    assert f"stores {changed} as {str(dtype)[6:]}, which are no real" in refusal(tmp_path, capfd)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_checkpoint_in_parts_is_refused_without_a_part_or_its_tensors(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = weights_of(folder(tmp_path, 13))
    (tmp_path / "model.safetensors").unlink()
    stem, kind = name.split(".")
    parts = [tmp_path / f"{stem}-0000{part}-of-00002.{kind}" for part in (1, 2)]
    index = {"metadata": {}, "weight_map": {key: parts[key == NORM].name for key in weights}}
    (tmp_path / f"{name}.index.json").write_text(json.dumps(index))
    write = torch.save if kind == "bin" else save_file
    write({key: part for key, part in weights.items() if key != NORM}, parts[0])
    assert parts[1].name in refusal(tmp_path, capfd)
    write({"unknown": weights[NORM]}, parts[1])
    assert f"lacks {NORM}: give a complete one" in refusal(tmp_path, capfd)
    write({NORM: weights[NORM].to(torch.int32)}, parts[1])
    assert f"stores {NORM} as " in refusal(tmp_path, capfd)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn])
def test_real_weights_of_any_precision_are_loaded(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = weights_of(folder(tmp_path, 13))
    changed = {**weights, NORM: weights[NORM].to(dtype)}
    save_file(changed, tmp_path / "model.safetensors", {"format": "pt"})
    assert load_pretrained(tmp_path).model.get_parameter(NORM).dtype == torch.float32


def test_tensors_that_a_model_computes_are_no_reason_to_refuse(tmp_path: Path) -> None:
    weights = weights_of(folder(tmp_path, 13))
    known = {**weights, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}
    save_file(known, tmp_path / "model.safetensors", {"format": "pt"})
    assert load_pretrained(tmp_path).model.config.num_hidden_layers == 2


def test_tied_output_head_is_not_missing(tmp_path: Path) -> None:
    folder(tmp_path, 12)
    plain_model("qwen2").save_pretrained(tmp_path)
    assert HEAD not in weights_of(tmp_path)
    assert load_pretrained(tmp_path).model.lm_head.weight.isfinite().all()


# names of tensors on the hub, and tensors there that newer models compute
MASK, FREQUENCIES = torch.ones(1, 1, 16, 16), torch.ones(2)
ON_THE_HUB: dict[str, tuple[str, str, dict[str, Tensor]]] = {
    "gpt2": ("transformer.", "", {"h.0.attn.bias": MASK, "h.0.attn.masked_bias": torch.ones(1)}),
    "gpt_neox": (
        "lm_head.",
        "embed_out.",
        {
            "gpt_neox.layers.0.attention.bias": MASK,
            "gpt_neox.layers.0.attention.masked_bias": torch.ones(1),
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq": FREQUENCIES,
        },
    ),
}


@pytest.mark.parametrize("family", ON_THE_HUB)
def test_checkpoints_of_gpt2_and_pythia_are_loaded_as_they_are_on_the_hub(
    tmp_path: Path, family: str
) -> None:
    own, there, computed = ON_THE_HUB[family]
    plain = plain_model(family)
    folder(tmp_path, 13)
    plain.save_pretrained(tmp_path)
    weights = {name.replace(own, there): part for name, part in weights_of(tmp_path).items()}
    save_file({**weights, **computed}, tmp_path / "model.safetensors", {"format": "pt"})
    loaded, tokens_bt = load_pretrained(tmp_path).model, tokens()[0]
    with torch.no_grad():
        assert torch.equal(loaded(tokens_bt).logits, plain(tokens_bt).logits)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.99])
def test_truncated_file_is_refused(
    tmp_path: Path, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder(tmp_path, 13) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert "is no model that can be loaded" in refusal(tmp_path, capfd)


def test_folder_without_a_tokenizer_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in folder(tmp_path, 13).glob("tokenizer*"):
        path.unlink()
    assert "with its tokenizer, which is missing or damaged" in refusal(tmp_path, capfd)


def test_settings_of_a_tokenizer_of_another_type_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder(tmp_path, 13) / "tokenizer_config.json"
    path.write_text(json.dumps({**read_json(path), "model_max_length": "x"}))
    assert "is no model that can be loaded" in refusal(tmp_path, capfd)


def test_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="the name of a model is empty: give a folder"):
        load_pretrained("")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"a": _Evil()}), None])
def test_pickle_that_cannot_be_read_safely_is_refused(
    tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder(tmp_path, 13) / "model.safetensors").unlink()
    path = tmp_path / "pytorch_model.bin"
    if content is None:
        torch.save({"a": _Evil()}, path)
    else:
        path.write_bytes(content)
    said = refusal(tmp_path, capfd)
    assert "is no model that can be loaded" in said
    assert "weights_only" not in said  # the library tells how to run it
    assert said.isprintable()


def test_folder_of_an_adapter_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder(tmp_path, 13) / "config.json").unlink()
    (tmp_path / "model.safetensors").unlink()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "a/b", "task_type": "CAUSAL_LM"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    assert "merge it by `merge_and_unload`" in refusal(tmp_path, capfd)


def test_code_of_a_model_is_never_run_and_no_question_is_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    config = read_json(folder(tmp_path, 13) / "config.json")
    config |= {
        "model_type": "own",
        "auto_map": {
            "AutoConfig": "code.Config",
            "AutoModelForCausalLM": "code.Model",
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('run')\n")
    assert "needs Python code of its own, which is never run" in refusal(tmp_path, capfd)


def test_error_explains_login_when_a_model_is_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        try:
            raise GatedRepoError.__new__(GatedRepoError)
        except GatedRepoError as error:
            raise OSError("You are trying to access a gated repo.\nMake sure ...") from error

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(ValueError, match="accept them on its page, then log in") as caught:
        load_pretrained("someone/something")
    assert "\n" not in str(caught.value)


def test_error_explains_installation_when_the_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[hf\]'") as caught:
        load_pretrained("someone/something")
    assert "\n" not in str(caught.value)
