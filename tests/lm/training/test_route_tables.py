"""Gradients of each route match a reference with explicit weights."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.models.gpt import GPT, Block, norm
from lm.models.layers import rotate, rotations
from lm.models.shapes import TARGETS
from lm.training.route_tables import (
    ERA,
    FILTERED,
    FORGET,
    LABELS,
    MODULES,
    PARAMETERS,
    RETAIN,
    UNROUTED,
    complete,
    era_routes,
    pseudo_counts,
    token_weights,
)
from oversight.routing import RouteTable, routing
from tests.lm.factories import TABLES
from tests.lm.models.gpt_factories import EXPANDED, labels, random_gpt, tokens


def copies_loss(model: GPT, copies: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
    """Return the loss of a network in which each token has its own copy of every matrix.

    Written out, without a gate: `copies[name]` is [b, t, outputs, inputs], and `masks` holds what
    each module's output is multiplied by, [b, t].
    """
    inputs, targets = tokens(config=EXPANDED)

    def apply(x: Tensor, name: str) -> Tensor:
        return torch.einsum("btoi,bti->bto", copies[name], x)

    def look_up(name: str) -> Tensor:
        return torch.einsum("btvd,btv->btd", copies[name], F.one_hot(inputs, 13).double())

    added = [
        look_up(f"added_embeddings.{name}.weight") * mask[..., None] for name, mask in masks.items()
    ]
    x = norm(look_up("embedding") + sum(added))
    for i in range(EXPANDED.num_layers):
        parts = apply(norm(x), f"blocks.{i}.attention.qkv.weight").view(3, 6, 3, 2, 4)
        q, k, v = (part.transpose(1, 2) for part in parts.unbind(2))
        turns = rotations(4, 6)
        y = F.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v, is_causal=True)
        y = y.transpose(1, 2).reshape(3, 6, 8)
        x = x + apply(y, f"blocks.{i}.attention.out.weight")
        units = {f"added.{name}": mask[..., None] for name, mask in masks.items()}
        units["original"] = torch.ones(())
        written = []
        for part, weight in units.items():
            place = f"blocks.{i}.mlp.{part}"
            if f"{place}.up.weight" in copies:
                h = F.gelu(apply(norm(x), f"{place}.up.weight"), approximate="tanh")
                written.append(apply(h, f"{place}.down.weight") * weight)
        x = x + torch.stack(written).sum(0)
    logits = torch.einsum("btvd,btd->btv", copies["embedding"], norm(x))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def by_hand(model: GPT, table: RouteTable, route: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the gradient of each parameter as the weighted sum over the copies of all tokens."""
    copies = {
        name: parameter.detach().expand(3, 6, *parameter.shape).clone().requires_grad_()
        for name, parameter in model.named_parameters()
    }
    modules = model.module_names
    masks = {name: table(f"{name}_mask", route, 2) for name in modules}
    copies_loss(model, copies, masks).backward()  # type: ignore[no-untyped-call]
    for name, copy in copies.items():
        part = next((each for each in modules if each in name), "original")
        assert copy.grad is not None
        yield name, (copy.grad * table(f"{part}_parameters", route, 4)).sum((0, 1))


WEIGHTED = complete(
    {
        "retain": {"original_parameters": 0.5, "expansion_parameters": -0.25},
        "unlabeled": {"expansion_mask": 0.5},
        "forget": {"original_parameters": -0.75, "expansion_parameters": 2},
    }
)


TWO_MODULES = complete(
    {
        "core": {"forest_mask": 0, "ocean_mask": 0.5},
        "forest": {"original_parameters": 0, "ocean_mask": 0},
        "ocean": {"original_parameters": 0.3, "forest_parameters": 0, "ocean_parameters": 2},
    },
    modules=("forest", "ocean"),
)


@pytest.mark.parametrize(
    ("table", "modules"),
    [
        *((table, ("expansion",)) for table in (PARAMETERS, MODULES, WEIGHTED)),
        (TWO_MODULES, ("forest", "ocean")),
    ],
)
def test_gradients_are_the_weighted_sum_over_tokens(
    table: RouteTable, modules: tuple[str, ...]
) -> None:
    model = random_gpt(replace(EXPANDED, modules=modules), torch.float64)
    route = labels()
    with routing(model, table, route):
        model.loss(*tokens()).backward()  # type: ignore[no-untyped-call]
    for name, expected in by_hand(model, table, route):
        grad = dict(model.named_parameters())[name].grad
        assert grad is not None
        torch.testing.assert_close(grad, expected, atol=1e-7, rtol=1e-6)
        assert expected.abs().max() > 1e-4


def hidden_gradient(table: RouteTable, route: Tensor) -> Tensor:
    """Return the gradient of the original units of the expanded layer, [b, t, f]."""
    model, kept = random_gpt(EXPANDED, torch.float64), list[Tensor]()

    def keep(_module: object, _args: object, y: Tensor) -> None:
        y.retain_grad()
        kept.append(y)

    block = model.blocks[1]
    assert isinstance(block, Block)
    block.mlp.original.up.register_forward_hook(keep)
    with routing(model, table, route):
        model.loss(*tokens()).backward()  # type: ignore[no-untyped-call]
    grad = kept[0].grad
    assert isinstance(grad, Tensor)
    return grad


def test_forget_tokens_scale_the_gradient_of_original_units_by_their_weight() -> None:
    weights = torch.linspace(0, 1, 13, dtype=torch.float64)
    known = labels()
    route = era_routes(tokens()[1], known, weights)
    w = (weights * 64).round()[tokens()[1]] / 64
    factor = torch.where(known == FORGET, w - 0.75 * (1 - w), torch.ones_like(w))
    expected = hidden_gradient(ERA, torch.zeros_like(known)) * factor[..., None]
    torch.testing.assert_close(hidden_gradient(ERA, route), expected, atol=1e-12, rtol=1e-9)
    assert (factor < 0).any()


def test_filtered_tokens_give_no_gradient() -> None:
    model, known = random_gpt(EXPANDED, torch.float64), labels()
    with routing(model, FILTERED, known):
        model.loss(*tokens()).backward()  # type: ignore[no-untyped-call]
    filtered = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    with routing(model, UNROUTED, known):
        losses = model.token_losses(*tokens())
        (losses[known == RETAIN].sum() / losses.numel()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(filtered, [p.grad for p in model.parameters()])


def test_token_weights_match_the_formula_of_the_paper() -> None:
    # Cloud et al. 2024, table 3: frequencies per 10,000 tokens, forget and retain, and the weight
    rows = [(73.1, 18.7, 0.585), (10.3, 3.6, 0.810), (8.4, 4.2, 0.922), (5.1, 7.1, 0.991)]
    rest = [10_000 - sum(row[i] for row in rows) for i in (0, 1)]
    forget = torch.tensor([row[0] for row in rows] + rest[:1])
    retain = torch.tensor([row[1] for row in rows] + rest[1:])
    expected = torch.tensor([row[2] for row in rows], dtype=torch.float64)
    torch.testing.assert_close(token_weights(forget, retain)[:4], expected, atol=0.006, rtol=0)
    typical = token_weights(torch.tensor([99.5, 9900.5]), torch.tensor([0.001, 9999.999]))
    assert typical[0] < 1e-6


def test_pseudo_counts_use_only_labeled_tokens() -> None:
    forget, retain = pseudo_counts(torch.tensor([0, 1, 0, 0]), torch.tensor([0, 1, 1, 0]))
    assert forget.tolist() == [1, 2, 1, 1]
    assert retain.tolist() == [20, 21, 21, 20]


def test_every_table_begins_with_the_labels() -> None:
    for table in TABLES.values():
        assert table.route_names[: len(LABELS)] == LABELS
        assert set(table.target_names) == set(TARGETS)
        row = table.as_dict()["retain"]
        assert row["original"] == row["original_parameters"] == row["loss"] == 1


def test_era_routes_and_counts_refuse_invalid_labels() -> None:
    with pytest.raises(ValueError, match="give each token one label"):
        era_routes(torch.zeros(2, 3), torch.zeros(2, 4), torch.ones(3))
    with pytest.raises(ValueError, match="nothing to count"):
        pseudo_counts(torch.zeros(3).long(), torch.ones(3).long())
