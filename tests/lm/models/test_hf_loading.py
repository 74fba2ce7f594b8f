"""Pretrained models load with their tokenizer, and failures give an error of one line."""

import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import GatedRepoError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from lm.models.hf_loading import load_pretrained
from tests.lm.models.hf_factories import plain_model, transformers


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
