"""Quizzes: chance, certainty and ties in closed form, and a slow reference."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.corpus import HALVES, Question, StoryDistribution, make_questions
from lm.data.task import Task
from lm.evaluation.quiz import Quiz, credit, encode_quiz, score
from lm.models.gpt import GPT
from tests.lm.evaluation import Scripted, knower, random_model, single, tiny_task, uniform

TASK = tiny_task()
WORLD = TASK.grammar.world
WOOD = WORLD.facts_of(["wood"]).tolist()


def ask(*topics: str, task: Task = TASK, parts: tuple[str, ...] = HALVES) -> list[Question]:
    distribution = StoryDistribution(topics=topics or None, parts=parts)
    return make_questions(task.grammar, np.random.default_rng(4), distribution)


def quiz(*topics: str) -> Quiz:
    return encode_quiz(TASK, ask(*topics))


def test_a_model_that_knows_nothing_is_at_chance() -> None:
    assert len(quiz()) == len(WORLD.facts_of(WORLD.topics))
    assert score(uniform(TASK.vocab_size), quiz()) == pytest.approx((1 / 4, 1 / 4, 1 / 5))


def test_a_model_that_knows_the_facts_is_right_if_it_can_read_the_entity() -> None:
    assert score(knower(TASK, WOOD), quiz("wood")) == (1, 1 / 4, 1)
    assert score(knower(TASK, WOOD), quiz("lake")) == pytest.approx((1 / 4, 1 / 4, 1 / 5))


def test_a_model_that_knows_some_facts_guesses_the_rest() -> None:
    found = score(knower(TASK, WOOD[:6]), quiz("wood"))
    known = 6 / len(WOOD)
    assert found.choice == pytest.approx(known + (1 - known) / 4)
    assert found.control == 1 / 4
    assert found.cloze == pytest.approx(known + (1 - known) / 5)


def test_a_value_that_is_no_choice_disturbs_the_cloze_alone() -> None:
    bias = torch.zeros(TASK.vocab_size)
    favored = f" {WORLD.lexicon.relations['color'].values[0]}"
    bias[single(TASK, favored)] = 100
    asked = [question for question in ask("wood") if question.relation == "color"]
    absent = [q for q in asked if favored not in q.choices]
    assert 0 < len(absent) < len(asked)
    model = knower(TASK, WOOD)
    assert score(model, encode_quiz(TASK, absent), bias) == (1, 1 / 4, 0)
    present = encode_quiz(TASK, [q for q in asked if q not in absent])
    assert score(model, present, bias) == (1 / 4, 1 / 4, 1 / 4)


def test_the_order_of_choices_does_not_matter() -> None:
    for model in (uniform(TASK.vocab_size), knower(TASK, WOOD[:5])):
        expected = score(model, quiz("wood"))
        for shift in range(4):
            turned = quiz("wood")
            rolled = Quiz(
                turned.texts,
                turned.choices.roll(shift, 1),
                (turned.answers + shift) % 4,
                turned.cloze_answers,
            )
            assert score(model, rolled) == expected


@torch.no_grad()
def slow(model: GPT, task: Task, asked: Sequence[Question], bias: Tensor) -> list[float]:
    """Return the three scores, each text with each continuation read for itself."""

    def likelihood(text: str, more: str) -> float:
        first = [0, *task.tokenizer.encode(text).ids]
        tokens = [0, *task.tokenizer.encode(text + more).ids]
        logs = torch.log_softmax(model(torch.tensor([tokens]))[0] + bias, -1)
        return sum(
            float(logs[place - 1, tokens[place]]) for place in range(len(first), len(tokens))
        )

    right = np.zeros(3)
    for q in asked:
        for column, (text, choices, answer) in enumerate(
            [
                (q.prompt, q.choices, q.answer),
                (q.control, q.choices, q.answer),
                (q.prompt, q.values, q.cloze_answer),
            ]
        ):
            found = [likelihood(text, choice) for choice in choices]
            right[column] += found.index(max(found)) == answer
    return [float(share) for share in right / len(asked)]


@pytest.mark.parametrize("batch_size", [5, 256])
def test_as_a_slow_reference_says_with_values_of_several_tokens(batch_size: int) -> None:
    task = tiny_task(vocab_size=272)
    asked = ask("wood", task=task)
    values = {value for question in asked for value in question.values}
    assert {len(task.tokenizer.encode(value).ids) for value in values} == {4, 5, 6}
    bias = torch.linspace(-1, 1, task.vocab_size, dtype=torch.float64)
    model = random_model(task)
    found = score(model, encode_quiz(task, asked), bias, batch_size)
    assert found == pytest.approx(slow(model, task, asked, bias))
    assert found.control == 1 / 4


def test_a_random_model_without_the_entity_is_at_chance() -> None:
    assert score(random_model(TASK), quiz()).control == 1 / 4


def test_prompts_of_one_text_are_read_once() -> None:
    asked = ask("wood")
    different = {q.prompt for q in asked} | {q.control for q in asked}
    assert len(quiz("wood").texts.lengths) == len(different) == len(asked) * 5 // 4


def test_the_prompt_begins_after_the_end_of_another_story() -> None:
    beginnings = quiz().texts.prefixes
    assert (beginnings[:, 0] == 0).all()
    assert (beginnings[:, 1] != 0).all()


def test_equal_choices_share_the_credit() -> None:
    scores = torch.tensor(
        [[1.0, 2, 2, 2], [2, 2, 2, 2], [1, 3, 2, 0], [3, 1, 3, 0], [float("nan"), 1, 0, 0]]
    )
    right = torch.tensor([3, 0, 1, 1, 1])
    assert credit(scores, right).tolist() == pytest.approx([1 / 3, 1 / 4, 1, 0, 0])


def test_a_model_of_no_numbers_gets_nothing() -> None:
    size = TASK.vocab_size
    model = Scripted(size, lambda tokens: torch.full((*tokens.shape, size), torch.nan))
    assert score(model, quiz("wood")) == (0, 0, 0)


def test_no_question_is_refused() -> None:
    with pytest.raises(ValueError, match="without questions"):
        encode_quiz(TASK, [])
