"""Generated tokens are those that the logits name."""

import pytest
import torch

from lm.models.language_model import generate
from tests.lm.small import lively, tokens


def test_greedy_tokens_are_the_likeliest_past_the_context_too() -> None:
    model, prompt = lively(), tokens()[0][:, :2]
    text = generate(model, prompt, 7)
    assert text.shape == (3, 9)
    assert torch.equal(text[:, :2], prompt)
    with torch.no_grad():
        for place in range(2, 9):
            logits = model(text[:, max(0, place - 6) : place])[:, -1]
            assert torch.equal(text[:, place], logits.argmax(-1))


def test_drawn_tokens_follow_the_distribution_and_the_seed() -> None:
    model, prompt = lively(), tokens()[0][:1, :3].expand(20_000, 3)
    drawn = generate(model, prompt, 1, temperature=0.7, seed=4)
    assert torch.equal(drawn, generate(model, prompt, 1, temperature=0.7, seed=4))
    shares = torch.bincount(drawn[:, -1], minlength=13) / 20_000
    with torch.no_grad():
        expected = (model(prompt[:1])[0, -1] / 0.7).softmax(-1)
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)


def test_bad_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="one token at least"):
        generate(lively(), torch.zeros(1, 0, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match="temperature from 0 on"):
        generate(lively(), tokens()[0], 1, temperature=-1)
