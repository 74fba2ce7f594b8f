"""Tests of evaluation, on a little task and on models that follow a rule."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from lm.corpus import make_grammar, make_world, split_topics, story_tokenizer
from lm.data.task import CONTEXT, Task
from lm.models.gpt import GPT
from lm.models.layers import GPTConfig
from lm.task import StoryTask
from tests.lm.corpus.factories import TINY
from tests.lm.models.gpt_factories import random_gpt

FIVE = {
    name: replace(relation, values=(*relation.values, extra))
    for (name, relation), extra in zip(TINY.relations.items(), ("green", "jam"), strict=True)
}
"""Relations of five values, so that a cloze is no multiple choice of four."""


@cache
def tiny_task(*forget: str, vocab_size: int = 512) -> StoryTask:
    """Return a task of three topics, wood to forget by default; its words are single tokens."""
    world = make_world(seed=3, quartets=1, lexicon=replace(TINY, relations=FIVE))
    grammar = make_grammar(world)
    splits = split_topics(world, forget or ("wood",))
    return StoryTask(grammar, story_tokenizer(grammar, vocab_size), splits)


class Scripted(GPT):
    """A model whose logits follow a rule: from tokens [b, t] to logits [b, t, v]."""

    def __init__(self, vocab_size: int, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__(
            GPTConfig(vocab_size=vocab_size, width=2, num_layers=1, num_heads=1, context=CONTEXT)
        )
        self.rule = rule

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return the logits."""
        return self.rule(tokens_bt)

    def logits(self, x_btd: Tensor) -> Tensor:
        """Return them as they are."""
        return x_btd


def uniform(vocab_size: int) -> Scripted:
    """Return a model to which every token is as likely as any other, always."""
    return Scripted(vocab_size, lambda tokens: torch.zeros(*tokens.shape, vocab_size))


def knower(task: Task, facts: Iterable[int]) -> Scripted:
    """Return a model that knows some facts: from their entity on, their values are likelier."""
    world = task.grammar.world
    table = torch.zeros(task.vocab_size, task.vocab_size)
    for fact in facts:
        entity = world.entities[fact // len(world.relations)]
        table[single(task, f" {entity}"), single(task, f" {world.value(fact)}")] = 10
    return Scripted(task.vocab_size, lambda tokens: table[tokens].cumsum(1).clamp(max=10))


def single(task: Task, word: str) -> int:
    """Return the one token of a word."""
    (token,) = task.tokenizer.encode(word).ids
    return int(token)


def random_model(task: Task, dtype: torch.dtype = torch.float64) -> GPT:
    """Return a model with large random weights, in a precision that leaves no doubt."""
    shape = GPTConfig(
        vocab_size=task.vocab_size, width=8, num_layers=2, num_heads=2, context=CONTEXT
    )
    return random_gpt(shape, dtype)
