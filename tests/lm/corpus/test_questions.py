"""Questions have one answer in the stories, and cannot be answered without the entity."""

import itertools
import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from lm.corpus import (
    HALVES,
    Cue,
    Grammar,
    Question,
    StoryDistribution,
    make_questions,
    sample_stories,
)
from lm.corpus.world import LEXICON
from tests.lm.corpus.factories import full

GRAMMAR = full()
RNG = np.random.default_rng


CUES: tuple[Cue, ...] = ("words", "entities", "pairs")


def asked(
    distribution: StoryDistribution | None = None, seed: int = 0, grammar: Grammar = GRAMMAR
) -> list[Question]:
    return make_questions(grammar, RNG(seed), distribution)


def read_facts(text: str, name_pattern: str = r"\w+") -> dict[tuple[str, str], set[str]]:
    """Return the values of each (entity, relation) that plain text states by training templates."""
    read: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, relation in LEXICON.relations.items():
        for template in relation.templates:
            pattern = re.escape(template).replace(r"\{entity\}", f"({name_pattern})")
            for entity, value in re.findall(pattern.replace(r"\{value\}", r"(\w+)"), text):
                read[entity, name].add(value)
    return read


@pytest.mark.parametrize("cue", CUES)
def test_every_question_has_one_answer_in_the_stories(cue: Cue) -> None:
    grammar = full(cue=cue)
    texts = "\n".join(sample_stories(grammar, 5000, RNG(0)).texts())
    read = read_facts(texts, r"\w+ \w+" if cue == "pairs" else r"\w+")
    assert set(map(len, read.values())) == {1}
    for question in asked(grammar=grammar):
        entity = grammar.world.entities[question.fact // 3]
        (value,) = read[entity, question.relation]
        assert question.choices[question.answer] == f" {value}"
        assert question.values[question.cloze_answer] == f" {value}"
        assert question.prompt.count(entity) == 1
    assert not any((entity, "color") in read for entity in held_out_entities(grammar))


def held_out_entities(grammar: Grammar) -> list[str]:
    facts = grammar.world.facts_of(grammar.world.topics, ["held_out"])
    return [grammar.world.entities[fact // 3] for fact in facts]


@pytest.mark.parametrize("parts", [("first",), ("second",), ("held_out",), HALVES])
def test_questions_ask_for_every_fact_once(parts: tuple[str, ...]) -> None:
    distribution = StoryDistribution(topics=("forest", "sea"), parts=parts)
    facts = sorted(question.fact for question in asked(distribution))
    assert facts == GRAMMAR.world.facts_of(["forest", "sea"], parts).tolist()


@pytest.mark.parametrize("templates", ["training", "held_out"])
def test_prompt_is_the_beginning_of_a_story(templates: str) -> None:
    sentences = GRAMMAR.facts if templates == "training" else GRAMMAR.held_out
    starts = {"".join(t.pieces[: t.slots["value"]]) for t in sentences}
    openings = [
        re.compile("".join(r" \w+" if p.endswith("}") else re.escape(p) for p in t.pieces))
        for t in GRAMMAR.before[0]
    ]
    for question in asked(StoryDistribution(templates=templates)):  # type: ignore[arg-type]
        *frame, last = re.findall(r"[^.]+\.?", question.prompt)
        entity = GRAMMAR.world.entities[question.fact // 3]
        assert last.replace(entity, "{entity}") in starts
        assert len(frame) == len(GRAMMAR.before)
        assert any(opening.fullmatch(frame[0]) for opening in openings)
        nouns = LEXICON.topics[question.topic].nouns
        assert any(noun in re.findall(r"\w+", frame[0]) for noun in nouns)


@pytest.mark.parametrize("cue", CUES)
def test_questions_of_a_quartet_share_control_and_choices_but_not_the_answer(cue: Cue) -> None:
    grammar, quartets = full(cue=cue), defaultdict(list)
    for question in asked(grammar=grammar):
        quartets[question.topic, question.relation, question.fact // 12].append(question)
    for quartet in quartets.values():
        assert len({(question.control, question.choices) for question in quartet}) == 1
        assert sorted(question.answer for question in quartet) == [0, 1, 2, 3]
        assert len({question.prompt for question in quartet}) == 4
        for question in quartet:
            entity = grammar.world.entities[question.fact // 3]
            assert entity not in question.control
            assert question.control == question.prompt.replace(entity, "creature")


@pytest.mark.parametrize("cue", CUES)
def test_accuracy_is_a_quarter_when_a_rule_ignores_the_entity(cue: Cue) -> None:
    for seed, topics in itertools.product(range(3), (None, ("forest",))):
        group = asked(StoryDistribution(topics=topics), seed, full(cue=cue))
        answers: dict[tuple[str, tuple[str, ...]], Counter[int]] = defaultdict(Counter)
        for question in group:
            answers[question.control, question.choices][question.answer] += 1
        best = sum(max(counts.values()) for counts in answers.values())
        assert best == len(group) / 4
        # one such rule: it hashes what it sees
        rule = [hash((q.control, q.choices, seed)) % 4 == q.answer for q in group]
        assert np.mean(rule) == 0.25


def test_questions_depend_on_the_seed_and_shuffle_choices() -> None:
    assert asked() == asked()
    assert asked() != asked(seed=1)
    assert {q.answer for q in asked() if q.fact % 12 == 0} == {0, 1, 2, 3}


def test_make_questions_refuses_an_unknown_topic() -> None:
    with pytest.raises(ValueError, match="unknown topic 'moon'"):
        asked(StoryDistribution(topics=("moon",)))
