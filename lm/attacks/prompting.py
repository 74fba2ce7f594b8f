"""Few-shot prompts: other facts to forget, told before the one that is asked for.

A model that only declines to tell may be brought to it by examples (Lynch et al. 2024, arXiv
2402.16835). Shots are facts of other quartets than the one asked about: facts of different
quartets are independent, so that shots say nothing of the answer, nor rule out a choice.

The questions of attacks that ask: no exam asks these, but they are about the same facts.

A prefix found by GCG on one half of the facts to forget, tested on the other half.

The halves are independent: a prefix may learn the values of the first half by heart, but not
those of the second. So what it gets of these was in the model. The control is the best of as many
random prefixes as GCG has tried.

A small GCG: a prefix of a few tokens, found by gradients, after which facts get likelier.

Greedy coordinate gradient, Zou et al. 2023 (arXiv 2307.15043): in each step the gradient of the
loss with respect to one-hot tokens proposes swaps of single tokens; some of these are tried, and
the best is made. The prefix is universal: one for all prompts, put after the first token.

Shape suffixes: b batch, t tokens, d width, v vocabulary, p prefix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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
"""Keeps the draws of questions apart from those of training, exams and relearning."""


def ask(
    task: Task,
    seed: Sequence[int],
    topics: Sequence[str] | None = None,
    parts: Sequence[str] = HALVES,
    rounds: int = 1,
) -> list[Question]:
    """Return questions about every fact of some topics' parts, the same for the same seed.

    Args:
        task: whose world is asked about.
        seed: of stories, templates and the order of choices.
        topics: what is asked about; the topics to forget by default.
        parts: whose facts.
        rounds: how often each fact is asked for, each time in another story.
    """
    distribution = StoryDistribution(topics=tuple(topics or task.splits.forget), parts=tuple(parts))
    rng = np.random.default_rng([*seed, STREAM])
    return [
        question
        for _ in range(rounds)
        for question in make_questions(task.grammar, rng, distribution)
    ]


def encoded(task: Task, text: str) -> Text:
    """Return the tokens of a text, such as a choice with the space before it."""
    return task.encode(text)


def prompted(task: Task, prompt: str) -> Text:
    """Return the tokens of a prompt, which begins a story."""
    return [task.end, *task.encode(prompt)]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class GCGConfig:
    """How a prefix is searched for.

    Raises:
        ValueError: if a number is below 1.
    """

    tokens: int = 8
    """tokens of the prefix"""
    steps: int = 20
    """swaps that are made at most"""
    candidates: int = 32
    """swaps that are tried in a step"""
    top: int = 64
    """tokens that the gradient proposes for each place; those tried are drawn from them"""

    def __post_init__(self) -> None:
        given = self.tokens, self.steps, self.candidates, self.top
        if min(given) < 1:
            raise ValueError(
                f"tokens, steps, candidates and top of {given} were given: give 1 or more of each"
            )


class Prefix(NamedTuple):
    """A prefix, and what it does to the prompts that it was found on."""

    tokens: Tensor
    """[p] int64, on the CPU"""
    loss: float
    """mean loss of the tokens to predict, in nats"""


def search(model: LanguageModel, prompts: Continuations, config: GCGConfig, seed: int) -> Prefix:
    """Return the best prefix that gradients lead to, from a random one.

    Args:
        model: it stays as it is.
        prompts: each with the continuation that is to get likely.
        config: how to search.
        seed: of the first prefix and of which swaps are tried.

    Raises:
        ValueError: if prefix and prompts do not fit the model's context.
    """
    generator = torch.Generator().manual_seed(seed)
    (first,) = _random(1, model, config, generator)
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
    """Return the best of as many random prefixes as `search` tries: its control."""
    generator = torch.Generator().manual_seed(seed)
    drawn = _random(1 + config.steps * config.candidates, model, config, generator)
    tried = (Prefix(tokens, loss_after(model, prompts, tokens)) for tokens in drawn)
    return min(tried, key=lambda prefix: prefix.loss)


@torch.no_grad()
def loss_after(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> float:
    """Return the mean loss of the tokens to predict after a prefix, in nats."""
    return float(_loss(model, prompts, model.embedded(_with(prefix, prompts).to(model.device))))


def token_gradient(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> Tensor:
    """Return the gradient of the loss with respect to the prefix as one-hot tokens, [p, v].

    A token's embedding is linear in its one-hot vector: so this is the gradient with respect to
    the embedding, times the embedding of each token.
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
    """Return prompts with a prefix after their first token."""
    lengths = prompts.lengths + len(prefix)
    return Continuations(
        beginnings=_with(prefix, prompts),
        lengths=lengths,
        sources=prompts.sources,
        tokens=prompts.tokens,
        places=prompts.places,
        shape=prompts.shape,
    )


def _with(prefix: Tensor, prompts: Continuations) -> Tensor:
    """Return the beginnings of prompts with a prefix after their first token, [b, p + t]."""
    texts = prompts.beginnings
    return torch.cat([texts[:, :1], prefix.expand(len(texts), -1), texts[:, 1:]], 1)


def _loss(model: LanguageModel, prompts: Continuations, x_btd: Tensor) -> Tensor:
    """Return the mean loss of the tokens to predict, given embedded beginnings and their prefix."""
    added = x_btd.shape[1] - prompts.beginnings.shape[1]
    last = (prompts.lengths + added - 1)[prompts.sources]
    # in the form [B, T, ...], which routes of tokens fit
    logits_btv = model.logits(model.features_of(x_btd))
    chosen = logits_btv[prompts.sources, last]
    return F.cross_entropy(chosen.float(), prompts.tokens.to(chosen.device))


def _swaps(
    prefix: Tensor, gradient_pv: Tensor, config: GCGConfig, generator: torch.Generator
) -> list[Tensor]:
    """Return prefixes with one token swapped for one that the gradient proposes."""
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


def _random(
    count: int, model: LanguageModel, config: GCGConfig, generator: torch.Generator
) -> Tensor:
    """Return random prefixes, [count, p]."""
    return torch.randint(model.vocab_size, (count, config.tokens), generator=generator)


_SEARCHES: dict[str, Callable[..., tuple[Tensor, float]]] = {
    FACTS: search,
    CONTROL: search_at_random,
}


def gcg(model: LanguageModel, task: Task, seed: int, config: GCGConfig | None = None) -> list[Row]:
    """Return the share of the second half's facts that a model knows after a prefix.

    Args:
        model: it stays as it is.
        task: what was to be unlearned.
        seed: of the questions and of the search.
        config: how the prefix is searched for.

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
        [[encoded(task, question.choices[question.answer])] for question in train_questions],
    )
    asked = lay_out(
        [prompted(task, question.prompt) for question in test_questions],
        [[encoded(task, choice) for choice in question.choices] for question in test_questions],
    )
    longest = config.tokens + max(int(each.lengths.max()) for each in (right, asked))
    if longest > model.context:
        raise ValueError(
            f"prompts with a prefix of {config.tokens} tokens have up to {longest}, and the "
            f"context is {model.context}: give fewer tokens to GCG"
        )
    answers = torch.tensor([question.answer for question in test_questions])
    rows = []
    for figure, searched in _SEARCHES.items():
        prefix, _ = searched(model, right, config, seed)
        scores = log_likelihoods(model, prefixed(asked, prefix))
        known = float(credit(scores, answers).mean())
        rows.append(Row("gcg", {"tokens": config.tokens}, figure, known))
    return rows
