"""Outputs, gradients by route and plain exports of each Hugging Face family."""

import copy
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.models import language_model
from lm.models.files import load, save
from lm.models.hf import RoutedCausalLM, contract
from lm.models.hf_layers import drawn_units
from lm.models.hf_loading import load_pretrained
from lm.models.language_model import IGNORED, generate
from lm.models.shapes import AdapterConfig
from lm.training.distributed import ScaleConfig, compile_and_checkpoint
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.route_tables import ERA, FORGET, PARAMETERS, REVERSED, UNROUTED, complete
from oversight.routing import RouteTable, routing
from tests.lm.models.hf_factories import (
    CONFIGS,
    FAMILIES,
    adapted_model,
    expanded_model,
    plain_model,
    plain_name,
    tokens,
    transformers,
)
from tests.lm.models.unknown_family import UnknownConfig
from tests.lm.training.test_loop import rows

LABELS = torch.tensor([0, 1, 2, 2, 1, 0])
ROWS = dict(enumerate(("retain", "unlabeled", "forget")))


def gradients(
    model: RoutedCausalLM, table: RouteTable, route: Tensor, rows: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the gradients of the summed loss of some rows by parameter name."""
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
def test_routed_model_equals_the_plain_one_when_all_weights_are_one(
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
    # GPT-2 holds matrices transposed, so that their gradients are added up in another order
    same = partial(torch.allclose, atol=1e-6) if family == "gpt2" else torch.equal
    assert all(same(grad, theirs[plain_name(name)]) for name, grad in mine.items())


@FAMILIES
def test_routing_at_parameters_equals_a_split_by_hand(family: str) -> None:
    model = expanded_model(family, torch.float64)
    without = RoutedCausalLM(contract(model, ()))
    routed = gradients(model, PARAMETERS, LABELS[:, None].expand(6, 5))
    split = {name: gradients(model, UNROUTED, LABELS, LABELS.eq(n)) for n, name in ROWS.items()}
    retain = gradients(without, UNROUTED, LABELS, LABELS == 0)
    retain = {plain_name(name): grad for name, grad in retain.items()}
    for name, grad in routed.items():
        if "expansion" in name:
            expected = split["unlabeled"][name] + split["forget"][name]
        else:
            expected = split["unlabeled"][name] + retain[plain_name(name)]
        # some norms compute in float32 whatever they are given
        bounds = (1e-6, 1e-4) if family in ("gemma3_text", "cohere") else (1e-9, 1e-6)
        torch.testing.assert_close(grad, expected, atol=bounds[0], rtol=bounds[1])


@FAMILIES
def test_gradient_is_zero_exactly_where_parameters_are_blocked(family: str) -> None:
    model = expanded_model(family)
    forget = gradients(model, PARAMETERS, torch.full((6, 5), 2))
    retain = gradients(model, PARAMETERS, torch.zeros(6, 5, dtype=torch.int64))
    for name in forget:
        assert bool(forget[name].any()) == ("expansion" in name)
        assert bool(retain[name].any()) == ("expansion" not in name)


# the norms that only the MLP reads, and those that only attention reads
READ_BY = {
    "gpt2": ("ln_2.", "ln_1."),
    "gpt_neo": ("ln_2.", "ln_1."),
    "gemma3_text": ("pre_feedforward_layernorm.", "input_layernorm."),
    **dict.fromkeys(("olmo2", UnknownConfig.model_type), ("none", "none")),  # norms come after
    **dict.fromkeys(("stablelm", "cohere"), ("none", "none")),  # both read the same norm
}
LLAMA_NORMS = "post_attention_layernorm.", "input_layernorm."


def below(model: RoutedCausalLM, target: str) -> set[str]:
    """Return the names of the parameters below a target: layer 1 is expanded, layer 0 is not."""
    found, family = model.architecture, model.causal_lm.config.model_type
    first, mlp = f".{found.layers}.0.", f".{found.mlp}."
    attention = f".{found.attention_output.split('.')[0]}."
    of_mlp, of_attention = READ_BY.get(family, LLAMA_NORMS)

    def is_below(name: str) -> bool:
        reads = any(f".{up}." in name for up in found.up_projs)
        return {
            "hidden": first in name and ((mlp in name and reads) or of_mlp in name),
            "original": f".1{mlp}plain." in name and reads,
            "expansion": ".expansion." in name and reads,
            "mlp": mlp in name or of_mlp in name,
            "attention": attention in name or of_attention in name,
            "loss": True,
        }[target]

    return {name for name, _ in model.named_parameters() if is_below(name)}


@FAMILIES
@pytest.mark.parametrize("target", ["hidden", "original", "expansion", "mlp", "attention", "loss"])
def test_blocked_activation_stops_only_the_gradients_below_it(family: str, target: str) -> None:
    table = complete({"blocked": {target: 0}, "open": {}})
    model = expanded_model(family)
    found = gradients(model, table, torch.zeros(6, 5, dtype=torch.int64))
    stopped = {name for name, grad in found.items() if not grad.any()}
    assert stopped == below(model, target)
    assert stopped


def test_gradients_stay_equal_when_the_loss_is_chunked_or_routes_are_given_by_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = expanded_model("gpt_neo", torch.float64)
    by_row = gradients(model, PARAMETERS, LABELS)
    by_token = LABELS[:, None].expand(6, 5)
    whole = gradients(model, PARAMETERS, by_token)
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", 6 * 13 * 2)  # two of five tokens at a time
    for other in (by_row, gradients(model, PARAMETERS, by_token)):
        torch.testing.assert_close(other, whole, atol=1e-9, rtol=1e-9)


def test_loss_is_the_mean_over_tokens_that_are_not_ignored() -> None:
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


@pytest.mark.parametrize(
    ("units", "layers"), [(-1, [0]), (0, [0]), (3, []), (3, [2]), (3, [0, 0]), (3, [-1])]
)
def test_invalid_expansion_is_refused(units: int, layers: list[int]) -> None:
    with pytest.raises(ValueError, match="layers from 0 to 1, each once"):
        RoutedCausalLM(plain_model("llama"), units, layers)


@pytest.mark.parametrize("bad", [13, -1])
def test_tokens_are_refused_when_they_exceed_the_vocabulary_or_the_context(bad: int) -> None:
    model, (inputs, targets) = RoutedCausalLM(plain_model("qwen2")), tokens()
    wrong = copy.deepcopy(inputs)
    wrong[2, 3] = bad
    with torch.no_grad():
        for pair in ((wrong, targets), (inputs, wrong)):
            with pytest.raises(ValueError, match="to a vocabulary of 13: encode"):
                model.loss(*pair)
        with pytest.raises(ValueError, match="17 tokens were given to a context of 16"):
            model(torch.zeros(1, 17, dtype=torch.int64))


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Return the logits of a routed or plain model."""
    found = model(tokens()[0])
    every: Tensor = found if isinstance(model, RoutedCausalLM) else found.logits
    return every


def weight_of(mlp: nn.Module, name: str) -> Tensor:
    linear = mlp.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear.weight


@FAMILIES
def test_expansion_changes_neither_outputs_nor_the_global_random_state(family: str) -> None:
    plain, before = plain_model(family), torch.get_rng_state()
    expected = logits(plain)
    model = RoutedCausalLM(plain, 5, [0, 1])
    assert torch.equal(logits(model), expected)
    assert torch.equal(torch.get_rng_state(), before)
    added = model.parameter_targets()["expansion_parameters"]
    read = (10 if family == "phi3" else 5, 8)  # Phi-3 fuses two matrices
    assert {tuple(p.shape) for p in added if p.ndim == 2} == {read, (8, 5)}
    # what reads is drawn; what writes, and biases, are zero at first
    assert all(p.any() for p in added if p.shape == read)
    assert not any(p.any() for p in added if p.shape != read)


def test_added_units_have_the_scale_of_the_plain_ones_and_depend_on_the_seed() -> None:
    model, family = plain_model("llama"), RoutedCausalLM(plain_model("llama")).architecture
    mlp = family.blocks(model)[0].get_submodule("mlp")
    first, again, other = (
        drawn_units(mlp, family, 4000, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    for name in family.up_projs:
        weight = weight_of(first, name)
        assert torch.equal(weight, weight_of(again, name))
        assert not torch.equal(weight, weight_of(other, name))
        torch.testing.assert_close(weight.std(), weight_of(mlp, name).std(), rtol=0.02, atol=0)


@FAMILIES
def test_contracted_model_has_equal_logits_when_loaded_by_transformers_alone(
    family: str, tmp_path: Path
) -> None:
    model = expanded_model(family)
    merged = contract(model)
    merged.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is type(merged) is type(plain_model(family))
    hidden = 32 if family in ("gpt_neo", "gpt2") else 12
    assert getattr(loaded.config, model.units_setting) == hidden + 3
    torch.testing.assert_close(logits(merged), logits(model), atol=1e-5, rtol=1e-5)
    assert torch.equal(logits(loaded), logits(merged))
    exact = expanded_model(family, torch.float64)
    torch.testing.assert_close(logits(contract(exact)), logits(exact), atol=1e-6, rtol=1e-6)


@FAMILIES
def test_logits_stay_equal_when_untrained_units_are_added_and_contracted(
    family: str, tmp_path: Path
) -> None:
    plain = plain_model(family)
    expected, names = logits(plain), list(plain.state_dict())
    expanded = RoutedCausalLM(plain, 3, [0])
    for kept in ((), ("expansion",)):
        back = contract(expanded, kept)
        back.save_pretrained(tmp_path / str(len(kept)))
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / str(len(kept)))
        assert list(back.state_dict()) == names
        if not kept:
            assert torch.equal(logits(loaded), expected)
        torch.testing.assert_close(logits(loaded), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(logits(contract(expanded, ())), expected)


@FAMILIES
def test_ablation_removes_only_the_expansion(family: str) -> None:
    model = expanded_model(family)
    optimizer = make_optimizer(model, LoopConfig())
    update(model, ERA, rows()(0), optimizer, 1e-2, 1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left = contract(model, ())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    kept = {plain_name(name): value for name, value in before.items() if "expansion" not in name}
    assert kept.keys() == left.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in left.state_dict().items())
    assert left.config.to_dict() == plain_model(family).config.to_dict()
    assert not torch.equal(logits(left), logits(model))
    with torch.no_grad():
        for parameter in model.parameter_targets()["expansion_parameters"]:
            parameter.zero_()
    assert torch.equal(logits(left), logits(model))


def test_contract_restores_the_plain_model_when_there_is_no_expansion() -> None:
    for family in CONFIGS:
        plain = plain_model(family)
        back = contract(RoutedCausalLM(plain_model(family)))
        assert torch.equal(logits(back), logits(plain))
        assert back.config.to_dict() == plain.config.to_dict()
        assert str(back) == str(plain)


@pytest.mark.parametrize("layers", [[0], [0, 1]])
def test_contracted_model_can_be_expanded_again(layers: list[int]) -> None:
    merged = contract(expanded_model("gpt_neo"))
    expected = logits(merged)
    assert torch.equal(logits(RoutedCausalLM(merged, 2, layers)), expected)


@FAMILIES
@pytest.mark.parametrize("made", [expanded_model, adapted_model])
def test_deployed_model_and_its_plain_export_have_equal_logits(
    family: str, made: Callable[[str], RoutedCausalLM], tmp_path: Path
) -> None:
    deployed = made(family).ablated()
    contract(deployed).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(loaded), logits(deployed))


@FAMILIES
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gates_change_no_logit_whatever_the_attention_and_the_dtype(
    family: str, attention: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    plain = plain_model(family, dtype)
    if family != UnknownConfig.model_type:
        plain.set_attn_implementation(attention)
    expected = logits(plain)
    for settings in ({"units": 3, "layers": [0]}, {"adapters": AdapterConfig(rank=2)}):
        model = RoutedCausalLM(copy.deepcopy(plain), **settings)
        assert logits(model).dtype == dtype
        assert torch.equal(logits(model), expected)
        save(model, tmp_path / "model.safetensors")
        assert torch.equal(logits(load(tmp_path / "model.safetensors")), expected)


@FAMILIES
def test_recomputed_activations_give_equal_gradients(family: str) -> None:
    model, route = expanded_model(family), LABELS[:, None].expand(6, 5)
    expected = gradients(model, PARAMETERS, route)
    with compile_and_checkpoint(model, ScaleConfig(checkpoint_activations=True)):
        found = gradients(model, PARAMETERS, route)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    if not model.causal_lm.supports_gradient_checkpointing:
        return
    for module in model.train().modules():  # that of transformers works in training mode alone
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.causal_lm.activation_checkpointing_enable()
    found = gradients(model, PARAMETERS, route)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_model_trains_without_dropout_after_loading(tmp_path: Path) -> None:
    model = RoutedCausalLM(plain_model("gpt2"))
    assert model.causal_lm.config.resid_pdrop > 0
    save(model, tmp_path / "model.safetensors")
    again, route = load(tmp_path / "model.safetensors"), torch.zeros(6, 5, dtype=torch.int64)
    with routing(again, UNROUTED, route):
        assert torch.equal(again(tokens()[0]), logits(model))


STORY = (
    "Once upon a time, there was a little girl named Lily. She had a red ball that she loved to "
    "play with. One day, the ball rolled into the garden, and Lily ran after it."
)


@pytest.mark.slow
@pytest.mark.skipif("SMOLLM2_GGUF" not in os.environ, reason="SMOLLM2_GGUF gives no file")
def test_real_model_can_be_expanded_routed_and_contracted(tmp_path: Path) -> None:
    path = Path(os.environ["SMOLLM2_GGUF"])
    plain, tokenizer = load_pretrained(path.parent, gguf_file=path.name)
    story = torch.tensor([tokenizer(STORY)["input_ids"]])
    inputs, targets = story[:, :-1], story[:, 1:]
    with torch.no_grad():
        expected = plain(inputs).logits
    model = RoutedCausalLM(plain, 64, [0, 1])
    with routing(model, PARAMETERS, torch.ones_like(inputs)):
        assert torch.equal(model(inputs), expected)
    with routing(model, PARAMETERS, torch.full_like(inputs, 2)):
        loss = model.loss(inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) < 3  # the pretrained model knows stories
    original, expansion = model.parameter_targets().values()
    assert not any(parameter.grad.any() for parameter in original if parameter.grad is not None)
    assert any(parameter.grad.any() for parameter in expansion if parameter.grad is not None)
    contract(model).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs).logits, expected, atol=1e-3, rtol=1e-3)


@FAMILIES
def test_generation_with_keys_and_values_reads_the_same_text(family: str) -> None:
    """Each token is the likeliest after all before it, also beyond the context."""
    model = RoutedCausalLM(plain_model(family, torch.float64))
    prompt = tokens(2)[0][:, :3]
    text = generate(model, prompt, model.context)
    with torch.no_grad():
        for place in range(3, text.shape[1]):
            logits = model(text[:, max(0, place - model.context) : place])[:, -1]
            assert torch.equal(text[:, place], logits.argmax(-1))


@FAMILIES
def test_reversed_tokens_push_what_is_kept_from_where_they_pull_the_adapter(family: str) -> None:
    model = adapted_model(family, torch.float64)
    model.freeze_outside_blocks()
    route = LABELS[:, None].expand_as(tokens()[0])
    forget = route[:, 0] == FORGET
    assert all(".lora_" in name for name, p in model.named_parameters() if p.requires_grad)
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for some in model.parameter_targets().values() for p in some} == trained
    open_ones = gradients(model, UNROUTED, torch.full_like(route, FORGET), forget)
    reversed_ones = gradients(model, REVERSED, route, forget)
    for name, gradient in open_ones.items():
        sign = -1 if ".kept." in name else 1
        torch.testing.assert_close(reversed_ones[name], sign * gradient)
    assert any(gradient.any() for name, gradient in open_ones.items() if ".kept." in name)
    retained = gradients(model, REVERSED, route, route[:, 0] == 0)
    assert not any(g.any() for name, g in retained.items() if ".kept." not in name)
