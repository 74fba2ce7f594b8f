"""A model with Gates equals the plain one, and each target holds what it says."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.models import language_model
from lm.models.hf import RoutedCausalLM, contract
from lm.models.language_model import IGNORED
from lm.training.route_tables import ERA, PARAMETERS, UNROUTED, complete
from oversight.routing import RouteTable, routing
from tests.lm.hf.small import FAMILIES, expanded_model, plain_model, plain_name, tokens

LABELS = torch.tensor([0, 1, 2, 2, 1, 0])
ROWS = dict(enumerate(("retain", "unlabeled", "forget")))


def gradients(
    model: RoutedCausalLM, table: RouteTable, route: Tensor, rows: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the gradient of the losses' sum over some rows, by the names of the model."""
    chosen = torch.ones(6, dtype=torch.bool) if rows is None else rows
    inputs, targets = (part[chosen] for part in tokens())
    model.zero_grad()
    with routing(model, table, route[chosen]):
        model.token_losses(inputs, targets).sum().backward()  # type: ignore[no-untyped-call]
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


@FAMILIES
@pytest.mark.parametrize("table", [UNROUTED, ERA, PARAMETERS])
def test_under_weights_of_one_the_model_equals_the_plain_one_bit_for_bit(
    family: str, table: RouteTable
) -> None:
    plain, model = plain_model(family), RoutedCausalLM(plain_model(family))
    inputs, targets = tokens()
    with torch.no_grad():
        assert torch.equal(model(inputs), plain(inputs).logits)
    # all weights of these routes are 1, though not of the other routes, so that gates work
    mine = gradients(model, table, torch.ones_like(inputs))
    logits = plain(inputs).logits.flatten(0, 1)
    F.cross_entropy(logits, targets.flatten(), reduction="none").sum().backward()  # type: ignore[no-untyped-call]
    theirs = {name: parameter.grad for name, parameter in plain.named_parameters()}
    assert {plain_name(name) for name in mine} == set(theirs)
    assert all(torch.equal(grad, theirs[plain_name(name)]) for name, grad in mine.items())


@FAMILIES
def test_routing_at_parameters_equals_a_split_by_hand(family: str) -> None:
    model = expanded_model(family, torch.float64)
    without = RoutedCausalLM(contract(model, ablated=True))
    routed = gradients(model, PARAMETERS, LABELS[:, None].expand(6, 5))
    split = {name: gradients(model, UNROUTED, LABELS, LABELS.eq(n)) for n, name in ROWS.items()}
    retain = gradients(without, UNROUTED, LABELS, LABELS == 0)
    retain = {plain_name(name): grad for name, grad in retain.items()}
    for name, grad in routed.items():
        if "expansion" in name:
            expected = split["unlabeled"][name] + split["forget"][name]
        else:
            expected = split["unlabeled"][name] + retain[plain_name(name)]
        torch.testing.assert_close(grad, expected, atol=1e-9, rtol=1e-6)


@FAMILIES
def test_where_parameters_are_blocked_the_gradient_is_zero_and_nowhere_else(family: str) -> None:
    model = expanded_model(family)
    forget = gradients(model, PARAMETERS, torch.full((6, 5), 2))
    retain = gradients(model, PARAMETERS, torch.zeros(6, 5, dtype=torch.int64))
    for name in forget:
        assert bool(forget[name].any()) == ("expansion" in name)
        assert bool(retain[name].any()) == ("expansion" not in name)


# what a blocked target leaves without gradient: layer 1 is expanded, layer 0 is not
READING = ("c_fc.", "gate_proj.", "up_proj.")
MLP_NORM = ("ln_2.", "post_attention_layernorm.")
BELOW = {
    "hidden": (".0.", (*READING, *MLP_NORM)),
    "original": (".1.mlp.plain.plain.", READING),
    "expansion": (".expansion.", READING),
    "mlp": ("", (".mlp.", *MLP_NORM)),
    "attention": ("", ("attn.", "ln_1.", "input_layernorm.")),
    "loss": ("", ("",)),
}


@FAMILIES
@pytest.mark.parametrize("target", BELOW)
def test_a_blocked_activation_stops_what_lies_below_it_and_nothing_else(
    family: str, target: str
) -> None:
    table = complete({"blocked": {target: 0}, "open": {}})
    place, parts = BELOW[target]
    found = gradients(expanded_model(family), table, torch.zeros(6, 5, dtype=torch.int64))
    stopped = {name for name, grad in found.items() if not grad.any()}
    assert stopped == {n for n in found if place in n and any(part in n for part in parts)}
    assert stopped


def test_a_loss_in_chunks_and_routes_by_row_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = expanded_model("gpt_neo", torch.float64)
    by_row = gradients(model, PARAMETERS, LABELS)
    by_token = LABELS[:, None].expand(6, 5)
    whole = gradients(model, PARAMETERS, by_token)
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", 6 * 13 * 2)  # two of five tokens at a time
    for other in (by_row, gradients(model, PARAMETERS, by_token)):
        torch.testing.assert_close(other, whole, atol=1e-9, rtol=1e-9)


def test_the_loss_is_the_mean_over_counted_tokens() -> None:
    model, (inputs, targets) = expanded_model("llama"), tokens()
    with torch.no_grad():
        every = model.token_losses(inputs, targets)
        targets = targets.clone()
        targets[:, 2:] = IGNORED
        torch.testing.assert_close(model.loss(inputs, targets), every[:, :2].mean())


@FAMILIES
def test_every_parameter_belongs_to_one_target(family: str) -> None:
    model = expanded_model(family)
    targets = model.parameter_targets()
    parts = [parameter for part in targets.values() for parameter in part]
    assert len(parts) == len(set(parts))
    assert set(parts) == set(model.parameters())
    assert list(targets) == ["original_parameters", "expansion_parameters"]


def test_a_model_without_the_named_layers_is_refused_and_left_alone() -> None:
    plain = plain_model("llama")
    plain.config.model_type = "gpt2"
    before = [name for name, _ in plain.named_modules()]
    with pytest.raises(ValueError, match=r"of type 'gpt2' lacks .* families gpt_neo, llama, qwen2"):
        RoutedCausalLM(plain)
    plain.config.model_type = "gpt_neo"
    with pytest.raises(ValueError, match="lacks the layers"):
        RoutedCausalLM(plain)
    assert [name for name, _ in plain.named_modules()] == before
    with pytest.raises(ValueError, match="give a plain causal model"):
        RoutedCausalLM(expanded_model("llama").causal_lm)


@pytest.mark.parametrize(
    ("units", "layers"), [(-1, [0]), (0, [0]), (3, []), (3, [2]), (3, [0, 0]), (3, [-1])]
)
def test_an_expansion_that_cannot_be_is_refused(units: int, layers: list[int]) -> None:
    with pytest.raises(ValueError, match="layers from 0 to 1, each once"):
        RoutedCausalLM(plain_model("llama"), units, layers)


@pytest.mark.parametrize("bad", [13, -1])
def test_tokens_beyond_the_vocabulary_or_the_context_are_refused(bad: int) -> None:
    model, (inputs, targets) = RoutedCausalLM(plain_model("qwen2")), tokens()
    wrong = copy.deepcopy(inputs)
    wrong[2, 3] = bad
    with torch.no_grad():
        for pair in ((wrong, targets), (inputs, wrong)):
            with pytest.raises(ValueError, match="to a vocabulary of 13: encode"):
                model.loss(*pair)
        with pytest.raises(ValueError, match="17 tokens were given to a context of 16"):
            model(torch.zeros(1, 17, dtype=torch.int64))
