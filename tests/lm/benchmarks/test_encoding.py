"""The boundary between prompt and continuation, in tokens."""

from typing import TYPE_CHECKING

import pytest

from lm.benchmarks.scoring import Encoder, Request
from tests.lm.benchmarks.made import made_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BEGINS = pytest.mark.parametrize("begins", [True, False])


def pieces(tokenizer: "PreTrainedTokenizerBase", tokens: tuple[int, ...]) -> list[str]:
    found: list[str] = tokenizer.convert_ids_to_tokens(list(tokens))
    return found


@BEGINS
def test_a_letter_is_one_token_with_its_space(begins: bool) -> None:
    tokenizer = made_tokenizer(begins)
    rows = Encoder(tokenizer, 50).rows(Request("the\nAnswer:", (" A", " B")))
    assert [pieces(tokenizer, row.targets) for row in rows] == [["\u0120A"], ["\u0120B"]]
    first = ["<s>"] if begins else []
    read = [*first, "t", "he", "\u010a", "Answer", ":"]
    assert [pieces(tokenizer, row.read) for row in rows] == [read, read]


@BEGINS
def test_spaces_at_the_end_of_a_prompt_belong_to_the_continuation(begins: bool) -> None:
    encoder = Encoder(made_tokenizer(begins), 50)
    moved = encoder.rows(Request("Answer:  ", ("A", "for")))
    assert moved == encoder.rows(Request("Answer:", ("  A", "  for")))
    assert moved != encoder.rows(Request("Answer:", (" A", " for")))


def test_a_text_that_brings_the_first_token_gets_no_second() -> None:
    tokenizer = made_tokenizer(begins=True)
    encoder = Encoder(tokenizer, 50)
    assert encoder.rows(Request("<s>the:", (" A",))) == encoder.rows(Request("the:", (" A",)))
    (row,) = encoder.rows(Request(" <s>the:", (" A",)))
    assert pieces(tokenizer, row.read).count("<s>") == 2


def test_what_does_not_fit_is_dropped_on_the_left() -> None:
    tokenizer = made_tokenizer(begins=True)
    request = Request("the water for the Answer:", (" swer ring",))
    (whole,) = Encoder(tokenizer, 50).rows(request)
    for context in range(len(whole.targets), len(whole.read) + 3):
        (row,) = Encoder(tokenizer, context).rows(request)
        assert row == (whole.read[-context:], whole.targets)


@pytest.mark.parametrize(
    ("request_", "context", "told"),
    [
        (Request("Answer", ("",)), 50, "0 tokens after the prompt"),
        (Request("Answ", ("er",)), 50, "0 tokens"),  # one token together
        (Request("Answer:", (" for swer ring",)), 3, "give from 1 to 3"),
    ],
)
def test_what_is_no_continuation_is_refused(request_: Request, context: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Encoder(made_tokenizer(begins=True), context).rows(request_)
