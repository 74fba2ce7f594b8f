"""The suites of attacks, and quantization."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.attacks.config import GCGConfig, GridConfig, ProbeConfig
from lm.attacks.lora import linear_maps
from lm.attacks.relearning import ATTACKS
from lm.attacks.results import FACTS, LOSS, Row
from lm.attacks.suite import INFERENCE_ATTACKS, SUITES, quantize, quantized, run_inference_attack
from lm.evaluation.exam import ExamConfig, make_exam
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import score
from lm.models.hf import RoutedCausalLM
from tests.lm.attacks.model_factories import random_llama
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import tiny_task
from tests.lm.models.gpt_factories import EXPANDED, random_gpt
from tests.lm.models.hf_factories import plain_model

GRID = GridConfig(
    shots=(0, 2),
    bits=(4, 2),
    probe=ProbeConfig(ridge=1.0, rounds=1),
    gcg=GCGConfig(tokens=1, steps=1, candidates=1, top=1),
)


def test_full_suite_starts_with_relearning_and_lists_every_attack_once() -> None:
    assert SUITES["relearning"] == ("same", "half", "benign")
    assert SUITES["full"] == (*ATTACKS, *INFERENCE_ATTACKS)
    assert SUITES["full"][:3] == SUITES["relearning"]
    assert len(set(SUITES["full"])) == len(SUITES["full"])


@pytest.mark.parametrize("name", INFERENCE_ATTACKS)
def test_inference_attacks_are_deterministic_and_keep_a_hugging_face_model_unchanged(
    name: str,
) -> None:
    task = tiny_task()
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    model = random_llama(task)
    before = weights(model)
    rows = run_inference_attack(model, task, exam, name, GRID, seed=0)
    assert {row.attack for row in rows} == {name}
    assert any(row.figure == FACTS for row in rows)
    assert all(0 <= row.value <= 1 for row in rows if row.figure != LOSS)
    assert rows == run_inference_attack(model, task, exam, name, GRID, seed=0)
    assert same(weights(model), before)


def test_quantized_attack_scores_the_quantized_model_on_the_exam() -> None:
    task = tiny_task()
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    model, section = random_llama(task), exam.sections["forget"]
    rounded = quantized(model, 2)
    assert section.quiz is not None
    assert run_inference_attack(model, task, exam, "quantized", GRID, seed=0)[2:] == [
        Row("quantized", {"bits": 2}, FACTS, score(rounded, section.quiz).choice),
        Row("quantized", {"bits": 2}, LOSS, losses(rounded, section.rows).loss),
    ]


@pytest.mark.parametrize(
    "wrong", [{"shots": ()}, {"shots": (1, 1)}, {"shots": (-1,)}, {"bits": (1,)}, {"bits": (32,)}]
)
def test_grid_config_refuses_invalid_settings(wrong: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="given: give"):
        GridConfig(**wrong)  # type: ignore[arg-type]


def test_run_inference_attack_refuses_an_unknown_name() -> None:
    task = tiny_task()
    exam = make_exam(task, 0, ExamConfig(stories=4, rounds=1))
    with pytest.raises(ValueError, match="choose one of few-shot, probe"):
        run_inference_attack(random_llama(task), task, exam, "hypnosis", GRID, seed=0)


def test_quantize_rounds_to_multiples_of_the_scale_of_each_output() -> None:
    weight = torch.tensor([[3.0, 1.4, -0.6, 0.4], [0.3, -0.16, 0.06, 0.0]])
    expected = torch.tensor([[3.0, 1.0, -1.0, 0.0], [0.3, -0.2, 0.1, 0.0]])
    assert torch.allclose(quantize(weight, bits=3), expected)


@given(
    rows=st.lists(
        st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4), min_size=1, max_size=4
    ),
    bits=st.integers(2, 12),
)
def test_quantize_moves_weights_by_at_most_half_a_scale_and_is_idempotent(
    rows: list[list[float]], bits: int
) -> None:
    weight = torch.tensor(rows, dtype=torch.float64)
    found = quantize(weight, bits)
    largest = weight.abs().amax(1, keepdim=True)
    scale = largest / (2 ** (bits - 1) - 1)
    assert bool(((found - weight).abs() <= scale / 2 * (1 + 1e-9)).all())
    assert torch.allclose(quantize(found, bits), found, rtol=1e-12, atol=0)
    levels = torch.where(scale > 0, found / scale, 0)
    assert torch.allclose(levels, levels.round(), atol=1e-6)
    assert torch.allclose(found.abs().amax(1, keepdim=True), largest, rtol=1e-12)


def test_quantized_copy_changes_only_the_linear_maps_of_blocks() -> None:
    for model in (random_gpt(EXPANDED), RoutedCausalLM(plain_model("llama"))):
        before = weights(model)
        rounded = quantized(model, 4)
        assert same(weights(model), before)
        after = weights(rounded)
        changed = {name for name in after if not torch.equal(after[name], before[name])}
        maps = {id(module.weight) for module in linear_maps(rounded)}
        assert changed == {n for n, p in rounded.named_parameters() if id(p) in maps}
        for mine, theirs in zip(linear_maps(model), linear_maps(rounded), strict=True):
            assert isinstance(mine.weight, torch.Tensor)
            assert isinstance(theirs.weight, torch.Tensor)
            assert torch.equal(theirs.weight, quantize(mine.weight, 4))


def test_quantize_refuses_bits_outside_2_to_16() -> None:
    for bits in (1, 17):
        with pytest.raises(ValueError, match="give 2 to 16"):
            quantize(torch.ones(1, 1), bits)
