"""Probes find values that a model has in its features, of entities they never saw, and no others.

The models here have known features: a value in the same direction for every fact that is known,
or a direction of its own for each entity.
"""

from collections.abc import Collection

import pytest
import torch
from torch import Tensor

from lm.attacks.probing import ProbeConfig, probe, residuals
from lm.attacks.prompting import ask, prompted
from lm.attacks.results import CONTROL, FACTS
from lm.corpus import HALVES
from lm.data.task import CONTEXT, Task
from lm.models.gpt import GPT
from lm.models.layers import GPTConfig
from tests.lm.attack.rows import same, weights
from tests.lm.evaluation import random_model, single, tiny_task


class Written(GPT):
    """A model of one layer, whose residual stream at a token holds what a table has for it."""

    def __init__(self, table: Tensor) -> None:
        width = table.shape[1]
        super().__init__(
            GPTConfig(
                vocab_size=len(table), width=width, num_layers=1, num_heads=1, context=CONTEXT
            )
        )
        self.table = table

    def residuals(self, tokens_bt: Tensor) -> list[Tensor]:
        """Return the sum of the table over the tokens so far."""
        return [self.table[tokens_bt].cumsum(1)]


def written(task: Task, known: Collection[str]) -> Written:
    """Return a model that writes values when an entity of some topics is named, and who it is."""
    world = task.grammar.world
    values = [v for relation in world.lexicon.relations.values() for v in relation.values]
    columns = len(values) + len(world.entities)
    table = torch.zeros(task.vocab_size, columns + columns % 2)
    for topic in world.topics:
        for fact in world.facts_of([topic], HALVES).tolist():
            entity = fact // len(world.relations)
            row = single(task, f" {world.entities[entity]}")
            table[row, len(values) + entity] = 1
            table[row, values.index(world.value(fact))] += float(topic in known)
    return Written(table)


def found(model: GPT, ridge: float = 1e-3) -> dict[str, list[float]]:
    rows = probe(model, tiny_task(), 0, ProbeConfig(ridge=ridge, rounds=3))
    return {name: [r.value for r in rows if r.figure == name] for name in (FACTS, CONTROL)}


def test_values_that_the_features_hold_are_told_of_entities_never_seen() -> None:
    task = tiny_task()
    told = found(written(task, task.grammar.world.topics))
    assert told[FACTS] == [1.0]
    assert told[CONTROL][0] < 0.8


def test_features_that_tell_entities_apart_give_no_values_away() -> None:
    task = tiny_task()
    told = found(written(task, set(task.grammar.world.topics) - set(task.splits.forget)))
    assert told[FACTS][0] <= 0.5  # a quarter, but for eight entities


def test_each_layer_has_a_row_of_both_kinds_and_the_model_stays() -> None:
    task = tiny_task()
    model = random_model(task)
    before = weights(model)
    rows, again = (probe(model, task, 4, ProbeConfig(ridge=1.0, rounds=1)) for _ in range(2))
    assert rows == again
    layers = [(row.attack, row.setting["layer"], row.figure) for row in rows]
    assert layers == [("probe", layer, name) for layer in (0, 1) for name in (FACTS, CONTROL)]
    assert same(weights(model), before)


@torch.no_grad()
def test_the_last_token_of_each_text_is_read_whatever_the_batch() -> None:
    task = tiny_task()
    model = random_model(task)
    texts = [prompted(task, question.prompt) for question in ask(task, [1])]
    assert len({len(text) for text in texts}) > 1
    for layer, read in enumerate(residuals(model, texts, batch_size=3)):
        one_by_one = [model.residual(torch.tensor([text]), layer)[0, -1] for text in texts]
        assert torch.allclose(read, torch.stack(one_by_one), atol=1e-12)


def test_bad_settings_are_refused() -> None:
    for wrong in ({"ridge": 0.0}, {"rounds": 0}):
        with pytest.raises(ValueError, match="one above 0, and 1"):
            ProbeConfig(**wrong)
