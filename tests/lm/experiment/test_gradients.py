"""Gradient shares: blocked is zero, and the shares of a target sum to one."""

import pytest
import torch

from lm.pretraining import gradient_shares
from lm.training.batches import Batch
from lm.training.route_tables import ERA, FILTERED, MODULES
from tests.lm.models.gpt_factories import EXPANDED, labels, random_gpt, tokens


def test_a_blocked_label_has_no_share_and_the_rest_shares_all() -> None:
    model = random_gpt(EXPANDED)
    by_document = torch.tensor([[0], [1], [2]]).expand(3, EXPANDED.context)
    shares = gradient_shares(model, MODULES, Batch(*tokens(), by_document))
    known = shares["forget"]["expansion_parameters"] + shares["unlabeled"]["expansion_parameters"]
    assert known == pytest.approx(1.0)
    assert shares["forget"]["original_parameters"] == 0.0
    assert shares["retain"] == {"original_parameters": 1.0, "expansion_parameters": 0.0}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_all_weights_of_forget_tokens_count_as_forget() -> None:
    batch = Batch(*tokens(), labels() * 20)  # routes 0, forget_18 and forget_38
    shares = gradient_shares(random_gpt(EXPANDED), ERA, batch)
    assert shares["unlabeled"] == {"original_parameters": 0.0, "expansion_parameters": 0.0}
    assert 0 < shares["forget"]["expansion_parameters"] < 1


def test_a_target_that_nobody_teaches_has_no_shares() -> None:
    everything = torch.full_like(labels(), 2)
    shares = gradient_shares(random_gpt(EXPANDED), FILTERED, Batch(*tokens(), everything))
    assert all(share == 0.0 for row in shares.values() for share in row.values())
