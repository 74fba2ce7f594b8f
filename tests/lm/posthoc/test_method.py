"""Tests of likelihoods, and of the loop of AdamW."""

from math import log

import pytest
import torch
from torch import Tensor

from lm.corpus import Kind
from lm.models.language_model import IGNORED
from lm.posthoc import NPO
from lm.posthoc.method import (
    Likelihoods,
    batches_on,
    descend,
    forget_and_other_batches,
    likelihoods,
)
from lm.training.batches import Batch
from tests.lm.attacks.row_factories import LENGTHS, stories
from tests.lm.models.gpt_factories import SMALL, random_gpt


def test_likelihoods_sum_the_log_probabilities_of_tokens() -> None:
    model, rows = random_gpt(SMALL), stories()
    batch = Batch(rows.inputs, rows.targets, torch.zeros_like(rows.inputs))
    computed = Likelihoods(*(part.detach() for part in likelihoods(model, batch)))
    assert computed.tokens_b.tolist() == list(LENGTHS)
    with torch.no_grad():
        chances = model(rows.inputs).softmax(-1)
    for story, length in enumerate(LENGTHS):
        likely = [float(chances[story, t, rows.targets[story, t]]) for t in range(length)]
        expected = -sum(map(log, likely))
        assert float(computed.nats_b[story]) == pytest.approx(expected, rel=1e-5)
    assert float(computed.mean) == pytest.approx(float(computed.nats_b.sum()) / sum(LENGTHS))


def test_unlearn_refuses_weights_that_are_not_finite_after_the_last_step() -> None:
    model = random_gpt(SMALL)

    def steep(forget: Batch, others: Batch) -> Tensor:
        return (model.down_proj(0) * 0).sqrt().sum()  # 0, with a slope of infinity times 0

    batches = forget_and_other_batches(stories(1), stories(2), 2, 0)
    with pytest.raises(ValueError, match=r"a weight is not finite after 1 steps .* lower"):
        descend(model, steep, batches, NPO(steps=1))


def test_only_tokens_labeled_forget_are_targets_if_single_tokens_are_unlearned() -> None:
    forget, others = stories(1), stories(2)
    forget.kinds[:, 1] = int(Kind.NOUN)  # each story has two tokens or more
    cpu = torch.device("cpu")
    whole, kept = batches_on(cpu, forget_and_other_batches(forget, others, 3, 0), 0)
    single, same = batches_on(cpu, forget_and_other_batches(forget, others, 3, 0, "token"), 0)
    assert all(torch.equal(a, b) for a, b in zip(kept, same, strict=True))
    assert torch.equal(single.inputs, whole.inputs)
    assert torch.equal(single.targets[:, 1], whole.targets[:, 1])
    assert int((single.targets != IGNORED).sum()) == 3
    assert int((whole.targets != IGNORED).sum()) == sum(LENGTHS)
