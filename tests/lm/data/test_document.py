"""Tests of the tokens around documents, which are those of the pretraining of a model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer, models

from lm.data.document import marks, vocabulary

transformers = pytest.importorskip("transformers")

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_of(
    words: Sequence[str], end: str | None, begin: str | None = None
) -> "PreTrainedTokenizerBase":
    """Return a tokenizer with the given tokens, numbered in order."""
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, words[0]))
    named = {"eos_token": end, "bos_token": begin}
    given = {name: token for name, token in named.items() if token is not None}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **given)


@pytest.mark.parametrize(
    ("words", "end", "begin", "around"),
    [
        # SmolLM2 and Qwen2.5, as pretrained and as instruct models
        (["<|endoftext|>", "<|im_start|>"], "<|endoftext|>", None, ("<|endoftext|>",) * 2),
        (
            ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            "<|im_end|>",
            "<|im_start|>",
            ("<|endoftext|>",) * 2,
        ),
        (["a", "<|im_end|>", "<|endoftext|>"], "<|im_end|>", None, ("<|endoftext|>",) * 2),
        # GPT-Neo
        (["a", "<|endoftext|>"], "<|endoftext|>", "<|endoftext|>", ("<|endoftext|>",) * 2),
        # Llama 2 and 3, the second as an instruct model
        (["a", "<s>", "</s>"], "</s>", "<s>", ("<s>", "</s>")),
        (
            ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
            "<|eot_id|>",
            "<|begin_of_text|>",
            ("<|begin_of_text|>", "<|end_of_text|>"),
        ),
        (["<bos>", "<eos>", "<end_of_turn>"], "<end_of_turn>", "<bos>", ("<bos>", "<eos>")),
        (["a", "[END]"], "[END]", None, ("[END]", "[END]")),
    ],
)
def test_documents_stand_between_the_tokens_of_pretraining(
    words: list[str], end: str, begin: str | None, around: tuple[str, str]
) -> None:
    tokenizer = tokenizer_of(words, end, begin)
    found = vocabulary(tokenizer)
    assert found.around == around
    assert (found.start, found.end) == marks(tokenizer) == tuple(map(words.index, around))


@pytest.mark.parametrize(
    ("end", "message"), [(None, "no end-of-text token: set"), ("<|im_end|>", "ends a turn of a")]
)
def test_tokenizer_is_refused_when_no_token_separates_documents(
    end: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        marks(tokenizer_of(["a", "<|im_end|>"], end))


@pytest.mark.parametrize(
    ("words", "tokens", "around"),
    [
        (["a", "<|endoftext|>"], {}, ("<|endoftext|>",) * 2),
        (["a", "<s>"], {"bos_token": "<s>"}, ("<s>", "<s>")),
        (["a", "[SEP]", "[PAD]"], {"sep_token": "[SEP]", "pad_token": "[PAD]"}, ("[SEP]",) * 2),
        (["a", "[PAD]"], {"pad_token": "[PAD]"}, ("[PAD]",) * 2),
        (["a", "\n"], {}, ("\n", "\n")),
    ],
)
def test_tokenizer_without_end_separates_documents_by_another_token(
    words: list[str], tokens: dict[str, str], around: tuple[str, str]
) -> None:
    tokenizer = tokenizer_of(words, None)
    for name, token in tokens.items():
        setattr(tokenizer, name, token)
    assert vocabulary(tokenizer).around == around
