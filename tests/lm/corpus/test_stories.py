"""Stories: what they hold, read back from their text, and which are told."""

import re

import numpy as np
import pytest

from lm.corpus import HALVES, Grammar, Kind, Stories, StoryDistribution, sample_stories
from lm.corpus.grammar import END, PIECE
from tests.lm.corpus import full


def draw(grammar: Grammar, distribution: StoryDistribution | None = None, seed: int = 0) -> Stories:
    return sample_stories(grammar, 300, np.random.default_rng(seed), distribution)


def test_same_generator_state_same_bits() -> None:
    one, same, other = draw(full()), draw(full()), draw(full(), seed=1)
    for name in ("pieces", "kinds", "facts", "nats", "starts", "topics"):
        assert getattr(one, name).tobytes() == getattr(same, name).tobytes()
    assert one.pieces.tobytes() != other.pieces.tobytes()


def test_pieces_are_the_words_of_the_text_and_the_end() -> None:
    stories = draw(full())
    table = stories.grammar.pieces
    for number, text in enumerate(stories.texts()):
        row = stories.pieces[stories.starts[number] : stories.starts[number + 1]]
        assert [table[piece] for piece in row] == [*PIECE.findall(text), END]
    assert len(stories) == 300
    assert stories.starts[-1] == len(stories.pieces) == len(stories.nats)


def test_labels_are_what_a_reader_of_the_text_would_give() -> None:
    stories = draw(full())
    grammar = stories.grammar
    world, lexicon = grammar.world, grammar.world.lexicon
    values = {v: n for n, r in enumerate(lexicon.relations.values()) for v in r.values}
    for number, text in enumerate(stories.texts()):
        row = slice(stories.starts[number], stories.starts[number + 1])
        words = [piece.strip() for piece in PIECE.findall(text)] + [END]
        topic = lexicon.topics[world.topics[stories.topics[number]]]
        family = lexicon.families[topic.family]
        kinds, facts = [], []
        for word, at in zip(words, range(len(words)), strict=True):
            entity = word in world.entities
            kinds.append(
                Kind.NOUN if word in topic.nouns
                else Kind.SHARED if word in (*family.verbs, *family.objects)
                else Kind.ENTITY if entity
                else Kind.VALUE if word in values
                else Kind.FRAME
            )  # fmt: skip
            facts.append(-1)
            if kinds[-1] == Kind.VALUE:
                named = max(i for i in range(at) if kinds[i] == Kind.ENTITY)
                fact = world.entities.index(words[named]) * len(world.relations) + values[word]
                assert world.value(fact) == word
                facts[-1] = facts[named] = fact
        assert stories.kinds[row].tolist() == kinds
        assert stories.facts[row].tolist() == facts


@pytest.mark.parametrize("parts", [("first",), ("second",), ("held_out",), HALVES])
def test_only_the_facts_of_the_told_parts_are_stated(parts: tuple[str, ...]) -> None:
    distribution = StoryDistribution(topics=("sea", "garden"), parts=parts)
    stories = draw(full(), distribution)
    world = stories.grammar.world
    stated = set(stories.facts[stories.facts >= 0].tolist())
    assert stated == set(world.facts_of(["sea", "garden"], parts).tolist())
    assert {world.topics[t] for t in stories.topics} == {"sea", "garden"}


def test_a_story_names_only_its_own_topic_and_different_quartets() -> None:
    stories = draw(full(), StoryDistribution(facts_per_story=4))
    world = stories.grammar.world
    for number, topic in enumerate(stories.topics):
        row = stories.facts[stories.starts[number] : stories.starts[number + 1]]
        facts = row[row >= 0]
        assert len(facts) == 8
        assert np.isin(facts, world.facts_of([world.topics[topic]])).all()
        assert len(set((facts // len(world.relations) // 4).tolist())) == 4


def test_held_out_templates_are_never_in_training() -> None:
    grammar = full()
    training = "\n".join(draw(grammar).texts())
    asked = "\n".join(draw(grammar, StoryDistribution(templates="held_out")).texts())
    pairs = grammar.world.lexicon.relations.values()
    for there, absent, field in ((training, asked, "templates"), (asked, training, "held_out")):
        for template in (text for relation in pairs for text in getattr(relation, field)):
            plain = re.split(r"\{\w+\}", template)
            pattern = r"\w+".join(map(re.escape, plain))
            assert re.search(pattern, there)
            assert not re.search(pattern, absent)


def test_weights_are_how_often_a_topic_is_told() -> None:
    distribution = StoryDistribution(topics=("forest", "sea"), weights=(1.0, 3.0))
    topics = sample_stories(full(), 4000, np.random.default_rng(0), distribution).topics
    assert abs((topics == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (StoryDistribution(topics=("moon",)), "unknown topic 'moon'"),
        (StoryDistribution(topics=()), "one or more different topics"),
        (
            StoryDistribution(parts=("third",)),
            "unknown part 'third'; choose from first, second, held_out",
        ),
        (StoryDistribution(facts_per_story=5), "facts_per_story must be from 1 to 4"),
        (StoryDistribution(facts_per_story=0), "facts_per_story must be from 1"),
        (
            StoryDistribution(topics=("sea",), weights=(1.0, 2.0)),
            "weights must be 1 positive number",
        ),
        (
            StoryDistribution(topics=("sea",), weights=(float("nan"),)),
            "weights must be 1 positive number",
        ),
        (StoryDistribution(topics=("sea",), weights=(0.0,)), "weights must be 1 positive number"),
        (StoryDistribution(templates="new"), "training or held_out, got 'new'"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_telling_is_refused(distribution: StoryDistribution, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(full(), distribution)


def test_no_stories_are_refused() -> None:
    with pytest.raises(ValueError, match="num_stories must be 1 or more, got 0"):
        sample_stories(full(), 0, np.random.default_rng(0))
