"""Worlds whose topics share all words: what tells the topic, and what does not."""

import math
from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from lm.corpus import (
    HALVES,
    PARTS,
    Cue,
    Grammar,
    Kind,
    StoryDistribution,
    World,
    entropy_lower_bound,
    sample_stories,
)
from lm.corpus.grammar import PIECE
from lm.corpus.tokens import encode, story_tokenizer
from lm.corpus.world import LEXICON, _rounds, make_world
from tests.lm.corpus.factories import full


@pytest.mark.parametrize("count", [2, 4, 16, 64])
def test_every_pair_is_in_one_round_and_every_item_once_in_each(count: int) -> None:
    rounds = _rounds(count)
    assert rounds.shape == (count - 1, count // 2, 2)
    assert all(sorted(each.ravel()) == list(range(count)) for each in rounds)
    pairs = {frozenset(pair) for pair in rounds.reshape(-1, 2).tolist()}
    assert len(pairs) == count * (count - 1) // 2


def names_of(world: World, topic: str, parts: tuple[str, ...]) -> list[str]:
    return [world.entities[e] for e in world.quartet_entities([topic], parts).ravel()]


@given(seed=st.integers(0, 2**32), quartets=st.integers(1, 4), num_topics=st.integers(1, 9))
def test_each_word_is_in_one_stated_entity_of_each_topic_and_each_pair_in_one_of_all(
    seed: int, quartets: int, num_topics: int
) -> None:
    topics = list(LEXICON.topics)[:num_topics]
    world = make_world(seed=seed, topics=topics, quartets=quartets, cue="pairs")
    words = {word for name in world.entities for word in name.split()}
    assert len(words) <= 16 * quartets
    for topic in topics:
        stated = Counter(" ".join(names_of(world, topic, HALVES)).split())
        assert set(stated) >= words
        assert set(stated.values()) == {1}
        held_out = names_of(world, topic, ("held_out",))
        assert len(set(" ".join(held_out).split())) == 8 * quartets
    pairs = {frozenset(name.split()) for name in world.entities}
    assert len(pairs) == len(world.entities) == num_topics * 12 * quartets
    assert all(len(pair) == 2 for pair in pairs)


@pytest.mark.parametrize("cue", ["entities", "pairs"])
def test_topics_share_all_words_and_keep_their_families(cue: Cue) -> None:
    world, own = make_world(seed=4, cue=cue), make_world(seed=4)
    assert (world.entities == own.entities) == (cue == "entities")
    (nouns,) = {topic.nouns for topic in world.lexicon.topics.values()}
    assert set(nouns) == set(chain(*(topic.nouns for topic in LEXICON.topics.values())))
    (family,) = set(world.lexicon.families.values())
    assert set(family.verbs) == set(chain(*(f.verbs for f in LEXICON.families.values())))
    assert [t.family for t in world.lexicon.topics.values()] == [
        t.family for t in LEXICON.topics.values()
    ]


@given(seed=st.integers(0, 2**32), quartets=st.integers(1, 3))
def test_each_value_is_stated_equally_often_of_each_topic(seed: int, quartets: int) -> None:
    world = make_world(seed=seed, quartets=quartets, cue="pairs")
    for topic in world.topics:
        entities = world.quartet_entities([topic], HALVES)[0]
        for column in world.values[entities].transpose(2, 0, 1):
            assert all(len(set(quartet)) == 4 for quartet in column.tolist())
            assert np.bincount(column.ravel(), minlength=8).tolist() == [quartets] * 8


def presence(grammar: Grammar) -> tuple[list[str], NDArray[np.bool_], NDArray[np.int64]]:
    """Return words, whether each of many stories has each word, and the topics of the stories."""
    stories = sample_stories(grammar, 6000, np.random.default_rng(0))
    number = np.repeat(np.arange(len(stories)), np.diff(stories.starts))
    has_piece = np.zeros((len(stories), len(grammar.pieces)), bool)
    has_piece[number, stories.pieces] = True
    columns: dict[str, list[int]] = {}
    for piece, text in enumerate(grammar.pieces):
        for word in text.split():
            columns.setdefault(word, []).append(piece)
    found = np.stack([has_piece[:, of_word].any(1) for of_word in columns.values()], axis=1)
    return list(columns), found, stories.topics


def revealing(grammar: Grammar) -> set[str]:
    """Return the words that are more frequent in some topics than in others, by chi-square."""
    words, found, topics = presence(grammar)
    wanted = set()
    for column, word in enumerate(words):
        table = np.array(
            [np.bincount(topics[found[:, column] == has], minlength=9) for has in (0, 1)]
        )
        if table.sum(1).all() and chi2_contingency(table).pvalue < 1e-3 / len(words):
            wanted.add(word)
    return wanted


def test_own_words_tell_the_topic_by_default() -> None:
    nouns = set(chain(*(topic.nouns for topic in LEXICON.topics.values())))
    assert revealing(full()) >= nouns


def test_only_names_tell_the_topic_where_topics_share_words() -> None:
    grammar = full(cue="entities")
    stated = {name for topic in LEXICON.topics for name in names_of(grammar.world, topic, HALVES)}
    assert revealing(grammar) == stated


def test_no_word_tells_the_topic_where_pairs_do() -> None:
    grammar = full(cue="pairs")
    assert revealing(grammar) == set()
    stories = sample_stories(grammar, 2000, np.random.default_rng(1))
    topic_of = {
        name: number
        for number, topic in enumerate(LEXICON.topics)
        for name in names_of(grammar.world, topic, PARTS)
    }
    for text, topic in zip(stories.texts(), stories.topics, strict=True):
        words = [piece.strip() for piece in PIECE.findall(text)]
        named = {" ".join(pair) for pair in pairwise(words)} & set(topic_of)
        assert {topic_of[name] for name in named} == {topic}
        assert len(named) == 2


def test_words_of_a_pair_are_of_one_entity_and_its_fact() -> None:
    grammar = full(cue="pairs")
    told = StoryDistribution(parts=PARTS)
    stories = sample_stories(grammar, 200, np.random.default_rng(0), told)
    tokenizer = story_tokenizer(grammar, 600)
    tokens = encode(stories, tokenizer)
    for number, text in enumerate(stories.texts()):
        row = slice(tokens.starts[number], tokens.starts[number + 1] - 1)
        assert tokens.ids[row].tolist() == tokenizer.encode(text).ids
        for fact in set(tokens.facts[row].tolist()) - {-1}:
            mine = (tokens.facts[row] == fact) & (tokens.kinds[row] == Kind.ENTITY)
            name = tokenizer.decode(tokens.ids[row][mine].tolist()).strip()
            assert name == grammar.world.entities[fact // 3]


def test_nouns_are_of_a_topic_only_where_they_tell_it() -> None:
    for cue, kind in (("words", Kind.NOUN), ("entities", Kind.SHARED), ("pairs", Kind.SHARED)):
        grammar = full(cue=cue)  # type: ignore[arg-type]
        stories = sample_stories(grammar, 50, np.random.default_rng(0))
        nouns = grammar.ids(LEXICON.topics["forest"].nouns)
        assert set(stories.kinds[np.isin(stories.pieces, nouns)].tolist()) == {kind}


@pytest.mark.parametrize("cue", ["entities", "pairs"])
def test_sharing_words_costs_the_choices_that_a_topic_no_longer_narrows(cue: Cue) -> None:
    own, shared = entropy_lower_bound(full()), entropy_lower_bound(full(cue=cue))
    # nine topics instead of one for both nouns, three families for a verb and for an object
    assert math.isclose(shared.sum() - own.sum(), 2 * math.log(9) + 2 * math.log(3))
    # the first entity pays for the topic, in place of the first noun
    assert math.isclose(shared[Kind.ENTITY] - own[Kind.ENTITY], math.log(9))
    assert shared[Kind.NOUN] == 0
    assert np.isclose(shared[[Kind.FRAME, Kind.VALUE]], own[[Kind.FRAME, Kind.VALUE]]).all()
