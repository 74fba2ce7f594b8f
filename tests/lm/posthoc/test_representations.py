"""Tests of RMU and CIR: what they train, steer and project out."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from lm.posthoc import CIR, RMU
from lm.posthoc.representations import (
    Collapse,
    Moments,
    activations,
    alignment,
    project_out,
    random_direction,
    recorded,
)
from tests.lm.attacks.row_factories import same, stories, weights
from tests.lm.models import hf_factories
from tests.lm.models.gpt_factories import SMALL, random_gpt, tokens


def test_rmu_trains_only_down_projections_up_to_its_layer() -> None:
    model = random_gpt(SMALL)
    before = weights(model)
    steered = RMU(layer=0, steps=3).unlearn(model, stories(1), stories(2), 2, seed=0)
    assert same(weights(model), before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in steered.parameters())
    moved = {name for name, value in weights(steered).items() if not value.equal(before[name])}
    assert moved == {"blocks.0.mlp.original.down.weight"}


def test_rmu_steers_forget_activations_and_keeps_others() -> None:
    model, forget, others = random_gpt(SMALL), stories(1), stories(2)
    weak = RMU(layer=1, coefficient=5.0, retain_weight=1.0, steps=60, learning_rate=3e-2)
    target = 5.0 * random_direction(model, 0)

    def distances(steered: LanguageModel) -> tuple[float, float]:
        real = [rows.targets >= 0 for rows in (forget, others)]
        with torch.no_grad():
            away = (steered.residual(forget.inputs, 1) - target)[real[0]].square().mean()
            drift = steered.residual(others.inputs, 1) - model.residual(others.inputs, 1)
        return float(away), float(drift[real[1]].square().mean())

    before, _ = distances(model)
    loose, drifted = distances(weak.unlearn(model, forget, others, 3, seed=0))
    assert loose < before / 2
    strong = replace(weak, retain_weight=1e4)
    assert distances(strong.unlearn(model, forget, others, 3, seed=0))[1] < drifted


def test_random_direction_is_a_unit_vector_without_negative_entries() -> None:
    direction = random_direction(random_gpt(SMALL), 3)
    assert float(direction.norm()) == pytest.approx(1.0)
    assert bool((direction >= 0).all())
    assert not torch.equal(direction, random_direction(random_gpt(SMALL), 4))


def test_rmu_refuses_a_layer_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="layer 2 was given: give a layer below 2"):
        RMU(layer=2).unlearn(random_gpt(SMALL), stories(1), stories(2), 2, 0)
    with pytest.raises(ValueError, match="was given: give"):
        RMU(coefficient=0)


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_what_is_projected_out_is_gone_and_the_rest_stays(seed: int, components: int) -> None:
    basis = torch.linalg.qr(drawn(seed, 5, components)).Q
    vectors = drawn(seed + 1, 7, 5)
    left = project_out(vectors, basis)
    torch.testing.assert_close(left @ basis, torch.zeros(7, components, dtype=torch.float64))
    torch.testing.assert_close(project_out(left, basis), left)
    inside = vectors - left
    torch.testing.assert_close(inside @ basis @ basis.T, inside)


def test_basis_spans_the_mean_and_the_directions_of_most_variance() -> None:
    # around a mean along the first axis, spread most along the second, and less along the third
    vectors = torch.tensor(
        [[9.0, 4, 0, 0], [9.0, -4, 0, 0], [9.0, 0, 2, 0], [9.0, 0, -2, 0]], dtype=torch.float64
    )
    moments = Moments()
    for part in vectors.split([1, 3]):  # type: ignore[no-untyped-call]
        moments.add(part)
    for components in (0, 1, 2):
        basis = moments.basis(components)
        expected = torch.diag(torch.tensor([1.0, components >= 1, components >= 2, 0]).double())
        torch.testing.assert_close(basis @ basis.T, expected)


def test_basis_equals_that_of_a_singular_value_decomposition() -> None:
    vectors = drawn(0, 40, 6) * torch.tensor([5.0, 3, 2, 1, 1, 1]) + drawn(1, 6)
    moments = Moments()
    moments.add(vectors)
    mean = vectors.mean(0)
    first = torch.linalg.svd(vectors - mean).Vh[:2]
    reference = torch.linalg.qr(torch.cat([mean[None], first]).T).Q
    basis = moments.basis(2)
    torch.testing.assert_close(basis @ basis.T, reference @ reference.T)


def test_alignment_counts_what_points_where_the_original_did() -> None:
    original = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert float(alignment(original, original)) == pytest.approx(1.0)
    assert float(alignment(original / 2, original)) == pytest.approx(0.5)
    assert float(alignment(original.flip(-1), original)) == 0.0  # orthogonal
    assert float(alignment(-original, original)) == 0.0


def test_collapsed_gradient_is_the_whole_one_first_and_then_without_the_common_part() -> None:
    collapse = Collapse(components=0)
    read = torch.tensor([[1.0, 2.0], [1.0, -2.0]])  # the mean is along the first axis
    written = torch.tensor([[5.0, 0.0], [5.0, 3.0]])
    torch.testing.assert_close(collapse(read, written), written.T @ read)
    collapse.refresh()
    mean = torch.tensor([5.0, 1.5])
    mean = mean / mean.norm()
    expected = (written - torch.outer(written @ mean, mean)).T @ torch.tensor(
        [[0.0, 2.0], [0.0, -2.0]]
    )
    torch.testing.assert_close(collapse(read, written), expected)


KINDS: dict[str, Callable[[], LanguageModel]] = {
    "gpt": lambda: random_gpt(SMALL),
    **{
        family: lambda family=family: RoutedCausalLM(hf_factories.plain_model(family))  # type: ignore[misc]
        for family in hf_factories.CONFIGS
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_calls_give_the_gradient_of_down_projections(kind: str) -> None:
    model = KINDS[kind]()
    with recorded(model, range(2)) as calls:
        activations(model, tokens()[0], 1).square().sum().backward()  # type: ignore[no-untyped-call]
    assert len(calls) == 2
    for layer, call in enumerate(calls):
        expected, matrix = model.down_proj(layer).grad, model.down_proj(layer)
        assert expected is not None
        found = call.gradient.flatten(0, 1).T @ call.read.flatten(0, 1)
        torch.testing.assert_close(found if found.shape == matrix.shape else found.T, expected)


def change(before: LanguageModel, after: LanguageModel, layers: int) -> float:
    """Return the norm of the change of the down projections."""
    with torch.no_grad():
        return float(
            torch.cat(
                [(after.down_proj(i) - before.down_proj(i)).flatten() for i in range(layers)]
            ).norm()
        )


SHORT = CIR(layers=(0, 1), components=2, refresh=2, steps=3, learning_rate=0.25, retain_weight=9.0)


def test_the_first_step_of_cir_has_the_norm_of_its_learning_rate() -> None:
    model = random_gpt(SMALL)
    collected = replace(SHORT, steps=2).unlearn(model, stories(1), stories(2), 2, 0)
    assert same(weights(collected), weights(model))  # the first steps only collect
    stepped = SHORT.unlearn(model, stories(1), stories(2), 2, 0)
    # the retain loss has its minimum at the original model, and no gradient there
    assert change(model, stepped, layers=2) == pytest.approx(0.25, rel=1e-4)


def test_cir_turns_outputs_away_and_keeps_others() -> None:
    model, forget, others = random_gpt(SMALL), stories(1), stories(2)
    weak = replace(SHORT, components=0, steps=40, learning_rate=0.05, retain_weight=1e-3)

    def left(after: LanguageModel) -> tuple[float, float]:
        real = forget.targets >= 0
        with torch.no_grad(), recorded(model, range(2)) as before:
            activations(model, forget.inputs, 1)
        with torch.no_grad(), recorded(after, range(2)) as now:
            activations(after, forget.inputs, 1)
        aligned = [
            alignment(n.written[real], b.written[real]) for n, b in zip(now, before, strict=True)
        ]
        with torch.no_grad():
            drift = activations(after, others.inputs, 1) - activations(model, others.inputs, 1)
        kept = drift[others.targets >= 0].norm(dim=-1).mean()
        return float(torch.stack(aligned).mean()), float(kept)

    aligned, drifted = left(weak.unlearn(model, forget, others, 3, seed=0))
    assert aligned < 0.6 * left(model)[0]
    strong = replace(weak, retain_weight=1.0)
    assert left(strong.unlearn(model, forget, others, 3, seed=0))[1] < drifted / 2


def test_cir_trains_only_down_projections_up_to_its_last_layer() -> None:
    model = random_gpt(SMALL)
    after = replace(SHORT, layers=(0,)).unlearn(model, stories(1), stories(2), 2, 0)
    before = weights(model)
    moved = {name for name, value in weights(after).items() if not value.equal(before[name])}
    assert moved == {"blocks.0.mlp.original.down.weight"}


def test_cir_refuses_layers_and_components_that_do_not_fit() -> None:
    for method, message in (
        (replace(SHORT, layers=(1, 2)), r"--cir.layers \(1, 2\) was given: give layers below 2"),
        (replace(SHORT, layers=()), r"--cir.layers \(\) was given: give layers below 2"),
        (replace(SHORT, components=7), "--cir.components 7 was given: give fewer than 7"),
    ):
        with pytest.raises(ValueError, match=message):
            method.unlearn(random_gpt(SMALL), stories(1), stories(2), 2, 0)
