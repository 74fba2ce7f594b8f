"""Few-shot prompts: other facts to forget, told before the one that is asked for.

A model that only declines to tell may be brought to it by examples (Lynch et al. 2024, arXiv
2402.16835). Shots are facts of other quartets than the one asked about: facts of different
quartets are independent, so that shots say nothing of the answer, nor rule out a choice.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lm.attack.asked import STREAM, ask, encoded, prompted
from lm.attack.rows import FACTS, Row
from lm.corpus import HALVES, Question
from lm.corpus.templates import Template
from lm.corpus.world import QUARTET, World
from lm.evaluation.quiz import encode_quiz, score
from lm.model.language_model import LanguageModel
from lm.task import Task


def few_shot(
    model: LanguageModel, task: Task, shots: Sequence[int], seed: int, rounds: int = 2
) -> list[Row]:
    """Return the share of facts to forget that a model knows after so many others.

    Args:
        model: read where it is.
        task: what was to be unlearned.
        shots: how many facts are told before; where a prompt would not fit the context, as many
            as fit.
        seed: of questions and shots.
        rounds: how often each fact is asked for.
    """
    asked = ask(task, [seed, 1], rounds=rounds)
    found = []
    for count in shots:
        rng = np.random.default_rng([seed, STREAM, 2])
        shown = [with_shots(task, question, count, rng, model.context) for question in asked]
        known = score(model, encode_quiz(task, shown)).choice
        found.append(Row("few-shot", {"shots": count}, FACTS, known))
    return found


def with_shots(
    task: Task, question: Question, count: int, rng: np.random.Generator, context: int
) -> Question:
    """Return a question with facts told before its own, in the same story.

    Args:
        task: what was to be unlearned.
        question: one about the task's facts.
        count: how many facts, or as many as there are or fit.
        rng: where they come from; it is drawn from alike, whatever the count.
        context: tokens that a prompt and its longest value may have.
    """
    told = rng.permutation(others(task, question.fact))
    sentences = [sentence(task.grammar.world, int(fact), task.grammar.facts, rng) for fact in told]
    room = context - max(len(encoded(task, value)) for value in question.values)
    for number in range(min(count, len(sentences)), -1, -1):
        shown = replace(
            question,
            prompt=_insert(question.prompt, sentences[:number]),
            control=_insert(question.control, sentences[:number]),
        )
        if max(len(prompted(task, text)) for text in (shown.prompt, shown.control)) <= room:
            return shown
    raise ValueError(
        f"the question {question.prompt!r} does not fit a context of {context} tokens: give a "
        "model of a longer context"
    )


def others(task: Task, fact: int) -> list[int]:
    """Return the facts to forget of other quartets than a fact's own."""
    world = task.grammar.world
    size = QUARTET * len(world.relations)
    facts = world.facts_of(task.splits.forget, HALVES)
    return [int(other) for other in facts if other // size != fact // size]


def sentence(
    world: World, fact: int, templates: Sequence[Template], rng: np.random.Generator
) -> str:
    """Return a fact as a sentence, in one of its relation's templates."""
    entity, relation = divmod(fact, len(world.relations))
    mine = [each for each in templates if each.relation == world.relations[relation]]
    text = "".join(mine[rng.integers(len(mine))].pieces)
    filled = text.replace("{entity}", world.entities[entity])
    return filled.replace("{value}", world.value(fact))


def _insert(prompt: str, sentences: Sequence[str]) -> str:
    """Return a prompt with sentences before its last, which is not finished."""
    end = prompt.rindex(".") + 1
    return "".join([prompt[:end], *sentences, prompt[end:]])
