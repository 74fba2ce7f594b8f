"""Shares of gradients: closed cases, and their measurement while a model trains."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import IGNORED
from lm.models.shapes import AdapterConfig
from lm.training.batches import Batch
from lm.training.distributed import ScaleConfig
from lm.training.gradient_audit import Shares, gradient_norms, gradient_shares
from lm.training.loop import (
    LoopConfig,
    Progress,
    accumulate_gradients,
    learning_rate,
    make_optimizer,
    train,
    update,
)
from lm.training.route_tables import ERA, FILTERED, MODULES, PARAMETERS
from tests.lm.factories import TABLES
from tests.lm.models.gpt_factories import EXPANDED, labels, random_gpt, tokens
from tests.lm.models.hf_factories import plain_model
from tests.lm.training.test_loop import CONFIG, bits, rows
from tests.lm.training.test_loop import same as equal

AUDITED = replace(CONFIG, audit=True, audit_every=5)


def shares_of(model: GPT | RoutedCausalLM, method: str, config: LoopConfig) -> dict[int, Shares]:
    """Train a model, and return the shares of the steps that have some."""
    found: dict[int, Shares] = {}

    def note(progress: Progress) -> None:
        if progress.gradient_shares is not None:
            found[progress.step] = progress.gradient_shares

    train(model, TABLES[method], rows(), config, report=note)
    return found


def test_gradient_shares_are_zero_for_a_blocked_label_and_add_up_to_one() -> None:
    model = random_gpt(EXPANDED)
    by_document = torch.tensor([[0], [1], [2]]).expand(3, EXPANDED.context)
    shares = gradient_shares(model, MODULES, Batch(*tokens(), by_document))
    known = shares["forget"]["expansion_parameters"] + shares["unlabeled"]["expansion_parameters"]
    assert known == pytest.approx(1.0)
    assert shares["forget"]["original_parameters"] == 0.0
    assert shares["retain"] == {"original_parameters": 1.0, "expansion_parameters": 0.0}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradient_shares_count_all_weights_as_forget() -> None:
    batch = Batch(*tokens(), labels() * 20)  # routes 0, forget_18 and forget_38
    shares = gradient_shares(random_gpt(EXPANDED), ERA, batch)
    assert shares["unlabeled"] == {"original_parameters": 0.0, "expansion_parameters": 0.0}
    assert 0 < shares["forget"]["expansion_parameters"] < 1


def test_gradient_shares_are_zero_for_a_target_without_gradient() -> None:
    everything = torch.full_like(labels(), 2)
    shares = gradient_shares(random_gpt(EXPANDED), FILTERED, Batch(*tokens(), everything))
    assert all(share == 0.0 for row in shares.values() for share in row.values())


def test_gradient_norms_are_those_of_separate_backward_passes() -> None:
    model, batch = random_gpt(EXPANDED), Batch(*tokens(), labels())
    norms = gradient_norms(model, PARAMETERS, batch)
    for number, label in enumerate(PARAMETERS.route_names):
        of_label = batch._replace(targets=batch.targets.where(batch.route == number, IGNORED))
        accumulate_gradients(model, PARAMETERS, [of_label], torch.tensor(1))
        for target, part in model.parameter_targets().items():
            grads = [p.grad.flatten() for p in part if p.grad is not None]
            expected = float(torch.cat(grads).norm()) if grads else 0.0
            assert norms[label][target] == pytest.approx(expected, rel=1e-5, abs=1e-9)
        model.zero_grad()


@pytest.mark.parametrize("method", TABLES)
def test_audit_changes_no_weight_no_moment_and_no_random_number(method: str) -> None:
    state = torch.get_rng_state()
    trained = []
    for config in (CONFIG, AUDITED):
        model = GPT(EXPANDED, seed=1)
        trained.append(bits(model, train(model, TABLES[method], rows(), config)))
    assert equal(*trained)
    assert torch.equal(torch.get_rng_state(), state)


def test_audit_changes_no_weight_of_a_pretrained_model_with_adapters() -> None:
    def trained(config: LoopConfig) -> list[Tensor]:
        model = RoutedCausalLM(plain_model("llama"), seed=0, adapters=AdapterConfig(rank=2))
        model.freeze_outside_blocks()
        shares = shares_of(model, "modules", config)
        assert list(shares) == ([0, 5, 10] if config.audit else [])
        return list(model.state_dict().values())

    assert equal(trained(CONFIG), trained(AUDITED))


def test_audited_shares_are_those_of_the_batch_before_its_update() -> None:
    shares = shares_of(GPT(EXPANDED, seed=1), "parameters", AUDITED)
    assert list(shares) == [0, 5, 10]
    model = GPT(EXPANDED, seed=1)
    optimizer = make_optimizer(model, CONFIG)
    for step in range(CONFIG.steps):
        if step in shares:
            assert gradient_shares(model, PARAMETERS, rows()(step)) == shares[step]
        update(model, PARAMETERS, rows()(step), optimizer, learning_rate(step, CONFIG), 1.0)


def test_shares_are_equal_if_activations_are_recomputed() -> None:
    recomputed = replace(AUDITED, scale=ScaleConfig(checkpoint_activations=True))
    one, other = (
        shares_of(GPT(EXPANDED, seed=1), "modules", config) for config in (AUDITED, recomputed)
    )
    assert one == other


def test_audit_is_no_part_of_the_identity_of_a_training() -> None:
    assert AUDITED.identity == CONFIG.identity


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (ScaleConfig(accumulate=2), "--loop.scale.accumulate 2"),
        (ScaleConfig(parallel="ddp"), "--loop.scale.parallel ddp"),
        (ScaleConfig(compile=True), "--loop.scale.compile"),
    ],
)
def test_audit_is_refused_where_no_process_has_a_whole_batch(
    scale: ScaleConfig, words: str
) -> None:
    with pytest.raises(ValueError, match=f"--loop.audit was given with {words}: gradients are"):
        replace(AUDITED, scale=scale)
    with pytest.raises(ValueError, match="audit_every 0 was given: give 1 or more"):
        replace(AUDITED, audit_every=0)
