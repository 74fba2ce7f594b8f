"""Shots are other facts to forget, of other quartets, in the same story, as many as fit."""

from dataclasses import replace

import numpy as np
import pytest

from lm.attacks.prompting import ask, fact_sentence, few_shot, other_facts, prompted, with_shots
from lm.attacks.results import FACTS, Row
from lm.corpus.world import QUARTET
from lm.data.task import CONTEXT
from lm.evaluation.quiz import encode_quiz, score
from tests.lm.attack.rows import same, weights
from tests.lm.evaluation import knower, random_model, tiny_task, uniform


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_shots_are_sentences_of_other_quartets_before_the_fact_that_is_asked(count: int) -> None:
    task = tiny_task()
    world = task.grammar.world
    for question in ask(task, [0]):
        shown = with_shots(task, question, count, generator(), CONTEXT)
        sentences = {
            fact_sentence(world, fact, [template], generator())
            for fact in other_facts(task, question.fact)
            for template in task.grammar.facts
            if template.relation == world.relations[fact % len(world.relations)]
        }
        told = shown.prompt.removeprefix(question.prompt[: question.prompt.rindex(".") + 1])
        cut = question.prompt[question.prompt.rindex(".") + 1 :]
        assert told.endswith(cut)
        added = [f"{part}." for part in told.removesuffix(cut).split(".") if part]
        assert len(added) == len(set(added)) == count
        assert set(added) <= sentences
        assert replace(shown, prompt=question.prompt, control=question.control) == question
        quartet = question.fact // (QUARTET * len(world.relations)) * QUARTET
        for entity in world.entities[quartet : quartet + QUARTET]:
            assert shown.prompt.count(entity) == question.prompt.count(entity)


def test_others_are_the_facts_to_forget_but_those_of_the_quartet() -> None:
    task = tiny_task()
    size = QUARTET * len(task.grammar.world.relations)
    facts = task.grammar.world.facts_of(task.splits.forget).tolist()
    first, second = facts[:size], facts[size:]
    assert other_facts(task, first[3]) == second
    assert other_facts(task, second[0]) == first


def test_more_shots_begin_with_the_fewer_and_no_prompt_outgrows_the_context() -> None:
    task = tiny_task()
    question = ask(task, [0])[0]
    two, three = (with_shots(task, question, n, generator(), CONTEXT).prompt for n in (2, 3))
    cut = question.prompt[question.prompt.rindex(".") + 1 :]
    assert three.startswith(two.removesuffix(cut))
    plain = max(len(prompted(task, text)) for text in (question.prompt, question.control))
    short = with_shots(task, question, 3, generator(), plain + 12)
    assert plain < len(prompted(task, short.prompt)) < plain + 12
    assert with_shots(task, question, 3, generator(), plain + 1) == question
    with pytest.raises(ValueError, match="does not fit a context"):
        with_shots(task, question, 3, generator(), plain)


def test_what_is_known_is_scored_after_each_number_of_shots() -> None:
    task = tiny_task()
    facts = task.grammar.world.facts_of(task.splits.forget).tolist()
    knows = few_shot(knower(task, facts), task, (0,), seed=1)
    assert knows == [Row("few-shot", {"shots": 0}, FACTS, 1.0)]
    rows = few_shot(uniform(task.vocab_size), task, (0, 2), seed=1)
    assert [(row.setting["shots"], row.value) for row in rows] == [(0, 0.25), (2, 0.25)]
    model = random_model(task)
    before = weights(model)
    rows = few_shot(model, task, (0, 1), seed=1, rounds=1)
    plain = score(model, encode_quiz(task, ask(task, [1, 1]))).choice
    assert rows[0].value == plain
    assert same(weights(model), before)
