"""A small task, and models whose answers are known."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from lm.corpus import make_grammar, make_world, split_topics, story_tokenizer
from lm.data.task import CONTEXT, Task
from lm.models.gpt import GPT
from lm.models.shapes import GPTConfig
from lm.task import StoryTask
from tests.lm.corpus.factories import TINY
from tests.lm.models.gpt_factories import random_gpt

FIVE = {
    name: replace(relation, values=(*relation.values, extra))
    for (name, relation), extra in zip(TINY.relations.items(), ("green", "jam"), strict=True)
}
"""Relations of five values, so that cloze differs from multiple choice among four."""


@cache
def tiny_task(*forget: str, vocab_size: int = 512) -> StoryTask:
    """Return a task of three topics whose words are single tokens; by default it forgets `wood`."""
    world = make_world(seed=3, quartets=1, lexicon=replace(TINY, relations=FIVE))
    grammar = make_grammar(world)
    splits = split_topics(world, forget or ("wood",))
    return StoryTask(grammar, story_tokenizer(grammar, vocab_size), splits)


class Scripted(GPT):
    """A model whose logits, [b, t, v], are a given function of its tokens, [b, t]."""

    def __init__(self, vocab_size: int, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__(
            GPTConfig(vocab_size=vocab_size, width=2, num_layers=1, num_heads=1, context=CONTEXT)
        )
        self.rule = rule

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return the logits."""
        return self.rule(tokens_bt)

    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the features, which are the logits."""
        return x_btd


def uniform(vocab_size: int) -> Scripted:
    """Return a model that gives all tokens equal probability."""
    return Scripted(vocab_size, lambda tokens: torch.zeros(*tokens.shape, vocab_size))


def knower(task: Task, facts: Iterable[int]) -> Scripted:
    """Return a model that raises the logits of values after the entities of known facts."""
    world = task.grammar.world
    table = torch.zeros(task.vocab_size, task.vocab_size)
    for fact in facts:
        entity = world.entities[fact // len(world.relations)]
        table[single(task, f" {entity}"), single(task, f" {world.value(fact)}")] = 10
    return Scripted(task.vocab_size, lambda tokens: table[tokens].cumsum(1).clamp(max=10))


def single(task: Task, word: str) -> int:
    """Return the token of a word that is a single token."""
    (token,) = task.tokenizer.encode(word).ids
    return int(token)


def random_model(task: Task, dtype: torch.dtype = torch.float64) -> GPT:
    """Return a model with large random weights in float64."""
    shape = GPTConfig(
        vocab_size=task.vocab_size, width=8, num_layers=2, num_heads=2, context=CONTEXT
    )
    return random_gpt(shape, dtype)
