"""Relearning is plain AdamW on all examples, on a copy, and to the bit the same each time."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.attacks.relearning import AttackConfig, Curve, relearn
from lm.models.gpt import GPT
from lm.models.layers import GPTConfig
from lm.training.route_tables import UNROUTED
from oversight.routing import routing
from tests.lm.attack.rows import LENGTHS, Weights, loss_of, same, stories, weights
from tests.lm.small import EXPANDED, SMALL, lively

CONFIG = AttackConfig(steps=6, evaluate_at=(0, 1, 3, 10), weight_decay=0.1)
RATE = 1e-2


def adamw_by_hand(model: GPT, steps: int) -> list[dict[str, Tensor]]:
    """Return the weights before and after each step, by the formulas of the algorithm."""
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
def test_it_is_adamw_to_the_bit(shape: GPTConfig) -> None:
    model, noted = lively(shape), Weights()
    curve = relearn(model, stories(), noted, RATE, CONFIG)
    by_hand = adamw_by_hand(model, CONFIG.steps)
    assert curve.steps == (0, 1, 3, 6)
    assert len(noted.seen) == 4
    for step, found in zip(curve.steps, noted.seen, strict=True):
        assert same(found, by_hand[step])
    for name in by_hand[0]:  # nothing is frozen
        assert not torch.equal(by_hand[0][name], by_hand[1][name])


def test_the_values_are_those_of_the_model_at_each_step() -> None:
    model, rows, noted = lively(), stories(), Weights()
    curve = relearn(model, rows, loss_of(rows), RATE, CONFIG)
    relearn(model, rows, noted, RATE, CONFIG)
    losses = []
    for seen in noted.seen:
        model.load_state_dict(seen)
        losses.append(loss_of(rows)(model)["loss"])
    assert curve == Curve("relearning", RATE, 3, (0, 1, 3, 6), {"loss": tuple(losses)})
    assert losses[-1] < losses[0] - 0.1


def test_the_model_stays_as_it_is_and_is_step_0() -> None:
    model, noted = lively(), Weights()
    before = weights(model)
    relearn(model, stories(), noted, RATE, CONFIG)
    assert same(weights(model), before)
    assert same(noted.seen[0], before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_what_was_frozen_or_hooked_is_attacked_like_all_else() -> None:
    model, rows = lively(), stories()
    free = relearn(model, rows, loss_of(rows), RATE, CONFIG)
    model.requires_grad_(False)
    model.blocks[0].register_forward_hook(lambda module, args, result: result * 0)
    assert relearn(model, rows, loss_of(rows), RATE, CONFIG) == free


def test_the_same_twice_is_the_same_to_the_bit() -> None:
    one, other = Weights(), Weights()
    for noted in (one, other):
        relearn(lively(), stories(), noted, RATE, CONFIG)
    assert all(map(same, one.seen, other.seen))


def test_a_step_too_small_to_be_written_moves_nothing() -> None:
    rows, noted = stories(), Weights()
    relearn(lively(), rows, noted, 1e-20, CONFIG)
    assert all(same(seen, noted.seen[0]) for seen in noted.seen)
    flat = relearn(lively(), rows, loss_of(rows), 1e-20, CONFIG)
    assert len(set(flat.values["loss"])) == 1


def test_what_fills_rows_up_is_nothing_to_learn() -> None:
    one, other = Weights(), Weights()
    for noted, columns in ((one, SMALL.context), (other, 90)):  # 90 would not fit the context
        relearn(lively(), stories(columns=columns), noted, RATE, CONFIG)
    assert all(map(same, one.seen, other.seen))


def test_a_model_keeps_its_precision() -> None:
    noted = Weights()
    relearn(lively(dtype=torch.float64), stories(), noted, RATE, CONFIG)
    assert {value.dtype for seen in noted.seen for value in seen.values()} == {torch.float64}


def test_it_is_measured_within_the_budget_and_at_its_end() -> None:
    assert AttackConfig().measured == (0, 1, 2, 5, 10, 20)
    assert replace(CONFIG, steps=3).measured == (0, 1, 3)
    assert replace(CONFIG, steps=99).measured == (0, 1, 3, 10, 99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rates": ()}, "one or more, each once"),
        ({"num_examples": (4, 4)}, "one or more, each once"),
        ({"seeds": ()}, "one or more, each once"),
        ({"seeds": (-1,)}, "must be positive"),
        ({"learning_rates": (1e-3, 0.0)}, "must be positive"),
        ({"learning_rates": (1e-3, float("nan"))}, "must be positive"),
        ({"num_examples": (0,)}, "must be positive"),
        ({"steps": 0}, "must be positive"),
        ({"evaluate_at": (1, 2)}, "begin with 0"),
        ({"evaluate_at": ()}, "begin with 0"),
        ({"evaluate_at": (0, 2, 2)}, "ascend"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttackConfig(**change)  # type: ignore[arg-type]


def test_no_examples_are_refused() -> None:
    none = stories().take(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="no stories were given"):
        relearn(lively(), none, Weights(), RATE, CONFIG)
