"""The entropy floor against every story of a tiny world, and against samples of the default one."""

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from lm.corpus import (
    HALVES,
    PARTS,
    Grammar,
    Kind,
    StoryDistribution,
    entropy_lower_bound,
    sample_stories,
)
from lm.corpus.grammar import PIECE
from tests.lm.corpus import TINY, full, tiny

TELLINGS = [
    StoryDistribution(facts_per_story=1),
    StoryDistribution(facts_per_story=1, parts=("first",), templates="held_out"),
    StoryDistribution(facts_per_story=2, topics=("hill",)),
    StoryDistribution(
        facts_per_story=1, topics=("hill", "lake"), weights=(3.0, 1.0), parts=("held_out",)
    ),
]
Weighted = tuple[str, float]


def some(texts: list[str], weight: float) -> list[Weighted]:
    return [(text, weight / len(texts)) for text in texts]


def fact_sentences(
    grammar: Grammar, distribution: StoryDistribution, topic: int
) -> Iterator[Weighted]:
    """All sequences of fact sentences: entities of different quartets, one per part here."""
    world = grammar.world
    templates = [
        (number, text)
        for number, relation in enumerate(TINY.relations.values())
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
    """Every story of the tiny lexicon and how likely it is, by plain loops."""
    told = distribution.topics or tuple(TINY.topics)
    weights = distribution.weights or (1.0,) * len(told)
    for topic, weight in zip(told, weights, strict=True):
        own = TINY.topics[topic]
        family = TINY.families[own.family]
        facts = list(fact_sentences(grammar, distribution, list(TINY.topics).index(topic)))
        draws = list(
            product(
                TINY.names, TINY.names, own.nouns, family.verbs, family.objects, own.nouns,
                TINY.feelings,
            )
        )  # fmt: skip
        draws = [draw for draw in draws if draw[0] != draw[1]]
        for name, friend, place, verb, thing, noun, feeling in draws:
            words = {"name": name, "friend": friend, "place": place, "verb": verb}
            words |= {"object": thing, "noun": noun, "feeling": feeling}
            for one, two, last in product(*TINY.before, *TINY.after):
                share = weight / sum(weights) / len(draws) / 8
                for text, chance in facts:
                    start = f"{one} {two}".format(**words)
                    yield f"{start}{text} {last.format(**words)}", share * chance


def kinds_of_words(grammar: Grammar) -> dict[str, Kind]:
    kinds = {noun: Kind.NOUN for topic in TINY.topics.values() for noun in topic.nouns}
    for family in TINY.families.values():
        kinds |= dict.fromkeys(family.verbs + family.objects, Kind.SHARED)
    kinds |= dict.fromkeys(grammar.world.entities, Kind.ENTITY)
    for relation in TINY.relations.values():
        kinds |= dict.fromkeys(relation.values, Kind.VALUE)
    return kinds


@pytest.mark.parametrize("distribution", TELLINGS[:2] + TELLINGS[3:])
def test_it_is_the_entropy_of_every_story_word_by_word(distribution: StoryDistribution) -> None:
    grammar = tiny()
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
    nats, words_of = np.zeros(len(Kind)), np.zeros(len(Kind))
    for prefix, chance in prefixes.items():
        if prefix:
            kind = kinds.get(prefix[-1].strip(), Kind.FRAME)
            nats[kind] += chance * math.log(prefixes[prefix[:-1]] / chance)
            words_of[kind] += chance
    words_of[Kind.FRAME] += 1  # the end
    least = entropy_lower_bound(grammar, distribution)
    np.testing.assert_allclose(least.nats, nats, atol=1e-9)
    np.testing.assert_allclose(least.words, words_of, atol=1e-9)
    entropy = -sum(chance * math.log(chance) for chance in stories.values())
    assert math.isclose(least.per_story, entropy)


@pytest.mark.parametrize("distribution", TELLINGS)
def test_told_stories_cost_what_enumeration_says(distribution: StoryDistribution) -> None:
    grammar = tiny()
    stories = sample_stories(grammar, 40, np.random.default_rng(0), distribution)
    chances: dict[str, float] = defaultdict(float)
    for text, chance in every_story(grammar, distribution):
        chances[text] += chance
    nats = np.add.reduceat(stories.nats, stories.starts[:-1])
    for text, cost in zip(stories.texts(), nats, strict=True):
        assert math.isclose(cost, -math.log(chances[text]), rel_tol=1e-5)


@pytest.mark.parametrize("templates", ["training", "held_out"])
@pytest.mark.parametrize("weights", [None, (5.0, 1.0)])
def test_samples_of_the_default_world_cost_the_floor(
    templates: str, weights: tuple[float, ...] | None
) -> None:
    grammar = full()
    distribution = StoryDistribution(
        topics=None if weights is None else ("forest", "sea"),
        weights=weights,
        templates=templates,  # type: ignore[arg-type]
    )
    stories = sample_stories(grammar, 4000, np.random.default_rng(1), distribution)
    least = entropy_lower_bound(grammar, distribution)
    for kind in Kind:
        of_kind = np.where(stories.kinds == kind, stories.nats, 0)
        costs = np.add.reduceat(of_kind, stories.starts[:-1]).astype(float)
        error = costs.std() / math.sqrt(len(costs))
        assert abs(costs.mean() - least.nats[kind]) <= 4 * error + 1e-6, kind
        words = np.add.reduceat((stories.kinds == kind).astype(float), stories.starts[:-1])
        error = words.std() / math.sqrt(len(words))
        assert abs(words.mean() - least.words[kind]) <= 4 * error + 1e-6, kind


def test_not_knowing_the_facts_costs_the_log_of_the_values_for_each() -> None:
    grammar = full()
    distribution = StoryDistribution(parts=HALVES, facts_per_story=3)
    gap = (
        entropy_lower_bound(grammar, distribution, knows_facts=False).nats
        - entropy_lower_bound(grammar, distribution).nats
    )
    assert gap.tolist() == [0, 0, 0, 0, 3 * math.log(8)]
    assert grammar.world.guess_nats == math.log(8)
