"""Unlabeled texts get the topic of the module that explains them best, by a model's losses."""

from dataclasses import replace

import pytest
import torch

from lm.models.gpt import GPT
from lm.training.assignment import AssignedBatches, AssignmentConfig, advantages
from lm.training.batches import Batch, Rows
from lm.training.profiles import profile_table
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from tests.lm.factories import TensorRows
from tests.lm.models.gpt_factories import EXPANDED, random_gpt, tokens

TOPICS = ("forest", "ocean")
TABLE = profile_table(TOPICS)
PROFILED = replace(EXPANDED, modules=TOPICS)
MIXED = torch.tensor([RETAIN, UNLABELED, FORGET, FORGET + 1, UNLABELED, UNLABELED, RETAIN, FORGET])


def batches() -> Rows:
    """Return batches of random tokens with the routes of `MIXED`."""
    generator = torch.Generator().manual_seed(0)
    read = torch.randint(13, (8, 7), generator=generator)
    return Rows(TensorRows(read, MIXED[:, None].expand(8, 6)), batch_size=8)


def assigned(model: GPT, **settings: float) -> AssignedBatches:
    """Return batches whose unlabeled texts a model labels."""
    config = AssignmentConfig(**settings)  # type: ignore[arg-type]
    return AssignedBatches(batches(), model, TABLE, config)


def test_advantages_are_differences_of_the_losses_of_profiles() -> None:
    model = random_gpt(PROFILED, torch.float64)
    inputs, targets = tokens()
    found = advantages(model, TABLE, Batch(inputs, targets, torch.zeros_like(inputs)))
    with torch.no_grad():
        core = model.profile().token_losses(inputs, targets).sum(1)
        alone = [model.profile(name).token_losses(inputs, targets).sum(1) for name in TOPICS]
    torch.testing.assert_close(found, torch.stack([core - each for each in alone], dim=1))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_unlabeled_texts_change_and_the_best_module_takes_them() -> None:
    model = random_gpt(PROFILED)
    given, batch = batches()(0), assigned(model, threshold=0, tokens=6)(0)
    gains = advantages(model, TABLE, given)
    for row, before in enumerate(given.route[:, 0].tolist()):
        best = gains[row].max()
        taken = FORGET + int(gains[row].argmax()) if best > 0 else RETAIN
        assert batch.route[row].tolist() == [taken if before == UNLABELED else before] * 6
    assert torch.equal(batch.inputs, given.inputs)


def test_a_filter_gets_one_label_for_all_topics() -> None:
    model, config = random_gpt(PROFILED), AssignmentConfig(threshold=0, tokens=6)
    topical = AssignedBatches(batches(), model, TABLE, config)(0).route
    plain = AssignedBatches(batches(), model, TABLE, config, topics=False)(0).route
    unlabeled = batches()(0).route == UNLABELED
    assert torch.equal(plain[unlabeled], topical[unlabeled].clamp(max=FORGET))
    assert (topical[unlabeled] > FORGET).any()


def test_texts_that_no_module_takes_count_as_labeled_retain() -> None:
    model = random_gpt(PROFILED)
    given = batches()(0).route
    found = assigned(model, threshold=1e6)(0).route
    assert torch.equal(found, torch.where(given == UNLABELED, RETAIN, given))


def test_only_the_first_tokens_decide() -> None:
    model = random_gpt(PROFILED)
    given = batches()(0)
    few = Batch(*(part[:, :2] for part in given))
    best, module = advantages(model, TABLE, few).max(1)
    expected = torch.where(best > 0, FORGET + module, RETAIN)
    found = assigned(model, threshold=0, tokens=2)(0).route[:, 0]
    unlabeled = given.route[:, 0] == UNLABELED
    assert torch.equal(found[unlabeled], expected[unlabeled])


def test_settings_are_part_of_the_digest() -> None:
    model = random_gpt(PROFILED)
    digests = {assigned(model, threshold=value).digest for value in (0, 1, 2)}
    assert len(digests | {batches().digest}) == 4


@pytest.mark.parametrize(
    "given", [{"share": -0.5}, {"share": 1.5}, {"tokens": 0}, {"threshold": -0.5}]
)
def test_settings_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="was given"):
        AssignmentConfig(**given)  # type: ignore[arg-type]
