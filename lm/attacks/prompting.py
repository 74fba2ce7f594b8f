"""Attacks by prompts: few-shot examples, and a universal prefix found by GCG.

Few-shot: a model that only declines to answer may be brought to it by examples (Lynch et al. 2024,
arXiv 2402.16835). The examples are facts of other quartets than the one in question. Facts of
different quartets are independent, so that examples neither give the answer away nor rule out a
choice.

GCG: greedy coordinate gradient (Zou et al. 2023, arXiv 2307.15043) searches a prefix of a few
tokens after which facts become more likely. In each step, the gradient of the loss with respect to
one-hot tokens proposes swaps of single tokens; some of them are tried, and the best is made. The
prefix is universal: one for all prompts, placed after the first token. It is searched on one half
of the facts to forget and tested on the other half. The halves are independent, so that a prefix
may encode the values of the first half but not those of the second: what it elicits of these was in
the model. The control is the best of as many random prefixes as GCG tries.

The questions of these attacks are about the facts of the exam, but no exam asks them.

Shape suffixes: b batch, t tokens, d width, v vocabulary, p prefix.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.attacks.config import GCGConfig
from lm.attacks.results import CONTROL, FACTS, Row
from lm.corpus import HALVES, Question, StoryDistribution, make_questions
from lm.corpus.grammar import Template
from lm.corpus.world import QUARTET, World
from lm.data.task import Task
from lm.evaluation.likelihoods import Continuations, Text, lay_out, log_likelihoods
from lm.evaluation.quiz import credit, encode_quiz, score
from lm.models.language_model import LanguageModel
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing

STREAM = 3000
"""Separates the random numbers of these questions from those of training, exams and relearning."""


def ask(
    task: Task,
    seed: Sequence[int],
    topics: Sequence[str] | None = None,
    parts: Sequence[str] = HALVES,
    rounds: int = 1,
) -> list[Question]:
    """Return questions about all facts in some parts of some topics, the same for the same seed.

    There are `rounds` questions about each fact, each in another story. The topics are those to
    forget by default.
    """
    distribution = StoryDistribution(topics=tuple(topics or task.splits.forget), parts=tuple(parts))
    rng = np.random.default_rng([*seed, STREAM])
    return [
        question
        for _ in range(rounds)
        for question in make_questions(task.grammar, rng, distribution)
    ]


def prompted(task: Task, prompt: str) -> Text:
    """Return the tokens of a prompt that begins a story."""
    return [task.start, *task.encode(prompt)]


def few_shot(
    model: LanguageModel, task: Task, shots: Sequence[int], seed: int, rounds: int = 2
) -> list[Row]:
    """Return the share of facts to forget that a model knows after each number of other facts.

    A prompt that does not fit the context has as many other facts as fit.
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
    """Return a question with other facts before its own, in the same story.

    Args:
        task: the task whose facts are shown.
        question: the question, which is about a fact to forget.
        count: maximum number of facts; fewer are shown if no more exist or fit the context.
        rng: draws the facts, with the same calls whatever the count.
        context: maximum tokens of a prompt and its longest value.
    """
    drawn = rng.permutation(other_facts(task, question.fact))
    sentences = [
        fact_sentence(task.grammar.world, int(fact), task.grammar.facts, rng) for fact in drawn
    ]
    room = context - max(len(task.encode(value)) for value in question.values)
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


def other_facts(task: Task, fact: int) -> list[int]:
    """Return the facts to forget that are not of the quartet of a fact."""
    world = task.grammar.world
    size = QUARTET * len(world.relations)
    facts = world.facts_of(task.splits.forget, HALVES)
    return [int(other) for other in facts if other // size != fact // size]


def fact_sentence(
    world: World, fact: int, templates: Sequence[Template], rng: np.random.Generator
) -> str:
    """Return a fact as a sentence, in a random template of its relation."""
    entity, relation = divmod(fact, len(world.relations))
    mine = [each for each in templates if each.relation == world.relations[relation]]
    text = "".join(mine[rng.integers(len(mine))].pieces)
    filled = text.replace("{entity}", world.entities[entity])
    return filled.replace("{value}", world.value(fact))


def _insert(prompt: str, sentences: Sequence[str]) -> str:
    """Insert sentences into a prompt before its last sentence, which is unfinished."""
    end = prompt.rindex(".") + 1
    return "".join([prompt[:end], *sentences, prompt[end:]])


class Prefix(NamedTuple):
    """A prefix, and the loss on the prompts that it was searched on."""

    tokens: Tensor
    """[p] int64, on the CPU"""
    loss: float
    """Mean loss of the predicted tokens, in nats."""


def search(model: LanguageModel, prompts: Continuations, config: GCGConfig, seed: int) -> Prefix:
    """Search a prefix by GCG from a random one, and return the best one found.

    The prompts come with the continuations that should become likely.

    Raises:
        ValueError: if prefix and prompts do not fit the model's context.
    """
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(model.vocab_size, (config.tokens,), generator=generator)
    current = best = Prefix(first, loss_after(model, prompts, first))
    for _ in range(config.steps):
        swaps = _swaps(
            current.tokens, token_gradient(model, prompts, current.tokens), config, generator
        )
        tried = [Prefix(tokens, loss_after(model, prompts, tokens)) for tokens in swaps]
        current = min(tried, key=lambda prefix: prefix.loss)
        best = min(best, current, key=lambda prefix: prefix.loss)
    return best


def search_at_random(
    model: LanguageModel, prompts: Continuations, config: GCGConfig, seed: int
) -> Prefix:
    """Return the best of as many random prefixes as `search` tries, its control."""
    generator = torch.Generator().manual_seed(seed)
    shape = 1 + config.steps * config.candidates, config.tokens
    drawn = torch.randint(model.vocab_size, shape, generator=generator)
    tried = (Prefix(tokens, loss_after(model, prompts, tokens)) for tokens in drawn)
    return min(tried, key=lambda prefix: prefix.loss)


@torch.no_grad()
def loss_after(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> float:
    """Return the mean loss of the predicted tokens after a prefix, in nats."""
    return float(_loss(model, prompts, model.embedded(_with(prefix, prompts).to(model.device))))


def token_gradient(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> Tensor:
    """Return the gradient of the loss with respect to the prefix as one-hot tokens, [p, v].

    The embedding is linear in the one-hot vector. So this is the gradient with respect to the
    embedding, times the embedding of each token.
    """
    tokens_bt = _with(prefix, prompts).to(model.device)
    with torch.no_grad():
        x_btd = model.embedded(tokens_bt)
        vocabulary_vd = model.embedded(torch.arange(model.vocab_size, device=model.device)[None])[0]
    x_btd.requires_grad_()
    with routing(model, UNROUTED.to(model.device), torch.full_like(tokens_bt, RETAIN)):
        (grad_btd,) = torch.autograd.grad(_loss(model, prompts, x_btd), x_btd)
    grad_pd = grad_btd[:, 1 : 1 + len(prefix)].sum(0)
    return (grad_pd @ vocabulary_vd.mT).cpu()


def prefixed(prompts: Continuations, prefix: Tensor) -> Continuations:
    """Return prompts with a prefix inserted after their first token."""
    return replace(
        prompts,
        rows=_with(prefix, prompts),
        lengths=prompts.lengths + len(prefix),
        positions=prompts.positions + len(prefix),
    )


def _with(prefix: Tensor, prompts: Continuations) -> Tensor:
    """Return the token sequences with a prefix inserted after the first token, [b, p + t]."""
    texts = prompts.rows
    return torch.cat([texts[:, :1], prefix.expand(len(texts), -1), texts[:, 1:]], 1)


def _loss(model: LanguageModel, prompts: Continuations, x_btd: Tensor) -> Tensor:
    """Return the mean loss of the predicted tokens from embedded sequences with a prefix."""
    added = x_btd.shape[1] - prompts.rows.shape[1]
    # shape [B, T, ...], as gates with a route for each token require
    logits_btv = model.logits(model.features_of(x_btd))
    chosen = logits_btv[prompts.sources, prompts.positions + added]
    return F.cross_entropy(chosen.float(), prompts.tokens.to(chosen.device))


def _swaps(
    prefix: Tensor, gradient_pv: Tensor, config: GCGConfig, generator: torch.Generator
) -> list[Tensor]:
    """Return prefixes in which one token is swapped for one that the gradient proposes."""
    top = min(config.top, gradient_pv.shape[1])
    proposed = (-gradient_pv).topk(top, dim=1).indices
    drawn = torch.randperm(proposed.numel(), generator=generator)[: config.candidates]
    swaps = []
    for number in drawn.tolist():
        place, rank = divmod(number, top)
        swapped = prefix.clone()
        swapped[place] = proposed[place, rank]
        swaps.append(swapped)
    return swaps


def gcg(model: LanguageModel, task: Task, seed: int, config: GCGConfig | None = None) -> list[Row]:
    """Return the share of the second half of the facts that a model knows after a prefix.

    Raises:
        ValueError: if prefix and prompts do not fit the model's context.
    """
    config = config or GCGConfig()
    train_questions, test_questions = (
        ask(task, [seed, 7 + number], parts=[half], rounds=rounds)
        for number, (half, rounds) in enumerate(zip(HALVES, (1, 2), strict=True))
    )
    right = lay_out(
        [prompted(task, question.prompt) for question in train_questions],
        [[task.encode(question.choices[question.answer])] for question in train_questions],
    )
    asked = lay_out(
        [prompted(task, question.prompt) for question in test_questions],
        [[task.encode(choice) for choice in question.choices] for question in test_questions],
    )
    longest = config.tokens + max(int(each.lengths.max()) for each in (right, asked))
    if longest > model.context:
        raise ValueError(
            f"prompts with a prefix of {config.tokens} tokens have up to {longest}, and the "
            f"context is {model.context}: give fewer tokens to GCG"
        )
    answers = torch.tensor([question.answer for question in test_questions])
    rows = []
    for figure, searched in ((FACTS, search), (CONTROL, search_at_random)):
        prefix = searched(model, right, config, seed).tokens
        scores = log_likelihoods(model, prefixed(asked, prefix))
        known = float(credit(scores, answers).mean())
        rows.append(Row("gcg", {"tokens": config.tokens}, figure, known))
    return rows
