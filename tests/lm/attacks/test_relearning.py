"""The steps of relearning, and the examples and grid of each attack."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.attacks.config import AttackConfig, LoRAConfig
from lm.attacks.prompting import fact_sentence
from lm.attacks.relearning import ATTACKS, Curve, draw_examples, relearn, run_attack
from lm.corpus import HALVES, Splits
from lm.corpus.grammar import Template
from lm.data.task import CONTEXT, Task, TaskConfig, make_task
from lm.models.gpt import GPT
from lm.models.shapes import GPTConfig
from lm.training.route_tables import UNROUTED
from oversight.routing import routing
from tests.lm.attacks.model_factories import random_llama
from tests.lm.attacks.row_factories import LENGTHS, Weights, loss_of, same, stories, weights
from tests.lm.models.gpt_factories import EXPANDED, SMALL, random_gpt

CONFIG = AttackConfig(steps=6, evaluate_at=(0, 1, 3, 10), weight_decay=0.1)
RATE = 1e-2


def adamw_by_hand(model: GPT, steps: int) -> list[dict[str, Tensor]]:
    """Return the weights before and after each step of AdamW, computed from its formulas."""
    model, rows, (first, second) = deepcopy(model), stories(), CONFIG.betas
    inputs, targets = rows.inputs[:, : max(LENGTHS)], rows.targets[:, : max(LENGTHS)]
    means = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    squares = deepcopy(means)
    seen = [weights(model)]
    for step in range(1, steps + 1):
        model.zero_grad()
        with routing(model, UNROUTED, torch.zeros_like(inputs)):
            model.loss(inputs, targets).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name, p in model.named_parameters():
                assert p.grad is not None
                p.mul_(1 - RATE * CONFIG.weight_decay)
                means[name].lerp_(p.grad, 1 - first)
                squares[name].mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                root = (squares[name].sqrt() / (1 - second**step) ** 0.5).add_(1e-8)
                p.addcdiv_(means[name], root, value=-RATE / (1 - first**step))
        seen.append(weights(model))
    return seen


@pytest.mark.parametrize("shape", [SMALL, EXPANDED])
def test_relearning_equals_adamw_written_by_hand(shape: GPTConfig) -> None:
    model, noted = random_gpt(shape), Weights()
    curve = relearn(model, stories(), noted, RATE, CONFIG)
    by_hand = adamw_by_hand(model, CONFIG.steps)
    assert curve.steps == (0, 1, 3, 6)
    assert len(noted.seen) == 4
    for step, found in zip(curve.steps, noted.seen, strict=True):
        assert same(found, by_hand[step])
    for name in by_hand[0]:  # nothing is frozen
        assert not torch.equal(by_hand[0][name], by_hand[1][name])


def test_curve_values_are_measured_at_each_step() -> None:
    model, rows, noted = random_gpt(), stories(), Weights()
    curve = relearn(model, rows, loss_of(rows), RATE, CONFIG)
    relearn(model, rows, noted, RATE, CONFIG)
    losses = []
    for seen in noted.seen:
        model.load_state_dict(seen)
        losses.append(loss_of(rows)(model)["loss"])
    assert curve == Curve("relearning", RATE, 3, (0, 1, 3, 6), {"loss": tuple(losses)})
    assert losses[-1] < losses[0] - 0.1


def test_relearning_leaves_the_model_unchanged_and_starts_from_it() -> None:
    model, noted = random_gpt(), Weights()
    before = weights(model)
    relearn(model, stories(), noted, RATE, CONFIG)
    assert same(weights(model), before)
    assert same(noted.seen[0], before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_relearning_ignores_frozen_parameters_and_hooks() -> None:
    model, rows = random_gpt(), stories()
    free = relearn(model, rows, loss_of(rows), RATE, CONFIG)
    model.requires_grad_(False)
    model.blocks[0].register_forward_hook(lambda module, args, result: result * 0)
    assert relearn(model, rows, loss_of(rows), RATE, CONFIG) == free


def test_relearning_is_deterministic() -> None:
    one, other = Weights(), Weights()
    for noted in (one, other):
        relearn(random_gpt(), stories(), noted, RATE, CONFIG)
    assert all(map(same, one.seen, other.seen))


def test_relearning_changes_nothing_when_the_learning_rate_underflows() -> None:
    rows, noted = stories(), Weights()
    relearn(random_gpt(), rows, noted, 1e-20, CONFIG)
    assert all(same(seen, noted.seen[0]) for seen in noted.seen)
    flat = relearn(random_gpt(), rows, loss_of(rows), 1e-20, CONFIG)
    assert len(set(flat.values["loss"])) == 1


def test_relearning_does_not_depend_on_padding() -> None:
    one, other = Weights(), Weights()
    for noted, columns in ((one, SMALL.context), (other, 90)):  # 90 would not fit the context
        relearn(random_gpt(), stories(columns=columns), noted, RATE, CONFIG)
    assert all(map(same, one.seen, other.seen))


def test_relearning_keeps_the_dtype_of_the_model() -> None:
    noted = Weights()
    relearn(random_gpt(dtype=torch.float64), stories(), noted, RATE, CONFIG)
    assert {value.dtype for seen in noted.seen for value in seen.values()} == {torch.float64}


def test_measured_steps_lie_within_the_budget_and_include_its_end() -> None:
    assert AttackConfig().measured == (0, 1, 2, 5, 10, 20)
    assert replace(CONFIG, steps=3).measured == (0, 1, 3)
    assert replace(CONFIG, steps=99).measured == (0, 1, 3, 10, 99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rates": ()}, "one or more, each once"),
        ({"num_examples": (4, 4)}, "one or more, each once"),
        ({"seeds": ()}, "one or more, each once"),
        ({"seeds": (-1,)}, "give 0 or more"),
        ({"learning_rates": (1e-3, 0.0)}, "give a number above 0"),
        ({"learning_rates": (1e-3, float("nan"))}, "give a number above 0"),
        ({"num_examples": (0,)}, "give a number above 0"),
        ({"steps": 0}, "give a number above 0"),
        ({"evaluate_at": (1, 2)}, "begin with 0"),
        ({"evaluate_at": ()}, "begin with 0"),
        ({"evaluate_at": (0, 2, 2)}, "ascend"),
    ],
)
def test_attack_config_refuses_invalid_settings(
    change: dict[str, tuple[float, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AttackConfig(**change)  # type: ignore[arg-type]


def test_relearn_refuses_an_empty_set_of_examples() -> None:
    none = stories().take(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="no stories were given"):
        relearn(random_gpt(), none, Weights(), RATE, CONFIG)


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(TaskConfig(vocab_size=600))


def stated(task: Task, name: str) -> tuple[set[str], set[int]]:
    """Return the topics and the facts that the examples of an attack state."""
    rows = draw_examples(task, name, 200, seed=0)
    topics = {task.grammar.world.topics[number] for number in rows.topics.tolist()}
    return topics, set(rows.facts[rows.facts >= 0].tolist())


def test_same_attack_states_all_forget_facts(task: Task) -> None:
    topics, facts = stated(task, "same")
    assert topics == {"forest"}
    assert facts == set(task.grammar.world.facts_of(["forest"], HALVES).tolist())


def test_half_attack_states_only_the_first_half(task: Task) -> None:
    topics, facts = stated(task, "half")
    assert topics == {"forest"}
    assert facts == set(task.grammar.world.facts_of(["forest"], ["first"]).tolist())


def test_benign_attack_states_only_retain_facts(task: Task) -> None:
    topics, facts = stated(task, "benign")
    assert topics == set(task.splits.retain)
    assert facts <= set(task.grammar.world.facts_of(task.splits.retain).tolist())


def test_off_attack_states_all_facts_in_held_out_templates(task: Task) -> None:
    topics, facts = stated(task, "off")
    assert topics == {"forest"}
    assert facts == set(task.grammar.world.facts_of(["forest"], HALVES).tolist())
    rows = draw_examples(task, "off", 200, seed=0)
    for story, numbers in zip(rows.tokens.tolist(), rows.facts.tolist(), strict=True):
        text = task.tokenizer.decode([token for token in story if token > 0])
        for fact in {number for number in numbers if number >= 0}:
            assert any(ways in text for ways in sentences(task, fact, task.grammar.held_out))
            assert not any(ways in text for ways in sentences(task, fact, task.grammar.facts))


def sentences(task: Task, fact: int, templates: Sequence[Template]) -> set[str]:
    """Return a fact as a sentence in each template of its relation."""
    world, rng = task.grammar.world, np.random.default_rng(0)
    name = world.relations[fact % len(world.relations)]
    return {fact_sentence(world, fact, [each], rng) for each in templates if each.relation == name}


@pytest.mark.parametrize("name", ["same", "half", "benign", "off"])
def test_lora_attacks_use_the_examples_of_full_training(task: Task, name: str) -> None:
    one, other = (draw_examples(task, each, 6, seed=2) for each in (name, f"lora-{name}"))
    assert torch.equal(one.tokens, other.tokens)
    assert not ATTACKS[name].lora
    assert ATTACKS[f"lora-{name}"] == replace(ATTACKS[name], lora=True)


@pytest.mark.parametrize("name", ATTACKS)
def test_examples_depend_on_the_seed_and_differ_from_training(task: Task, name: str) -> None:
    one, again, other = (draw_examples(task, name, 8, seed).tokens for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    training = {tuple(row) for row in task.sample(100, [3]).tokens.tolist()}
    assert not training & {tuple(row) for row in one.tolist()}


def test_run_attack_covers_the_grid_with_nested_examples(task: Task) -> None:
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


def test_run_attack_with_lora_uses_its_learning_rates_and_keeps_the_model(task: Task) -> None:
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


def test_draw_examples_refuses_unknown_attacks_and_empty_splits(task: Task) -> None:
    with pytest.raises(ValueError, match="choose one of same, half, benign"):
        draw_examples(task, "worse", 1, seed=0)
    everything = replace(task, splits=Splits(task.splits.forget, task.splits.adjacent, ()))
    with pytest.raises(ValueError, match="'benign' has no topics"):
        draw_examples(everything, "benign", 1, seed=0)
