"""Tokens: the same as tokenizing the text, with labels that a slow reading agrees with."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lm.corpus import (
    END,
    Stories,
    cached_tokenizer,
    encode,
    make_grammar,
    make_world,
    overlaps,
    sample_stories,
    story_ids,
    story_tokenizer,
    train_tokenizer,
)
from lm.corpus.grammar import PIECE
from tests.lm.corpus import full, tiny

Spans = list[tuple[int, int]]
GRAMMAR = full()
SMALL = story_tokenizer(GRAMMAR, 400)  # so small that most words are several tokens


def stories(count: int = 60) -> Stories:
    return sample_stories(GRAMMAR, count, np.random.default_rng(0))


def fact_spans(told: Stories, number: int) -> Spans:
    """Where the entities and values of one story are in its text, found word by word."""
    spans, at = [], 0
    for place in range(told.starts[number], told.starts[number + 1] - 1):
        piece = GRAMMAR.pieces[told.pieces[place]]
        if told.facts[place] >= 0:
            spans.append((at, at + len(piece)))
        at += len(piece)
    return spans


def slow_overlaps(offsets: Spans, spans: Spans) -> list[bool]:
    """Character by character: the reference."""
    labeled = {at for start, stop in spans for at in range(start, stop)}
    return [any(at in labeled for at in range(start, stop)) for start, stop in offsets]


PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=12).map(
    lambda pairs: [(start, start + length) for start, length in pairs]
)


@given(offsets=PAIRS, spans=PAIRS)
def test_a_token_is_labeled_where_it_shares_a_character(offsets: Spans, spans: Spans) -> None:
    assert overlaps(offsets, spans).tolist() == slow_overlaps(offsets, spans)


@pytest.mark.parametrize("bad", [[(3, 2)], [1, 2], [(1, 2, 3)]])
def test_what_is_no_span_is_refused(bad: list[object]) -> None:
    with pytest.raises(ValueError, match="pairs of a start and an end"):
        overlaps([(0, 1)], bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("vocab_size", [257, 400, 1024])
def test_tokens_and_labels_are_those_of_the_tokenized_text(vocab_size: int) -> None:
    tokenizer = story_tokenizer(GRAMMAR, vocab_size)
    told = stories()
    tokens = encode(told, tokenizer)
    stated = tokens.state(GRAMMAR.world.facts_of(GRAMMAR.world.topics))
    for number, (text, ids) in enumerate(zip(told.texts(), story_ids(tokens), strict=True)):
        encoding = tokenizer.encode(text)
        assert ids.tolist() == [*encoding.ids, tokenizer.token_to_id(END)]
        spans = fact_spans(told, number)
        assert spans
        row = stated[tokens.starts[number] : tokens.starts[number + 1]]
        assert row.tolist() == [*slow_overlaps(encoding.offsets, spans), False]
        assert row[:-1].tolist() == overlaps(encoding.offsets, spans).tolist()
    assert len(tokens) == tokens.starts[-1] == len(tokens.kinds) == len(tokens.facts)


def test_kinds_and_costs_of_words_are_kept() -> None:
    told = stories()
    tokens = encode(told, SMALL)
    assert len(tokens) > 1.3 * len(told.pieces)
    words = np.add.reduceat(told.nats, told.starts[:-1])
    np.testing.assert_allclose(np.add.reduceat(tokens.nats, tokens.starts[:-1]), words, rtol=1e-5)
    lengths = [len(SMALL.encode(piece).ids) for piece in GRAMMAR.pieces]
    slow = [k for k, p in zip(told.kinds, told.pieces, strict=True) for _ in range(lengths[p])]
    assert tokens.kinds.tolist() == slow


def test_labels_of_topics_and_facts() -> None:
    told = stories()
    tokens = encode(told, SMALL)
    forest = GRAMMAR.world.facts_of(["forest"])
    stated = tokens.state(forest)
    documents = tokens.of_story(told.topics == 0)
    assert stated.any()
    assert (documents >= stated).all()
    assert documents.sum() == sum(
        len(ids) for ids, topic in zip(story_ids(tokens), told.topics, strict=True) if topic == 0
    )
    halves = [tokens.state(GRAMMAR.world.facts_of(["forest"], [h])) for h in ("first", "second")]
    assert not (halves[0] & halves[1]).any()
    assert ((halves[0] | halves[1]) == stated).all()


def test_labels_that_do_not_fit_are_refused() -> None:
    tokens = encode(stories(), SMALL)
    with pytest.raises(ValueError, match="one label for each of 60 stories, got shape"):
        tokens.of_story(np.ones(61, bool))
    with pytest.raises(ValueError, match="one or more facts"):
        tokens.state(np.array([], np.int64))
    with pytest.raises(ValueError, match="from 0 up, got -1"):
        tokens.state(np.array([-1]))


@given(text=st.text().filter(lambda text: END not in text))
def test_any_text_comes_back(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text).ids) == text


def test_the_end_is_token_zero_and_words_do_not_merge() -> None:
    assert SMALL.encode(f"One day.{END}").ids[-1] == SMALL.token_to_id(END) == 0
    text = next(stories().texts())
    apart = [token for piece in PIECE.findall(text) for token in SMALL.encode(piece).ids]
    assert SMALL.encode(text).ids == apart


def test_same_world_same_tokenizer() -> None:
    assert story_tokenizer(GRAMMAR, 400).to_str() == SMALL.to_str()


def test_it_is_trained_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    trained = cached_tokenizer(folder, tiny(), 300)
    (path,) = folder.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("lm.corpus.tokens.story_tokenizer", None)
        assert cached_tokenizer(folder, tiny(), 300).to_str() == trained.to_str()
    assert Tokenizer.from_file(str(path)).to_str() == trained.to_str()
    cached_tokenizer(folder, tiny(), 301)
    cached_tokenizer(folder, make_grammar(make_world(seed=1, topics=["sea"])), 300)
    cached_tokenizer(folder, tiny(anyone="beast"), 300)
    assert len(list(folder.iterdir())) == 4


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\)"):
        cached_tokenizer(tmp_path, tiny(), 300)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    cached_tokenizer(tmp_path, tiny(), 300)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:500])
    with pytest.raises(ValueError, match=f"{path.name} holds no tokenizer .* delete it"):
        cached_tokenizer(tmp_path, tiny(), 300)


@pytest.mark.parametrize("vocab_size", [256, 65537])
def test_a_vocabulary_too_small_or_large_is_refused(vocab_size: int) -> None:
    with pytest.raises(ValueError, match=f"from 257 to 65536, got {vocab_size}"):
        train_tokenizer(["One day."], vocab_size)
