"""Tests of the exam by topic: it measures what the exam of splits measures, section by section."""

import pytest
import torch

from lm.corpus import StoryDistribution
from lm.data.task import joined
from lm.evaluation.exam import ExamConfig
from lm.evaluation.likelihoods import losses
from lm.evaluation.topic_exam import (
    CORE,
    STREAM,
    examine_topics,
    known_facts,
    make_topic_exam,
    section_losses,
)
from tests.lm.evaluation.factories import knower, random_model, tiny_task, uniform

TASK = tiny_task("wood", "lake")
CONFIG = ExamConfig(stories=5, rounds=1)
EXAM = make_topic_exam(TASK, 3, CONFIG)


def test_core_has_all_topics_that_are_not_to_be_forgotten() -> None:
    world, splits = TASK.grammar.world, TASK.splits
    assert EXAM.sections == (CORE, "wood", "lake")
    core = EXAM.rows.topics[EXAM.of_row == 0].tolist()
    assert {world.topics[number] for number in core} <= {*splits.adjacent, *splits.retain}
    for number, topic in enumerate(splits.forget, 1):
        of_topic = EXAM.rows.topics[EXAM.of_row == number].tolist()
        assert of_topic == [world.topics.index(topic)] * CONFIG.stories


def test_losses_equal_those_of_each_section_alone() -> None:
    model, found = random_model(TASK), section_losses(random_model(TASK), EXAM)
    for number, (name, topics) in enumerate([(CORE, ("hill",)), ("wood", ("wood",))]):
        alone = TASK.sample(5, [3, STREAM, number], StoryDistribution(topics=topics))
        assert found[name] == pytest.approx(losses(model, alone).loss, abs=1e-6)


def test_facts_are_the_share_of_questions_that_a_model_answers() -> None:
    world = TASK.grammar.world
    assert known_facts(uniform(TASK.vocab_size), EXAM) == dict.fromkeys(EXAM.sections, 0.25)
    entities = world.quartet_entities(["wood"], StoryDistribution().parts)
    relations = len(world.relations)
    facts = [int(each) * relations + k for each in entities.flatten() for k in range(relations)]
    assert known_facts(knower(TASK, facts), EXAM) == {CORE: 0.25, "wood": 1.0, "lake": 0.25}


def test_exam_depends_on_its_seed_and_its_stream_alone() -> None:
    again = make_topic_exam(TASK, 3, CONFIG)
    assert torch.equal(again.rows.tokens, EXAM.rows.tokens)
    model = random_model(TASK)
    assert examine_topics(model, again) == examine_topics(model, EXAM)
    for other in (make_topic_exam(TASK, 4, CONFIG), make_topic_exam(TASK, 3, CONFIG, stream=9)):
        assert not torch.equal(other.rows.tokens, EXAM.rows.tokens)


def test_some_sections_are_those_of_the_whole_exam() -> None:
    one = make_topic_exam(TASK, 3, CONFIG, sections=("lake",))
    assert one.sections == ("lake",)
    assert torch.equal(one.rows.tokens, EXAM.rows.tokens[EXAM.of_row == 2])
    model = random_model(TASK)
    assert examine_topics(model, one)["lake"] == pytest.approx(examine_topics(model, EXAM)["lake"])


def test_joined_rows_keep_their_order() -> None:
    parts = [EXAM.rows.take(torch.arange(4)), EXAM.rows.take(torch.arange(4, len(EXAM.rows)))]
    whole = joined(parts)
    for name in ("tokens", "kinds", "facts", "topics"):
        assert torch.equal(getattr(whole, name), getattr(EXAM.rows, name))
