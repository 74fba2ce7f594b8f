"""Stories as a subject: what an experiment asks is what the task tells."""

from dataclasses import replace

import torch

from lm.attacks.relearning import ATTACKS, draw_examples
from lm.corpus import Splits, StoryDistribution
from lm.evaluation.exam import ExamConfig, make_exam
from lm.training.route_tables import RETAIN
from tests.lm.evaluation.factories import tiny_task

TASK = tiny_task()
SPLITS = TASK.splits


def test_exams_and_examples_are_those_of_the_task() -> None:
    config = ExamConfig(stories=3, rounds=1)
    asked, expected = TASK.exam(2, config), make_exam(TASK, 2, config)
    for name, section in expected.sections.items():
        assert torch.equal(asked.sections[name].rows.tokens, section.rows.tokens)
    for attack in ATTACKS:
        assert TASK.supports_attack(attack)
        own = TASK.examples(attack, 3, 1).tokens
        assert torch.equal(own, draw_examples(TASK, attack, 3, 1).tokens)


def test_where_all_other_topics_are_adjacent_none_is_retained() -> None:
    alone = replace(TASK, splits=Splits(SPLITS.forget, SPLITS.adjacent + SPLITS.retain, ()))
    assert [name for name in ATTACKS if not alone.supports_attack(name)] == [
        "benign",
        "lora-benign",
    ]
    distribution = StoryDistribution(topics=alone.splits.adjacent)
    expected = alone.sample(2, (5, 90, 1), distribution)
    assert torch.equal(alone.prompts("retain", 2, 5).tokens, expected.tokens)


def test_settings_say_all_that_stories_depend_on() -> None:
    assert TASK.identity == {}
    assert TASK.retain_labels(torch.arange(3)).tolist() == [RETAIN] * 3
    text = "wood"
    assert TASK.decode(TASK.encode(text)) == text
