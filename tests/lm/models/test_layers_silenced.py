"""Tests of modules that learn to write nothing about texts that do not pass through them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.layers import AddedEmbedding, AddedModules, AddedUnits, silence_modules
from lm.models.shapes import RESERVED
from lm.training.batches import Batch
from lm.training.distributed import ScaleConfig, compile_and_checkpoint
from lm.training.loop import LoopConfig, make_optimizer, update
from oversight.routing import routing
from tests.lm.models.gpt_factories import random_gpt, tokens
from tests.lm.models.test_layers_selected_rows import SHAPE, TABLE, TOPICS

WEIGHT = 0.7
MIXED = TABLE.routes(["forest", "retain", "unlabeled", "retain+ocean"])
"""Texts that pass through the first module, none, all, and the second."""


def silenced(weight: float = WEIGHT) -> GPT:
    model = random_gpt(SHAPE, torch.float64)
    silence_modules(model, weight)
    return model


def gradients(model: GPT, route: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Return the total loss, and the gradient of each parameter that has one."""
    with routing(model, TABLE, route):
        loss = model.total_loss(*tokens(rows=len(route)))
        loss.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.item(), found


def expected_penalty(model: GPT, route: Tensor) -> float:
    """Return the penalty by hooks that read the input of the modules, text by text."""
    total, passes = 0.0, TABLE.rows(route)

    def add(part: AddedModules, inputs: tuple[Tensor, Tensor], _output: Tensor) -> None:
        nonlocal total
        for place, (name, added) in enumerate(part.items()):
            assert isinstance(added, AddedUnits | AddedEmbedding)
            column = TABLE.target_names.index(f"{name}_mask")
            for row, x_t in enumerate(inputs[1].detach()):
                if passes[row, column] == 0:
                    with torch.no_grad():
                        # without gradients, masks are off
                        written_td = added(x_t[None])[0]
                    turns = (row + torch.arange(len(x_t))) % len(TOPICS)
                    written_td = written_td[turns == place]
                    total += WEIGHT * len(TOPICS) / 2 * float(written_td.square().sum())

    parts = [part for part in model.modules() if isinstance(part, AddedModules)]
    handles = [part.register_forward_hook(add) for part in parts]
    with routing(model, TABLE, route):
        model.token_losses(*tokens(rows=len(route)))
    for handle in handles:
        handle.remove()
    return total


def test_total_loss_has_half_the_square_of_what_modules_write_about_texts_of_others() -> None:
    plain, _ = gradients(random_gpt(SHAPE, torch.float64), MIXED)
    loss, _ = gradients(silenced(), MIXED)
    assert loss - plain == pytest.approx(expected_penalty(silenced(), MIXED), rel=1e-9)
    assert loss > plain


def test_penalty_teaches_only_the_modules_that_a_text_does_not_pass_through() -> None:
    route = TABLE.routes(["forest", "forest+core"])
    _, plain = gradients(random_gpt(SHAPE, torch.float64), route)
    _, found = gradients(silenced(), route)
    others = {name for name in found if name not in plain}
    assert others == {
        name for name, _ in silenced().named_parameters() if "ocean" in name or "city" in name
    }
    assert all(found[name].any() for name in others)
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_unlabeled_texts_silence_nothing() -> None:
    route = TABLE.routes(["unlabeled", "unlabeled"])
    loss, found = gradients(silenced(), route)
    expected_loss, expected = gradients(random_gpt(SHAPE, torch.float64), route)
    assert loss == expected_loss
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_gradients_keep_their_bits_when_activations_are_recomputed() -> None:
    model, again = silenced(), silenced()
    with compile_and_checkpoint(again, ScaleConfig(checkpoint_activations=True)):
        recomputed = gradients(again, MIXED)
    loss, kept = gradients(model, MIXED)
    assert recomputed[0] == loss
    assert all(torch.equal(recomputed[1][name], kept[name]) for name in kept)


def test_module_that_only_reads_texts_of_others_falls_silent() -> None:
    model = silenced(weight=10.0)
    optimizer = make_optimizer(model, LoopConfig())
    generator, route = torch.Generator().manual_seed(0), TABLE.routes(["forest", "retain"])

    def norms() -> dict[str, float]:
        embeddings = [part for part in model.modules() if isinstance(part, AddedEmbedding)]
        return {part.module: float(part.weight.detach().norm()) for part in embeddings}

    before = norms()
    for _ in range(200):
        drawn = torch.randint(SHAPE.vocab_size, (2, 7), generator=generator)
        batch = Batch(drawn[:, :-1], drawn[:, 1:], route)
        update(model, TABLE, batch, optimizer, 3e-2, 1.0)
    after = norms()
    assert after["ocean"] < 0.2 * before["ocean"]
    assert after["city"] < 0.2 * before["city"]


def test_copies_and_evaluations_are_not_penalized() -> None:
    model = silenced()
    route = TABLE.routes(["forest", "retain"])
    loss, _ = gradients(model.copied(), route)
    plain, _ = gradients(random_gpt(SHAPE, torch.float64), route)
    assert loss == plain
    with torch.no_grad():
        expected = random_gpt(SHAPE, torch.float64).total_loss(*tokens(rows=2))
        assert torch.equal(model.total_loss(*tokens(rows=2)), expected)


def test_layers_that_are_not_expanded_have_no_penalty() -> None:
    shape = replace(SHAPE, expanded_layers=(1,))
    plain, model = (random_gpt(shape, torch.float64) for _ in range(2))
    silence_modules(model, WEIGHT)
    loss, _ = gradients(model, MIXED)
    assert loss > gradients(plain, MIXED)[0]


def test_attributes_of_the_parts_of_modules_are_no_names_of_modules() -> None:
    own = {name for name in vars(AddedModules) if not name.startswith("_")}
    assert own <= RESERVED
