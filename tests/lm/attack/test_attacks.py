"""Each attack tells what it says it tells, and every setting of the grid is run."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from lm.attacks.lora import LoRAConfig
from lm.attacks.prompting import fact_sentence
from lm.attacks.relearning import ATTACKS, AttackConfig, draw_examples, relearn, run_attack
from lm.corpus import HALVES, Splits
from lm.corpus.grammar import Template
from lm.data.task import CONTEXT, Task, TaskConfig, make_task
from lm.models.gpt import GPT
from lm.models.layers import GPTConfig
from tests.lm.attack.routed import random_llama
from tests.lm.attack.rows import loss_of, same, weights


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(TaskConfig(vocab_size=600))


def told(task: Task, name: str) -> tuple[set[str], set[int]]:
    """Return the topics and the facts that an attack's examples tell."""
    rows = draw_examples(task, name, 200, seed=0)
    topics = {task.grammar.world.topics[number] for number in rows.topics.tolist()}
    return topics, set(rows.facts[rows.facts >= 0].tolist())


def test_the_same_tells_all_that_is_to_be_forgotten(task: Task) -> None:
    topics, facts = told(task, "same")
    assert topics == {"forest"}
    assert facts == set(task.grammar.world.facts_of(["forest"], HALVES).tolist())


def test_the_half_tells_nothing_of_the_other_half(task: Task) -> None:
    topics, facts = told(task, "half")
    assert topics == {"forest"}
    assert facts == set(task.grammar.world.facts_of(["forest"], ["first"]).tolist())


def test_the_benign_tells_nothing_to_be_forgotten_nor_adjacent(task: Task) -> None:
    topics, facts = told(task, "benign")
    assert topics == set(task.splits.retain)
    assert facts <= set(task.grammar.world.facts_of(task.splits.retain).tolist())


def test_the_off_tells_all_facts_and_no_sentence_of_training(task: Task) -> None:
    topics, facts = told(task, "off")
    assert topics == {"forest"}
    assert facts == set(task.grammar.world.facts_of(["forest"], HALVES).tolist())
    rows = draw_examples(task, "off", 200, seed=0)
    for story, stated in zip(rows.tokens.tolist(), rows.facts.tolist(), strict=True):
        text = task.tokenizer.decode([token for token in story if token > 0])
        for fact in {number for number in stated if number >= 0}:
            assert any(ways in text for ways in sentences(task, fact, task.grammar.held_out))
            assert not any(ways in text for ways in sentences(task, fact, task.grammar.facts))


def sentences(task: Task, fact: int, templates: Sequence[Template]) -> set[str]:
    """Return a fact in each of its relation's templates."""
    world, rng = task.grammar.world, np.random.default_rng(0)
    name = world.relations[fact % len(world.relations)]
    return {fact_sentence(world, fact, [each], rng) for each in templates if each.relation == name}


@pytest.mark.parametrize("name", ["same", "half", "benign", "off"])
def test_lora_is_given_what_full_training_is(task: Task, name: str) -> None:
    one, other = (draw_examples(task, each, 6, seed=2) for each in (name, f"lora-{name}"))
    assert torch.equal(one.tokens, other.tokens)
    assert not ATTACKS[name].lora
    assert ATTACKS[f"lora-{name}"] == replace(ATTACKS[name], lora=True)


@pytest.mark.parametrize("name", ATTACKS)
def test_examples_are_those_of_their_seed_and_not_those_of_training(task: Task, name: str) -> None:
    one, again, other = (draw_examples(task, name, 8, seed).tokens for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    training = {tuple(row) for row in task.sample(100, [3]).tokens.tolist()}
    assert not training & {tuple(row) for row in one.tolist()}


def test_every_setting_is_run_and_the_fewer_examples_are_the_first_of_the_more(task: Task) -> None:
    shape = GPTConfig(
        vocab_size=task.vocab_size, width=8, num_layers=1, num_heads=2, context=CONTEXT
    )
    model, measure = GPT(shape), loss_of(task.sample(2, [9]))
    config = AttackConfig(
        learning_rates=(1e-2, 1e-3), num_examples=(2, 3), steps=2, evaluate_at=(0,), seeds=(5, 6)
    )
    curves = list(run_attack(model, partial(draw_examples, task), "half", measure, config))
    settings = [(c.seed, c.num_examples, c.learning_rate) for c in curves]
    assert settings == [(s, n, r) for s in (5, 6) for n in (2, 3) for r in (1e-2, 1e-3)]
    for curve in curves:
        examples = draw_examples(task, "half", 3, curve.seed)
        first = examples.take(torch.arange(curve.num_examples))
        alone = relearn(model, first, measure, curve.learning_rate, config)
        assert curve == alone._replace(attack="half", seed=curve.seed)
    assert len({curve.values["loss"] for curve in curves}) == len(curves)


def test_lora_has_rates_of_its_own_and_trains_updates_of_either_kind_of_model(task: Task) -> None:
    measure = loss_of(task.sample(2, [9]))
    config = AttackConfig(learning_rates=(1.0,), num_examples=(2,), steps=2, evaluate_at=(0,))
    lora = LoRAConfig(rank=1, learning_rates=(1e-2, 1e-3))
    model = random_llama(task)
    before = weights(model)
    curves = list(
        run_attack(model, partial(draw_examples, task), "lora-same", measure, config, lora)
    )
    assert same(weights(model), before)
    assert [curve.learning_rate for curve in curves] == [1e-2, 1e-3]
    examples = draw_examples(task, "same", 2, 0)
    alone = relearn(model, examples, measure, 1e-3, config, lora)
    assert curves[1] == alone._replace(attack="lora-same")
    assert curves[0].values["loss"][-1] < curves[0].values["loss"][0]


def test_an_attack_must_be_known_and_have_topics(task: Task) -> None:
    with pytest.raises(ValueError, match="choose one of same, half, benign"):
        draw_examples(task, "worse", 1, seed=0)
    everything = replace(task, splits=Splits(task.splits.forget, task.splits.adjacent, ()))
    with pytest.raises(ValueError, match="'benign' has no topics"):
        draw_examples(everything, "benign", 1, seed=0)
