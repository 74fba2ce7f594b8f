"""Models of several modules compute each on the texts that pass through it, as if on all texts.

The reference is the same model whose gates select no rows, so that every module reads every text.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.layers import AddedEmbedding, AddedModules, AddedUnits
from lm.training.batches import Batch
from lm.training.distributed import ScaleConfig, compile_and_checkpoint
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.profiles import profile_table
from lm.training.route_tables import complete
from oversight.routing import Gate, RouteTable, audit, routing
from tests.lm.models.gpt_factories import EXPANDED, random_gpt, tokens

TOPICS = ("forest", "ocean", "city")
SHAPE = replace(EXPANDED, expanded_layers=(0, 1), modules=TOPICS)
TABLE = profile_table(TOPICS)
FRACTIONS = complete(
    {
        "retain": {"forest_mask": 0, "ocean_mask": 0, "city_mask": 0, "original_parameters": 0.5},
        "part": {"forest_mask": 0.25, "ocean_mask": 0, "city_parameters": 0.5, "city": -0.75},
        "still": {"forest_mask": 0.5, "forest_parameters": 0, "original_parameters": -1, "loss": 3},
    },
    TOPICS,
)
"""Weights of all kinds at all kinds of targets of a module."""

ROWS = ["retain", "unlabeled", "forest", "forest+core", "retain+city"]
BATCHES = {
    "labeled": (TABLE, TABLE.routes(ROWS)),
    "topics that do not teach the core": (TABLE, TABLE.routes(["forest", "city"])),
    "one module for all": (TABLE, TABLE.routes(["ocean", "retain+ocean", "ocean+core"])),
    "no module": (TABLE, TABLE.routes(["retain", "retain"])),
    "all modules": (TABLE, TABLE.routes(["unlabeled", "unlabeled"])),
    "fractions": (FRACTIONS, FRACTIONS.routes(["part", "retain", "still", "part"])),
}


def by_token(table: RouteTable, rows: int) -> Tensor:
    """Return random routes that differ by token."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(len(table.route_names), (rows, 6), generator=generator)


CASES = {
    **BATCHES,
    **{f"{name}, tokens": (t, r[:, None].expand(-1, 6)) for name, (t, r) in BATCHES.items()},
    "mixed tokens": (TABLE, by_token(TABLE, 5)),
    "mixed fractions": (FRACTIONS, by_token(FRACTIONS, 5)),
}
EVERY_CASE = pytest.mark.parametrize(("table", "route"), CASES.values(), ids=CASES)


def gates(model: nn.Module) -> list[Gate]:
    return [part for part in model.modules() if isinstance(part, Gate)]


def dense(model: GPT) -> GPT:
    """Return a copy that computes every module on every text."""
    copied = model.copied()
    for gate in gates(copied):
        gate.selects = None
    return copied


def losses_and_gradients(
    model: GPT, table: RouteTable, route: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of each token, and each parameter's gradient; none counts as zero."""
    with routing(model, table, route):
        losses = model.token_losses(*tokens(rows=len(route)))
        losses.sum().backward()  # type: ignore[no-untyped-call]
    found = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }
    return losses.detach(), found


@EVERY_CASE
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_losses_and_gradients_equal_those_of_modules_that_read_every_text(
    table: RouteTable, route: Tensor, dtype: torch.dtype, tolerance: float
) -> None:
    model = random_gpt(SHAPE, dtype)
    losses, found = losses_and_gradients(model, table, route)
    expected_losses, expected = losses_and_gradients(dense(model), table, route)
    torch.testing.assert_close(losses, expected_losses, rtol=tolerance, atol=tolerance)
    scale = max(float(grad.abs().max()) for grad in expected.values())
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, rtol=0, atol=tolerance * scale, msg=name)
        assert torch.equal(found[name] == 0, grad == 0)  # what is blocked is blocked exactly


@EVERY_CASE
def test_gradients_keep_their_bits_when_activations_are_recomputed(
    table: RouteTable, route: Tensor
) -> None:
    model = random_gpt(SHAPE)
    again = model.copied()
    with compile_and_checkpoint(again, ScaleConfig(checkpoint_activations=True)):
        _, recomputed = losses_and_gradients(again, table, route)
    _, kept = losses_and_gradients(model, table, route)
    assert all(torch.equal(recomputed[name], grad) for name, grad in kept.items())


def test_text_of_the_core_has_the_bits_of_a_model_without_modules() -> None:
    model = random_gpt(SHAPE)
    route = TABLE.routes(["retain", "forest", "retain"])
    losses, _ = losses_and_gradients(model, TABLE, route)
    plain, _ = losses_and_gradients(model.profile(), TABLE, route)
    assert torch.equal(losses[[0, 2]], plain[[0, 2]])
    assert (losses[1] != plain[1]).any()


def test_bits_are_those_of_all_texts_when_every_route_passes() -> None:
    table = complete({"retain": {}, "forest": {}}, TOPICS)
    model, route = random_gpt(SHAPE), table.routes(["retain", "forest"])
    losses, found = losses_and_gradients(model, table, route)
    expected_losses, expected = losses_and_gradients(dense(model), table, route)
    assert torch.equal(losses, expected_losses)
    assert all(torch.equal(found[name], grad) for name, grad in expected.items())


def test_all_modules_are_on_without_gradients_and_without_routes() -> None:
    model, (inputs, _) = random_gpt(SHAPE), tokens(rows=2)
    with torch.no_grad():
        expected = dense(model)(inputs)
        assert torch.equal(model(inputs), expected)
        with routing(model, TABLE, TABLE.routes(["retain", "forest"])):
            assert torch.equal(model(inputs), expected)
    with pytest.raises(RuntimeError, match="has no route"):
        model(inputs)


def parts_of(model: GPT, module: str) -> list[AddedUnits | AddedEmbedding]:
    kinds = (AddedUnits, AddedEmbedding)
    return [p for p in model.modules() if isinstance(p, kinds) and p.module == module]


def test_module_reads_only_the_texts_that_pass_through_it() -> None:
    model, read = random_gpt(SHAPE), dict[str, list[int]]()
    for topic in TOPICS:
        for part in parts_of(model, topic):
            part.register_forward_pre_hook(
                lambda part, inputs: read.setdefault(part.module, []).append(len(inputs[0]))
            )
    losses_and_gradients(model, TABLE, TABLE.routes(["forest", "retain", "forest+core", "retain"]))
    assert read == {"forest": [2, 2, 2]}  # the embedding and two layers
    read.clear()
    losses_and_gradients(model, TABLE, TABLE.routes(["retain+ocean", "unlabeled"]))
    assert read == {"forest": [1] * 3, "ocean": [2] * 3, "city": [1] * 3}


@pytest.mark.parametrize("all_take_part", [False, True])
def test_module_without_texts_is_skipped_and_has_gradients_only_on_demand(
    all_take_part: bool,
) -> None:
    model = random_gpt(SHAPE)
    for part in model.modules():
        if isinstance(part, AddedModules):
            part.all_take_part = all_take_part
    with routing(model, TABLE, TABLE.routes(["forest", "retain"])):
        model.loss(*tokens(rows=2)).backward()  # type: ignore[no-untyped-call]
    for parameter in model.parameter_targets()["city_parameters"]:
        assert (parameter.grad is not None) == all_take_part
        assert parameter.grad is None or not parameter.grad.any()
    optimizer = make_optimizer(model, LoopConfig())
    before = [p.clone() for p in model.parameter_targets()["city_parameters"]]
    batch = Batch(*tokens(rows=2), TABLE.routes(["forest", "retain"]))
    _, skipped = update(model, TABLE, batch, optimizer, 1e-2, 1.0)
    assert skipped == ("ocean_parameters", "city_parameters")
    assert all(map(torch.equal, before, model.parameter_targets()["city_parameters"]))


def test_text_does_not_meet_the_infinite_weights_of_a_module_it_does_not_pass_through() -> None:
    model = random_gpt(SHAPE)
    with torch.no_grad():
        for parameter in model.parameter_targets()["city_parameters"]:
            parameter.fill_(math.inf)
    losses, _ = losses_and_gradients(model, TABLE, TABLE.routes(["forest", "retain"]))
    assert losses.isfinite().all()


def test_audit_counts_modules_that_no_text_passes_through_as_zero() -> None:
    model = random_gpt(SHAPE)
    route = TABLE.routes(["forest", "retain"])[:, None].expand(-1, 6)
    with routing(model, TABLE, route):
        losses = model.token_losses(*tokens(rows=2))
        norms = audit(losses, model.parameter_targets(), TABLE, route)
    taught = {(label, part) for label, row in norms.items() for part, norm in row.items() if norm}
    assert taught == {("forest", "forest_parameters"), ("retain", "original_parameters")}


def test_model_of_one_module_computes_all_texts() -> None:
    assert not any(gate.selects for gate in gates(GPT(EXPANDED)))
    assert not any(gate.selects for gate in gates(GPT(SHAPE).profile("city")))
    assert {gate.selects for gate in gates(GPT(SHAPE))} == {
        None,
        "original_parameters",
        *(f"{topic}_mask" for topic in TOPICS),
    }
