"""Sampled stories, their noisy labels, and the entropy of their distribution."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.corpus import (
    HALVES,
    PARTS,
    Cue,
    Grammar,
    Kind,
    Stories,
    StoryDistribution,
    entropy_lower_bound,
    make_grammar,
    make_world,
    noisy_labels,
    sample_stories,
)
from lm.corpus.grammar import END, PIECE
from tests.lm.corpus.factories import MINI, full, tiny


def draw(grammar: Grammar, distribution: StoryDistribution | None = None, seed: int = 0) -> Stories:
    return sample_stories(grammar, 300, np.random.default_rng(seed), distribution)


def test_sampling_is_deterministic_given_the_seed() -> None:
    one, same, other = draw(full()), draw(full()), draw(full(), seed=1)
    for name in ("pieces", "kinds", "facts", "starts", "topics"):
        assert getattr(one, name).tobytes() == getattr(same, name).tobytes()
    assert one.pieces.tobytes() != other.pieces.tobytes()


def test_pieces_are_the_words_of_the_text_and_the_end_token() -> None:
    stories = draw(full())
    table = stories.grammar.pieces
    for number, text in enumerate(stories.texts()):
        row = stories.pieces[stories.starts[number] : stories.starts[number + 1]]
        assert [table[piece] for piece in row] == [*PIECE.findall(text), END]
    assert len(stories) == 300
    assert stories.starts[-1] == len(stories.pieces)


def test_labels_match_those_parsed_from_the_text() -> None:
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
def test_stories_state_only_facts_of_the_chosen_parts(parts: tuple[str, ...]) -> None:
    distribution = StoryDistribution(topics=("sea", "garden"), parts=parts)
    stories = draw(full(), distribution)
    world = stories.grammar.world
    stated = set(stories.facts[stories.facts >= 0].tolist())
    assert stated == set(world.facts_of(["sea", "garden"], parts).tolist())
    assert {world.topics[t] for t in stories.topics} == {"sea", "garden"}


def test_story_states_facts_of_its_topic_and_of_different_quartets() -> None:
    stories = draw(full(), StoryDistribution(facts_per_story=4))
    world = stories.grammar.world
    for number, topic in enumerate(stories.topics):
        row = stories.facts[stories.starts[number] : stories.starts[number + 1]]
        facts = row[row >= 0]
        assert len(facts) == 8
        assert np.isin(facts, world.facts_of([world.topics[topic]])).all()
        assert len(set((facts // len(world.relations) // 4).tolist())) == 4


def test_held_out_templates_never_occur_in_training_stories() -> None:
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
        (StoryDistribution(templates="new"), "training or held_out, got 'new'"),  # type: ignore[arg-type]
    ],
)
def test_sample_stories_refuses_an_invalid_distribution(
    distribution: StoryDistribution, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        draw(full(), distribution)


def test_sample_stories_refuses_a_count_of_zero() -> None:
    with pytest.raises(ValueError, match="num_stories must be 1 or more, got 0"):
        sample_stories(full(), 0, np.random.default_rng(0))


RNG = np.random.default_rng


@given(
    seed=st.integers(0, 2**32),
    positives=st.integers(0, 60),
    recall=st.floats(0, 1),
    precision=st.floats(0.5, 1),
    groups=st.one_of(st.none(), st.integers(1, 9)),
)
def test_noisy_labels_have_recall_and_precision_exact_to_one_sample(
    seed: int, positives: int, recall: float, precision: float, groups: int | None
) -> None:
    truth = RNG(seed).permutation(np.arange(120) < positives)
    group = None if groups is None else RNG(seed).integers(groups, size=120)
    before = truth.copy()
    labels = noisy_labels(truth, recall=recall, precision=precision, rng=RNG(seed), groups=group)
    hits, labeled = int((labels & truth).sum()), int(labels.sum())
    assert abs(hits - recall * positives) <= 0.5
    assert abs(labeled - hits - hits * (1 - precision) / precision) <= 0.5
    assert (truth == before).all()
    if recall == precision == 1:
        assert (labels == truth).all()
    again = noisy_labels(truth, recall=recall, precision=precision, rng=RNG(seed), groups=group)
    assert (labels == again).all()


@given(seed=st.integers(0, 99), low=st.floats(0, 1), high=st.floats(0, 1))
def test_labels_are_a_subset_when_recall_is_lower(seed: int, low: float, high: float) -> None:
    truth = np.arange(50) % 3 == 0
    less, more = (
        noisy_labels(truth, recall=recall, precision=1, rng=RNG(seed))
        for recall in sorted((low, high))
    )
    assert (less <= more).all()


def test_label_errors_are_uniform_over_samples() -> None:
    truth = np.arange(10) < 5
    counts = sum(
        noisy_labels(truth, recall=0.6, precision=0.75, rng=RNG(seed)).astype(int)
        for seed in range(2000)
    )
    expected = np.where(truth, 1200, 400)  # 3 of 5 found, 1 of 5 wrong
    assert (np.abs(counts - expected) < 5 * 22).all()


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_are_mislabeled_except_one_when_groups_are_given(seed: int) -> None:
    truth = np.arange(80) < 40
    groups = np.arange(80) // 10 % 8
    labels = noisy_labels(truth, recall=0.6, precision=0.6, rng=RNG(seed), groups=groups)
    shares = np.array([labels[groups == group].mean() for group in range(8)])
    found, wrong = shares[:4], shares[4:]
    assert ((found > 0) & (found < 1)).sum() <= 1
    assert ((wrong > 0) & (wrong < 1)).sum() <= 1
    assert np.isclose(found.sum(), 2.4)
    assert np.isclose(wrong.sum(), 1.6)


def test_every_group_is_missed_for_some_seed() -> None:
    truth, groups = np.ones(12, bool), np.arange(12) // 3
    missed = {
        tuple(groups[~noisy_labels(truth, recall=0.75, precision=1, rng=RNG(s), groups=groups)])
        for s in range(40)
    }
    assert missed == {(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)}


@given(seed=st.integers(0, 2**32), recall=st.floats(0, 1), precision=st.floats(0.5, 1))
def test_labeled_samples_of_several_groups_belong_to_known_groups_only(
    seed: int, recall: float, precision: float
) -> None:
    truth = np.arange(160) < 60
    groups = RNG(seed).integers(6, size=(160, 3)) + np.where(truth, 0, 10)[:, None]
    groups[RNG(seed + 1).random(groups.shape) < 0.5] = -1
    groups[:, 0] = np.where((groups < 0).all(1), 5, groups[:, 0])
    labels = noisy_labels(truth, recall=recall, precision=precision, rng=RNG(seed), groups=groups)
    hits = int((labels & truth).sum())
    assert abs(hits - recall * 60) <= 0.5
    assert abs(labels.sum() - hits - hits * (1 - precision) / precision) <= 0.5
    for side in (truth, ~truth):
        named = set(groups[labels & side].ravel().tolist()) - {-1}
        missed = [set(row.tolist()) - {-1} for row in groups[side & ~labels]]
        # all but the samples of the last group to become known name one that is not
        rest = [row for row in missed if row <= named]
        assert not rest or set.intersection(*rest) or not named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recall": 1.1}, "recall must be from 0 to 1, got 1.1"),
        ({"recall": -0.1}, "recall must be from 0 to 1"),
        ({"recall": float("nan")}, "recall must be from 0 to 1"),
        ({"precision": 0.0}, "precision must be above 0 and at most 1"),
        ({"precision": 1.5}, "precision must be above 0 and at most 1"),
        ({"precision": 0.1}, "needs 27 false labels, and there are 7 negatives"),
        ({"truth": np.ones(3)}, "a row of booleans, got float64"),
        ({"groups": np.zeros(11, int)}, "one number, or one row, for each of 10 samples"),
        ({"groups": np.zeros((10, 1, 1), int)}, "one number, or one row, for each of 10 samples"),
    ],
)
def test_noisy_labels_refuses_invalid_arguments(arguments: dict[str, object], message: str) -> None:
    given_arguments = {"truth": np.arange(10) < 3, "recall": 1.0, "precision": 1.0, "rng": RNG(0)}
    with pytest.raises(ValueError, match=message):
        noisy_labels(**(given_arguments | arguments))  # type: ignore[arg-type]


TELLINGS = [
    StoryDistribution(facts_per_story=1),
    StoryDistribution(facts_per_story=1, parts=("first",), templates="held_out"),
    StoryDistribution(facts_per_story=2, topics=("hill",)),
    StoryDistribution(facts_per_story=1, topics=("hill", "lake"), parts=("held_out",)),
]
Weighted = tuple[str, float]


def some(texts: list[str], weight: float) -> list[Weighted]:
    return [(text, weight / len(texts)) for text in texts]


def fact_sentences(
    grammar: Grammar, distribution: StoryDistribution, topic: int
) -> Iterator[Weighted]:
    """Yield all sequences of fact sentences with their probabilities."""
    world = grammar.world
    lexicon = world.lexicon
    templates = [
        (number, text)
        for number, relation in enumerate(lexicon.relations.values())
        for text in (
            relation.templates if distribution.templates == "training" else relation.held_out
        )
    ]
    quartets = [
        range(4 * (3 * topic + PARTS.index(part)), 4 * (3 * topic + PARTS.index(part)) + 4)
        for part in distribution.parts
    ]
    choices = [
        entities
        for entities in product(
            [e for q in quartets for e in q], repeat=distribution.facts_per_story
        )
        if len({entity // 4 for entity in entities}) == len(entities)
    ]
    for entities in choices:
        for chosen in product(templates, repeat=len(entities)):
            text = "".join(
                " " + t.format(entity=world.entities[e], value=world.value(2 * e + number))
                for e, (number, t) in zip(entities, chosen, strict=True)
            )
            yield text, 1 / len(choices) / len(templates) ** len(entities)


def every_story(grammar: Grammar, distribution: StoryDistribution) -> Iterator[Weighted]:
    """Yield every story of a tiny lexicon with its probability."""
    lexicon = grammar.world.lexicon
    topics = distribution.topics or tuple(lexicon.topics)
    for topic in topics:
        own = lexicon.topics[topic]
        family = lexicon.families[own.family]
        facts = list(fact_sentences(grammar, distribution, list(lexicon.topics).index(topic)))
        draws = list(
            product(
                lexicon.names, lexicon.names, own.nouns, family.verbs, family.objects, own.nouns,
                lexicon.feelings,
            )
        )  # fmt: skip
        draws = [draw for draw in draws if draw[0] != draw[1]]
        for name, friend, place, verb, thing, noun, feeling in draws:
            words = {"name": name, "friend": friend, "place": place, "verb": verb}
            words |= {"object": thing, "noun": noun, "feeling": feeling}
            for one, two, last in product(*lexicon.before, *lexicon.after):
                share = 1 / len(topics) / len(draws) / 8
                for text, chance in facts:
                    start = f"{one} {two}".format(**words)
                    yield f"{start}{text} {last.format(**words)}", share * chance


def kinds_of_words(grammar: Grammar) -> dict[str, Kind]:
    lexicon = grammar.world.lexicon
    of_nouns = Kind.NOUN if grammar.world.cue == "words" else Kind.SHARED
    kinds = {noun: of_nouns for topic in lexicon.topics.values() for noun in topic.nouns}
    for family in lexicon.families.values():
        kinds |= dict.fromkeys(family.verbs + family.objects, Kind.SHARED)
    kinds |= dict.fromkeys(
        (w for name in grammar.world.entities for w in name.split()), Kind.ENTITY
    )
    for relation in lexicon.relations.values():
        kinds |= dict.fromkeys(relation.values, Kind.VALUE)
    return kinds


@pytest.mark.parametrize("distribution", TELLINGS[:2] + TELLINGS[3:])
def test_entropy_lower_bound_matches_enumeration_of_all_stories(
    distribution: StoryDistribution,
) -> None:
    require_enumerated_entropy(tiny(), distribution)


CUE_TELLINGS = [
    StoryDistribution(facts_per_story=1),
    StoryDistribution(facts_per_story=1, topics=("lake",), parts=("held_out",)),
    StoryDistribution(facts_per_story=2, topics=("wood",)),
]


@pytest.mark.parametrize("cue", ["entities", "pairs"])
@pytest.mark.parametrize("distribution", CUE_TELLINGS)
def test_entropy_lower_bound_matches_enumeration_where_entities_tell_the_topic(
    cue: Cue, distribution: StoryDistribution
) -> None:
    grammar = make_grammar(make_world(seed=3, quartets=1, lexicon=MINI, cue=cue))
    require_enumerated_entropy(grammar, distribution)


def require_enumerated_entropy(grammar: Grammar, distribution: StoryDistribution) -> None:
    """Compare the entropy of each kind of words with that of all stories."""
    stories: dict[str, float] = defaultdict(float)
    for text, chance in every_story(grammar, distribution):
        stories[text] += chance
    assert math.isclose(sum(stories.values()), 1)
    prefixes: dict[tuple[str, ...], float] = defaultdict(float)
    for text, chance in stories.items():
        words = tuple(PIECE.findall(text))
        for end in range(len(words) + 1):
            prefixes[words[:end]] += chance
    kinds = kinds_of_words(grammar)
    nats = np.zeros(len(Kind))
    for prefix, chance in prefixes.items():
        if prefix:
            kind = kinds.get(prefix[-1].strip(), Kind.FRAME)
            nats[kind] += chance * math.log(prefixes[prefix[:-1]] / chance)
    least = entropy_lower_bound(grammar, distribution)
    np.testing.assert_allclose(least, nats, atol=1e-9)
    entropy = -sum(chance * math.log(chance) for chance in stories.values())
    assert math.isclose(least.sum(), entropy)


@pytest.mark.parametrize("distribution", TELLINGS)
def test_stories_are_sampled_as_often_as_enumeration_says(distribution: StoryDistribution) -> None:
    grammar = tiny()
    chances: dict[str, float] = defaultdict(float)
    for text, chance in every_story(grammar, distribution):
        chances[text] += chance
    stories = sample_stories(grammar, 4000, np.random.default_rng(0), distribution)
    nats = np.array([-math.log(chances[text]) for text in stories.texts()])
    error = nats.std() / math.sqrt(len(nats))
    assert abs(nats.mean() - entropy_lower_bound(grammar, distribution).sum()) <= 4 * error + 1e-6


def test_entropy_includes_the_choice_of_topic() -> None:
    grammar = full()
    topics = grammar.world.topics
    alone = [
        entropy_lower_bound(grammar, StoryDistribution(topics=(topic,))).sum() for topic in topics
    ]
    assert entropy_lower_bound(grammar).sum() == pytest.approx(
        np.mean(alone) + math.log(len(topics))
    )


def test_guess_loss_is_the_logarithm_of_the_number_of_values() -> None:
    assert full().world.guess_nats == math.log(8)
