"""Outputs, gradients by route and the expansion of the compact GPT."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.models import language_model
from lm.models.gpt import GPT, Block, ablate_random
from lm.models.language_model import IGNORED
from lm.models.layers import AddedUnits, rotate, rotations
from lm.models.shapes import SIZES, GPTConfig, size
from lm.training.route_tables import ERA, PARAMETERS, UNROUTED
from oversight.routing import RouteTable, routing
from tests.lm.factories import expanded_copy
from tests.lm.models.gpt_factories import EXPANDED, SMALL, labels, random_gpt, tokens
from tests.lm.models.plain_gpt import copy_of, pairs, slow_attention

RETAIN = torch.zeros(3, 6, dtype=torch.int64)


def gradients(model: GPT, table: RouteTable, route: Tensor) -> list[Tensor]:
    model.zero_grad()
    with routing(model, table, route):
        model.loss(*tokens()).backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("table", [UNROUTED, ERA, PARAMETERS])
def test_routed_model_equals_a_plain_one_when_all_weights_are_one(table: RouteTable) -> None:
    model = random_gpt()
    plain = copy_of(model)
    with torch.no_grad():
        assert torch.equal(model(tokens()[0]), plain(tokens()[0]))
    # all weights of these routes are 1, though not of the other routes, so that gates work
    gradients(model, table, torch.ones_like(RETAIN))
    plain.loss(*tokens()).backward()  # type: ignore[no-untyped-call]
    for mine, theirs in pairs(plain, model):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)


def test_every_parameter_has_a_counterpart_in_the_plain_model() -> None:
    model = random_gpt()
    assert len(pairs(copy_of(model), model)) == len(list(model.parameters()))


def test_attention_matches_a_slow_reference() -> None:
    layer = random_gpt(dtype=torch.float64).blocks[0]
    assert isinstance(layer, Block)
    x = torch.randn(1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation = rotations(4, 6)
    q, k, v = (x[0] @ layer.attention.qkv.weight.T).chunk(3, dim=-1)
    turned = [slow_rotation(part.view(6, 2, 4)) for part in (q, k)]
    heads = [
        slow_attention(turned[0][:, h], turned[1][:, h], v.view(6, 2, 4)[:, h]) for h in range(2)
    ]
    expected = torch.cat(heads, dim=-1) @ layer.attention.out.weight.T
    with torch.no_grad():
        torch.testing.assert_close(layer.attention(x, rotation)[0], expected, atol=1e-6, rtol=1e-6)


def slow_rotation(x: Tensor) -> Tensor:
    """Rotate [time, heads, features] by multiplying complex numbers."""
    half = x.shape[-1] // 2
    turns = [
        [complex(math.cos(a), math.sin(a)) for a in (t / 10_000 ** (i / half) for i in range(half))]
        for t in range(len(x))
    ]
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.tensor(turns)[:, None]
    return torch.cat([turned.real, turned.imag], dim=-1)


def test_rotated_dot_products_depend_only_on_the_distance() -> None:
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    cos, sin = rotations(8, 20)
    q_at = rotate(q.expand(1, 1, 20, 8), (cos, sin))[0, 0]
    k_at = rotate(k.expand(1, 1, 20, 8), (cos, sin))[0, 0]
    torch.testing.assert_close(q_at[3] @ k_at[1], q_at[19] @ k_at[17])
    assert not torch.isclose(q_at[3] @ k_at[1], q_at[3] @ k_at[2])


def test_attention_is_causal() -> None:
    model, (first, _) = random_gpt(), tokens()
    second = first.clone()
    second[:, 4] = (first[:, 4] + 1) % SMALL.vocab_size
    with torch.no_grad():
        one, other = model(first), model(second)
    assert torch.equal(one[:, :4], other[:, :4])
    assert (one[:, 4:] != other[:, 4:]).any(-1).all()


@pytest.mark.parametrize("table", [UNROUTED, PARAMETERS])
def test_loss_does_not_depend_on_chunking(
    table: RouteTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_gpt(dtype=torch.float64)
    whole = gradients(model, table, labels())
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", 3 * 13 * 4)  # four of six tokens at a time
    torch.testing.assert_close(gradients(model, table, labels()), whole, atol=1e-12, rtol=1e-12)
    by_row = labels()[:, 0]
    rows = gradients(model, table, by_row)
    by_token = gradients(model, table, by_row[:, None].expand(3, 6))
    torch.testing.assert_close(rows, by_token, atol=1e-12, rtol=1e-12)


def test_loss_is_the_mean_over_tokens_that_are_not_ignored() -> None:
    model, (inputs, targets) = random_gpt(), tokens()
    with torch.no_grad():
        every = model.token_losses(inputs, targets)
        log_p = model(inputs).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        torch.testing.assert_close(every, -log_p)
        targets = targets.clone()
        targets[:, 2:] = IGNORED
        torch.testing.assert_close(model.loss(inputs, targets), every[:, :2].mean())
        targets[:] = IGNORED
        assert model.loss(inputs, targets) == 0


def test_initial_weights_depend_on_the_seed_and_not_on_the_expansion() -> None:
    config = GPTConfig(vocab_size=13, width=8, num_heads=2, expansion=2, expanded_layers=(0, 3))
    first, again = GPT(config, seed=3), GPT(config, seed=3)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    plain = GPT(config.plain, seed=3).state_dict()
    assert all(torch.equal(first.state_dict()[name], plain[name]) for name in plain)
    assert not torch.equal(GPT(config, seed=4).embedding, first.embedding)


def test_nano_model_has_a_million_parameters() -> None:
    assert sum(p.numel() for p in GPT(size("nano")).parameters()) == 1_048_576
    assert size("nano", 512).vocab_size == 512
    assert SIZES["tinystories-28m"].width == 512


def test_config_refuses_invalid_sizes() -> None:
    with pytest.raises(ValueError, match="even number of features"):
        GPTConfig(width=12, num_heads=4)
    with pytest.raises(ValueError, match="positive number of units"):
        GPTConfig(expansion=2)
    with pytest.raises(ValueError, match="layers from 0 to 3"):
        GPTConfig(expansion=2, expanded_layers=(4,))
    with pytest.raises(ValueError, match="choose one of nano"):
        size("huge")
    with pytest.raises(ValueError, match="7 tokens were given to a context of 6"):
        random_gpt().features(torch.zeros(1, 7, dtype=torch.int64))


CONFIG = GPTConfig(vocab_size=13, width=8, num_layers=4, num_heads=2, context=6)


def logits(model: GPT) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(tokens()[0])
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_keep_their_bits_when_untrained_units_are_added_or_ablated(
    dtype: torch.dtype,
) -> None:
    model = random_gpt(CONFIG, dtype)
    expanded = expanded_copy(model, 5, [0, 2])
    back = expanded.ablated()
    assert torch.equal(logits(expanded), logits(model))
    assert torch.equal(logits(back), logits(model))
    assert back.config == model.config
    assert back.embedding.dtype == dtype
    assert back.embedding.data_ptr() != model.embedding.data_ptr()


def test_only_chosen_layers_get_trainable_units() -> None:
    expanded = expanded_copy(random_gpt(CONFIG), 5, [0, 2])
    blocks = [block for block in expanded.blocks if isinstance(block, Block)]
    added = [list(block.mlp.added.values()) for block in blocks]
    assert [len(units) for units in added] == [1, 0, 1, 0]
    assert isinstance(added[0][0], AddedUnits)
    assert added[0][0].up.weight.shape == (5, 8)
    assert added[0][0].up.weight.std() > 0.01
    assert [block.mlp.original.gate.targets for block in blocks] == [
        ("original",),
        ("hidden",),
        ("original",),
        ("hidden",),
    ]


def test_ablation_removes_only_the_output_of_the_expansion() -> None:
    trained = random_gpt(EXPANDED)
    left = trained.ablated()
    assert not torch.equal(logits(left), logits(trained))
    with torch.no_grad():
        for parameter in trained.parameter_targets()["expansion_parameters"]:
            parameter.zero_()
    assert torch.equal(logits(left), logits(trained))


PROFILED = replace(EXPANDED, modules=("forest", "ocean", "city"))


def without(model: GPT, *names: str) -> GPT:
    """Return a copy of a model in which all that some modules write is zero."""
    silent = model.copied()
    with torch.no_grad():
        for name in names:
            for parameter in silent.parameter_targets()[f"{name}_parameters"]:
                parameter.zero_()
    return silent


@pytest.mark.parametrize("kept", [(), ("ocean",), ("city", "forest"), PROFILED.modules])
def test_profile_equals_a_model_whose_other_modules_write_nothing(kept: tuple[str, ...]) -> None:
    model = random_gpt(PROFILED, torch.float64)
    served = model.profile(*kept)
    others = set(PROFILED.modules) - set(kept)
    torch.testing.assert_close(logits(served), logits(without(model, *others)))
    assert set(served.module_names) == set(kept)
    assert served.config == (replace(PROFILED, modules=served.module_names) if kept else SMALL)
    of_served = dict(served.named_parameters())
    assert not any(name in part for name in others for part in of_served)
    assert all(torch.equal(p, model.state_dict()[name]) for name, p in of_served.items())


def test_profile_of_a_profile_is_a_profile() -> None:
    model = random_gpt(PROFILED)
    again = model.profile("forest", "city").profile("city")
    assert torch.equal(logits(again), logits(model.profile("city")))


def test_weights_scale_what_a_module_writes_from_nothing_to_all() -> None:
    model = random_gpt(PROFILED, torch.float64)
    half = model.profile("ocean", weights={"ocean": 0.5})
    by_hand = model.profile("ocean")
    with torch.no_grad():
        for name, parameter in by_hand.named_parameters():
            if "ocean" in name and "up" not in name:
                parameter.mul_(0.5)
    assert torch.equal(logits(half), logits(by_hand))
    off = model.profile("ocean", weights={"ocean": 0})
    assert torch.equal(logits(off), logits(model.profile()))
    on = model.profile("ocean", weights={"ocean": 1})
    assert torch.equal(logits(on), logits(model.profile("ocean")))


@pytest.mark.parametrize(
    ("names", "weights", "message"),
    [
        (["lake"], {}, "name modules of the model, each once: forest, ocean, city"),
        (["ocean", "ocean"], {}, "each once"),
        (["ocean"], {"forest": 0.5}, "give each module of the profile a weight from 0 to 1"),
        (["ocean"], {"ocean": 1.5}, "a weight from 0 to 1"),
    ],
)
def test_impossible_profiles_are_refused(
    names: list[str], weights: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        random_gpt(PROFILED).profile(*names, weights=weights)


@pytest.mark.parametrize(
    "modules", [(), ("a", "a"), ("loss",), ("a", "a_mask"), ("a.b",), ("pop",)]
)
def test_modules_without_usable_names_are_refused(modules: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give each module a name of its own"):
        replace(EXPANDED, modules=modules)


def test_first_weights_do_not_depend_on_the_names_of_modules() -> None:
    one = GPT(EXPANDED, seed=5).state_dict()
    other = GPT(replace(EXPANDED, modules=("forest",)), seed=5).state_dict()
    assert all(torch.equal(one[name.replace("forest", "expansion")], other[name]) for name in other)


def test_every_parameter_belongs_to_one_target() -> None:
    model = random_gpt(EXPANDED)
    parts = [parameter for part in model.parameter_targets().values() for parameter in part]
    assert len(parts) == len(set(parts))
    assert set(parts) == set(model.parameters())
    assert list(random_gpt().parameter_targets()) == ["original_parameters"]


def test_ablate_random_zeroes_only_the_drawn_units() -> None:
    model = random_gpt(EXPANDED)
    left = ablate_random(model, 4, [1], seed=3)
    before, after = model.state_dict(), left.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["blocks.1.mlp.original.down.weight"]
    gone = (after[changed[0]] == 0).all(0)
    assert int(gone.sum()) == 4
    assert torch.equal(after[changed[0]][:, ~gone], before[changed[0]][:, ~gone])
    assert torch.equal(after[changed[0]], ablate_random(model, 4, [1], 3).state_dict()[changed[0]])


def test_expansion_and_ablation_refuse_invalid_layers_and_units() -> None:
    model = random_gpt(SMALL)
    with pytest.raises(ValueError, match="no expansion to ablate"):
        model.ablated()
    with pytest.raises(ValueError, match="layers from 0 to 1, each once"):
        expanded_copy(model, 1, [2])
    with pytest.raises(ValueError, match="32 units in each of the layers 0 to 1"):
        ablate_random(model, 33, [0])
