"""Tokens of stories equal those of the text, and their labels match a slow reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.corpus import (
    END,
    Stories,
    encode,
    sample_stories,
    story_tokenizer,
    train_tokenizer,
)
from lm.corpus.grammar import PIECE
from tests.lm.corpus.factories import full

Spans = list[tuple[int, int]]
GRAMMAR = full()
SMALL = story_tokenizer(GRAMMAR, 400)  # so small that most words are several tokens


def stories(count: int = 60) -> Stories:
    return sample_stories(GRAMMAR, count, np.random.default_rng(0))


def fact_spans(sampled: Stories, number: int) -> Spans:
    """Return the spans of entities and values in the text of one story."""
    spans, at = [], 0
    for place in range(sampled.starts[number], sampled.starts[number + 1] - 1):
        piece = GRAMMAR.pieces[sampled.pieces[place]]
        if sampled.facts[place] >= 0:
            spans.append((at, at + len(piece)))
        at += len(piece)
    return spans


def overlaps(offsets: Spans, spans: Spans) -> list[bool]:
    """Return which tokens share a character with a span."""
    labeled = {at for start, stop in spans for at in range(start, stop)}
    return [any(at in labeled for at in range(start, stop)) for start, stop in offsets]


@pytest.mark.parametrize("vocab_size", [257, 1024])
def test_tokens_and_fact_labels_match_the_tokenized_text(vocab_size: int) -> None:
    tokenizer = story_tokenizer(GRAMMAR, vocab_size)
    sampled = stories()
    tokens = encode(sampled, tokenizer)
    for number, text in enumerate(sampled.texts()):
        row = slice(tokens.starts[number], tokens.starts[number + 1])
        encoding = tokenizer.encode(text)
        assert tokens.ids[row].tolist() == [*encoding.ids, tokenizer.token_to_id(END)]
        spans = fact_spans(sampled, number)
        assert spans
        stated = tokens.facts[row] >= 0
        assert stated.tolist() == [*overlaps(encoding.offsets, spans), False]
    assert len(tokens) == tokens.starts[-1] == len(tokens.kinds) == len(tokens.facts)


def test_tokens_have_the_kind_of_their_word() -> None:
    sampled = stories()
    tokens = encode(sampled, SMALL)
    assert len(tokens) > 1.3 * len(sampled.pieces)
    lengths = [len(SMALL.encode(piece).ids) for piece in GRAMMAR.pieces]
    slow = [
        k for k, p in zip(sampled.kinds, sampled.pieces, strict=True) for _ in range(lengths[p])
    ]
    assert tokens.kinds.tolist() == slow


@given(text=st.text().filter(lambda text: END not in text))
def test_decode_inverts_encode_for_any_text(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text).ids) == text


def test_end_is_token_zero_and_words_do_not_merge() -> None:
    assert SMALL.encode(f"One day.{END}").ids[-1] == SMALL.token_to_id(END) == 0
    text = next(stories().texts())
    apart = [token for piece in PIECE.findall(text) for token in SMALL.encode(piece).ids]
    assert SMALL.encode(text).ids == apart


def test_tokenizer_is_deterministic() -> None:
    assert story_tokenizer(GRAMMAR, 400).to_str() == SMALL.to_str()


@pytest.mark.parametrize("vocab_size", [256, 65537])
def test_train_tokenizer_refuses_a_vocabulary_size_out_of_range(vocab_size: int) -> None:
    with pytest.raises(ValueError, match=f"from 257 to 65536, got {vocab_size}"):
        train_tokenizer(["One day."], vocab_size)
