"""The GPT equals plain references, gates or no gates."""

import math

import pytest
import torch
from torch import Tensor

from lm.models import language_model
from lm.models.gpt import GPT, Block
from lm.models.language_model import IGNORED
from lm.models.layers import SIZES, GPTConfig, rotate, rotations, size
from lm.training.route_tables import ERA, PARAMETERS, UNROUTED
from oversight.routing import RouteTable, routing
from tests.lm.plain import copy_of, pairs, slow_attention
from tests.lm.small import SMALL, labels, lively, tokens

RETAIN = torch.zeros(3, 6, dtype=torch.int64)


def gradients(model: GPT, table: RouteTable, route: Tensor) -> list[Tensor]:
    model.zero_grad()
    with routing(model, table, route):
        model.loss(*tokens()).backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("table", [UNROUTED, ERA, PARAMETERS])
def test_under_weights_of_one_the_model_equals_a_plain_one_bit_for_bit(table: RouteTable) -> None:
    model = lively()
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


def test_no_parameter_lacks_in_the_plain_model() -> None:
    model = lively()
    assert len(pairs(copy_of(model), model)) == len(list(model.parameters()))


def test_attention_equals_loops() -> None:
    layer = lively(dtype=torch.float64).blocks[0]
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
    """Turn [time, heads, features] as complex numbers."""
    half = x.shape[-1] // 2
    turns = [
        [complex(math.cos(a), math.sin(a)) for a in (t / 10_000 ** (i / half) for i in range(half))]
        for t in range(len(x))
    ]
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.tensor(turns)[:, None]
    return torch.cat([turned.real, turned.imag], dim=-1)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    cos, sin = rotations(8, 20)
    q_at = rotate(q.expand(1, 1, 20, 8), (cos, sin))[0, 0]
    k_at = rotate(k.expand(1, 1, 20, 8), (cos, sin))[0, 0]
    torch.testing.assert_close(q_at[3] @ k_at[1], q_at[19] @ k_at[17])
    assert not torch.isclose(q_at[3] @ k_at[1], q_at[3] @ k_at[2])


def test_a_token_changes_nothing_before_it() -> None:
    model, (first, _) = lively(), tokens()
    second = first.clone()
    second[:, 4] = (first[:, 4] + 1) % SMALL.vocab_size
    with torch.no_grad():
        one, other = model(first), model(second)
    assert torch.equal(one[:, :4], other[:, :4])
    assert (one[:, 4:] != other[:, 4:]).any(-1).all()


@pytest.mark.parametrize("table", [UNROUTED, PARAMETERS])
def test_a_loss_in_chunks_is_the_same(table: RouteTable, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively(dtype=torch.float64)
    whole = gradients(model, table, labels())
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", 3 * 13 * 4)  # four of six tokens at a time
    torch.testing.assert_close(gradients(model, table, labels()), whole, atol=1e-12, rtol=1e-12)
    by_row = labels()[:, 0]
    rows = gradients(model, table, by_row)
    by_token = gradients(model, table, by_row[:, None].expand(3, 6))
    torch.testing.assert_close(rows, by_token, atol=1e-12, rtol=1e-12)


def test_the_loss_is_the_mean_over_counted_tokens() -> None:
    model, (inputs, targets) = lively(), tokens()
    with torch.no_grad():
        every = model.token_losses(inputs, targets)
        log_p = model(inputs).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        torch.testing.assert_close(every, -log_p)
        targets = targets.clone()
        targets[:, 2:] = IGNORED
        torch.testing.assert_close(model.loss(inputs, targets), every[:, :2].mean())
        targets[:] = IGNORED
        assert model.loss(inputs, targets) == 0


def test_the_seed_gives_the_weights_and_the_expansion_does_not_change_them() -> None:
    config = GPTConfig(vocab_size=13, width=8, num_heads=2, expansion=2, expanded_layers=(0, 3))
    first, again = GPT(config, seed=3), GPT(config, seed=3)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    plain = GPT(config.plain, seed=3).state_dict()
    assert all(torch.equal(first.state_dict()[name], plain[name]) for name in plain)
    assert not torch.equal(GPT(config, seed=4).embedding, first.embedding)


def test_the_nano_has_a_million_parameters() -> None:
    assert sum(p.numel() for p in GPT(size("nano")).parameters()) == 1_048_576
    assert size("nano", 512).vocab_size == 512
    assert SIZES["tinystories-28m"].width == 512


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even number of features"):
        GPTConfig(width=12, num_heads=4)
    with pytest.raises(ValueError, match="positive number of units"):
        GPTConfig(expansion=2)
    with pytest.raises(ValueError, match="the layers are 0 to 3"):
        GPTConfig(expansion=2, expanded_layers=(4,))
    with pytest.raises(ValueError, match="choose one of nano"):
        size("huge")
    with pytest.raises(ValueError, match="7 tokens were given to a context of 6"):
        lively().features(torch.zeros(1, 7, dtype=torch.int64))
