"""Tests of the texts and the concept: rows keep every token, and errors come before training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.models.language_model import IGNORED
from lm.steering.config import CorpusConfig, RunConfig
from lm.steering.corpus import cut_rows, find_concept, load_corpus, require_occurring
from tests.lm.steering.factories import tiny_corpus

FEW = CorpusConfig(train_rows=400, held_out_rows=200, choice_rows=200)
TEXTS = CorpusConfig(
    concept_words=("sea",), context=8, held_out_rows=4, choice_rows=4, vocab_size=300
)


@given(st.lists(st.lists(st.integers(2, 9), max_size=20), min_size=1), st.integers(1, 7))
def test_rows_hold_every_token_of_texts_once_as_a_target(
    texts: list[list[int]], context: int
) -> None:
    rows = cut_rows(texts, context, start=0, end=1)
    targets = rows[:, 1:]
    assert targets[targets != IGNORED].tolist() == [t for text in texts for t in (*text, 1)]


def test_words_are_tokens_with_and_without_a_space() -> None:
    concept = find_concept(["sea", " sea", " shell", "s"], ["sea"], {"near": ["shell"]})
    assert concept.tokens == (0, 1)
    assert concept.related == {"near": (2,)}
    assert concept.mask(torch.tensor([0, 2, 1])).tolist() == [True, False, True]


@pytest.mark.parametrize("word", ["ocean", "", " "])
def test_word_that_is_no_token_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="no token of the vocabulary"):
        find_concept(["sea", " sea", " "], [word], {})


def test_related_word_that_is_no_token_is_refused_only_if_a_user_names_it() -> None:
    assert find_concept(["sea"], ["sea"], {"near": ["reef"]}, strict=False).related == {}
    with pytest.raises(ValueError, match="'reef'"):
        find_concept(["sea"], ["sea"], {"near": ["reef"]})


def test_stories_know_the_words_of_the_topic() -> None:
    corpus = load_corpus(RunConfig(corpus=FEW), 0)
    assert [corpus.vocabulary[token] for token in corpus.concept.tokens] == [" forest"]
    nouns = {corpus.vocabulary[token].strip() for token in corpus.concept.related["nouns"]}
    assert nouns == {"tree", "grove", "oak", "trail", "log"}
    assert len(corpus.concept.related["entities"]) == 8
    assert 0 < corpus.share < 0.002
    assert len(corpus.train) == 400


def test_pools_of_stories_differ_and_a_seed_gives_the_same() -> None:
    corpus, again = (load_corpus(RunConfig(corpus=FEW), 0) for _ in range(2))
    other = load_corpus(RunConfig(corpus=FEW), 1)
    assert torch.equal(corpus.train, again.train)
    assert not torch.equal(corpus.train, other.train)
    assert not torch.equal(corpus.choice, corpus.held_out)


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("\n\n".join(texts), encoding="utf-8")
    return path


def test_files_become_disjoint_pools_in_tokens_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", [f"The sea number {k} met the shell." for k in range(40)])
    corpus = load_corpus(RunConfig(corpus=replace(TEXTS, texts=(path,))), 0)
    assert {corpus.vocabulary[token].strip() for token in corpus.concept.tokens} == {"sea"}
    sizes = [len(rows) for rows in (corpus.held_out, corpus.choice)]
    assert sizes == [4, 4]
    whole = torch.cat([corpus.train, corpus.choice, corpus.held_out])
    text = "".join(corpus.decode(row[1:]) for row in whole.clamp(min=0).tolist())
    assert text.count(" sea") == 40


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", ["The sea."] * 3)
    with pytest.raises(ValueError, match="are needed"):
        load_corpus(RunConfig(corpus=replace(TEXTS, texts=(path,))), 0)


def test_concept_that_never_occurs_is_refused() -> None:
    corpus = tiny_corpus()
    corpus.train[corpus.train == 3] = 4
    with pytest.raises(ValueError, match="never occurs in the 24 rows"):
        require_occurring(corpus, ["w3"])


def test_concept_that_is_in_every_row_is_refused() -> None:
    corpus = tiny_corpus()
    corpus.train[:, 4] = 3
    with pytest.raises(ValueError, match="every one of the 24 rows"):
        require_occurring(corpus, ["w3"])


def test_concept_that_is_most_of_the_text_is_refused() -> None:
    corpus = tiny_corpus()
    corpus.train[:-1, 1:7] = 3
    corpus.train[-1, corpus.train[-1] == 3] = 4
    with pytest.raises(ValueError, match="at most 50%"):
        require_occurring(corpus, ["w3"])
