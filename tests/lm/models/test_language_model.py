"""The interface of language models, the memory of their loss, and generation."""

import pytest
import torch
from torch import Tensor

from lm.models import language_model
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel, generate
from tests.benchmarks.cross_entropy import losses
from tests.lm.models import hf_factories
from tests.lm.models.gpt_factories import SMALL, random_gpt, tokens
from tests.lm.models.live_memory import LiveBytes


def models() -> list[LanguageModel]:
    """Return a small GPT and a tiny model of each Hugging Face family."""
    families = map(hf_factories.plain_model, hf_factories.CONFIGS)
    return [random_gpt(SMALL), *map(RoutedCausalLM, families)]


@pytest.mark.parametrize("model", models(), ids=["gpt", *hf_factories.CONFIGS])
def test_head_reads_the_normed_residual_stream_of_the_last_layer(model: LanguageModel) -> None:
    read, last = tokens()[0], len(model.layers()) - 1
    with torch.no_grad():
        left = model.residual(read, last)
        assert torch.equal(model.normed(left), model.features(read))
        assert torch.equal(model.logits(model.normed(left)), model(read))
        assert not torch.equal(model.residual(read, 0), left)
        assert model(read).shape == (*read.shape, model.vocab_size)
    assert left.shape == (*read.shape, model.width)
    assert not any(layer._forward_hooks for layer in model.layers())


@pytest.mark.parametrize("model", models(), ids=["gpt", *hf_factories.CONFIGS])
def test_down_proj_is_the_output_matrix_of_its_layer(model: LanguageModel) -> None:
    read = tokens()[0]
    with torch.no_grad():
        before = [model.residual(read, layer) for layer in (0, 1)]
        model.down_proj(1).mul_(2)
        after = [model.residual(read, layer) for layer in (0, 1)]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert model.width in model.down_proj(1).shape


@pytest.mark.parametrize("model", models(), ids=["gpt", *hf_factories.CONFIGS])
def test_copy_shares_no_weights_and_has_no_frozen_parameters(model: LanguageModel) -> None:
    read = tokens()[0]
    with torch.no_grad():
        before = model(read)
    copied = model.requires_grad_(False).copied()
    assert all(parameter.requires_grad for parameter in copied.parameters())
    with torch.no_grad():
        assert torch.equal(copied(read), before)
        for parameter in copied.parameters():
            parameter.zero_()
        assert torch.equal(model(read), before)


def test_residual_refuses_an_unknown_layer() -> None:
    with pytest.raises(ValueError, match="layer 2 was asked for: give one from 0 to 1"):
        random_gpt(SMALL).residual(tokens()[0], 2)


BYTES = 4


def work(way: str, tokens: int, vocab_size: int, width: int) -> tuple[int, list[Tensor]]:
    """Return the peak memory of a forward and a backward pass in bytes, and both gradients."""
    generator = torch.Generator().manual_seed(0)
    x_btd = torch.randn(4, tokens // 4, width, generator=generator).requires_grad_()
    head_vd = torch.randn(vocab_size, width, generator=generator).requires_grad_()
    next_bt = torch.randint(vocab_size, (4, tokens // 4), generator=generator)
    with LiveBytes() as live:
        losses(way, x_btd, head_vd, next_bt).mean().backward()  # type: ignore[no-untyped-call]
    assert x_btd.grad is not None
    assert head_vd.grad is not None
    return live.peak, [x_btd.grad, head_vd.grad]


def require_a_quarter(tokens: int, vocab_size: int, width: int, piece: int) -> None:
    """Require the expected memory peaks, a quarter or less for chunks, and equal gradients."""
    plain, grads = work("plain", tokens, vocab_size, width)
    pieces, same = work("pieces", tokens, vocab_size, width)
    # logits, their gradient, and the logarithms of the shares
    assert plain == pytest.approx(3 * BYTES * tokens * vocab_size, rel=0.02)
    head = BYTES * vocab_size * width
    assert pieces == pytest.approx(3 * BYTES * piece * vocab_size + head, rel=0.02)
    assert pieces <= plain / 4
    for one, other in zip(grads, same, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_chunked_loss_needs_at_most_a_quarter_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a hundredth of the vocabulary of Qwen 2.5, and of the logits of a piece
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", language_model.CHUNK_LOGITS // 100)
    require_a_quarter(tokens=1024, vocab_size=1519, width=4, piece=108)


@pytest.mark.slow
def test_chunked_loss_saves_memory_with_the_vocabulary_of_qwen() -> None:
    require_a_quarter(tokens=1024, vocab_size=151_936, width=64, piece=108)


def test_live_memory_counts_bytes_until_tensors_are_freed() -> None:
    with LiveBytes() as live:
        one = torch.ones(100)
        half = one[:50]
        two = one + one
        assert live.now == 800
        del one, two
        assert (live.now, live.peak) == (400, 800)
        del half
    assert (live.now, live.peak) == (0, 800)


def test_greedy_generation_takes_the_likeliest_token_when_the_text_exceeds_the_context() -> None:
    model, prompt = random_gpt(), tokens()[0][:, :2]
    text = generate(model, prompt, 7)
    assert text.shape == (3, 9)
    assert torch.equal(text[:, :2], prompt)
    with torch.no_grad():
        for place in range(2, 9):
            logits = model(text[:, max(0, place - 6) : place])[:, -1]
            assert torch.equal(text[:, place], logits.argmax(-1))


def test_sampled_tokens_follow_the_distribution_and_depend_on_the_seed() -> None:
    model, prompt = random_gpt(), tokens()[0][:1, :3].expand(20_000, 3)
    drawn = generate(model, prompt, 1, temperature=0.7, seed=4)
    assert torch.equal(drawn, generate(model, prompt, 1, temperature=0.7, seed=4))
    shares = torch.bincount(drawn[:, -1], minlength=13) / 20_000
    with torch.no_grad():
        expected = (model(prompt[:1])[0, -1] / 0.7).softmax(-1)
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)


def test_generate_refuses_empty_prompts_and_negative_temperatures() -> None:
    with pytest.raises(ValueError, match="one token at least"):
        generate(random_gpt(), torch.zeros(1, 0, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match="temperature from 0 on"):
        generate(random_gpt(), tokens()[0], 1, temperature=-1)
