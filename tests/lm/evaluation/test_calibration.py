"""Calibration: exact solutions of a convex problem."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.data.task import StoryRows
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import CalibrationConfig, calibrate
from lm.models.gpt import GPT
from tests.lm.evaluation import Scripted, random_model, tiny_task, uniform

TASK = tiny_task()
ROWS = TASK.sample(24, [8])
FORGET, ADJACENT, RETAIN = (ROWS.take(ROWS.topics == topic) for topic in range(3))
LONG = CalibrationConfig(learning_rate=0.2, batch_tokens=100_000)


def frequencies(rows: StoryRows) -> Tensor:
    counts = torch.bincount(rows.targets[rows.kinds >= 0], minlength=TASK.vocab_size)
    return counts.double() / counts.sum()


@torch.no_grad()
def predicted(model: GPT, rows: StoryRows, bias: Tensor) -> Tensor:
    """Return the mean probability of each token."""
    shares = torch.softmax(model(rows.inputs) + bias, -1)
    return shares[rows.kinds >= 0].double().mean(0)


def objective(model: GPT, bias: Tensor, weight: float = 100.0) -> float:
    parts = [losses(model, rows, bias).loss for rows in (FORGET, RETAIN, ADJACENT)]
    return (parts[0] + weight * sum(parts[1:])) / (1 + 2 * weight)


@pytest.mark.parametrize("weight", [0.0, 1.0, 100.0])
def test_without_features_it_finds_how_often_tokens_occur(weight: float) -> None:
    model = GPT(uniform(TASK.vocab_size).config)
    with torch.no_grad():
        model.embedding.zero_()
    bias = calibrate(model, FORGET, RETAIN, ADJACENT, replace(LONG, retain_weight=weight))
    expected = frequencies(FORGET) + weight * (frequencies(RETAIN) + frequencies(ADJACENT))
    expected /= 1 + 2 * weight
    torch.testing.assert_close(torch.softmax(bias.double(), 0), expected, rtol=0, atol=2e-3)


def test_with_features_words_are_predicted_as_often_as_they_occur() -> None:
    model = random_model(TASK, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bias = calibrate(model, FORGET, RETAIN, config=replace(LONG, retain_weight=3.0))
    found = predicted(model, FORGET, bias) + 3 * predicted(model, RETAIN, bias)
    expected = frequencies(FORGET) + 3 * frequencies(RETAIN)
    torch.testing.assert_close(found / 4, expected / 4, rtol=0, atol=2e-3)
    assert not bias.requires_grad
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_a_word_that_is_only_suppressed_comes_back() -> None:
    rule = torch.randn(TASK.vocab_size, TASK.vocab_size, generator=torch.Generator().manual_seed(1))
    muted = torch.zeros(TASK.vocab_size)
    muted[FORGET.targets[FORGET.kinds >= 0]] = -4
    plain = Scripted(TASK.vocab_size, lambda tokens: rule[tokens])
    shallow = Scripted(TASK.vocab_size, lambda tokens: rule[tokens] + muted)
    assert losses(shallow, FORGET).loss > losses(plain, FORGET).loss + 1
    found = [
        losses(model, FORGET, calibrate(model, FORGET, RETAIN, ADJACENT, LONG)).loss
        for model in (plain, shallow)
    ]
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_by_default_it_is_near_the_best_and_the_same_for_the_same_seed() -> None:
    model = random_model(TASK, torch.float32)
    config = CalibrationConfig(batch_tokens=100)
    assert min(int((rows.kinds >= 0).sum()) for rows in (FORGET, RETAIN, ADJACENT)) > 100
    bias = calibrate(model, FORGET, RETAIN, ADJACENT, config)
    assert bias.equal(calibrate(model, FORGET, RETAIN, ADJACENT, config))
    other = CalibrationConfig(batch_tokens=100, seed=1)
    assert not bias.equal(calibrate(model, FORGET, RETAIN, ADJACENT, other))
    before = objective(model, torch.zeros_like(bias))
    best = objective(model, calibrate(model, FORGET, RETAIN, ADJACENT, LONG))
    assert objective(model, bias) - best < 0.05 * (before - best)


def test_the_loss_is_weighed_by_set_and_not_by_size() -> None:
    model = random_model(TASK, torch.float32)
    twice = FORGET.take(torch.arange(len(FORGET)).repeat(2))
    once, repeated = (calibrate(model, rows, RETAIN, config=LONG) for rows in (FORGET, twice))
    probabilities = [predicted(model, FORGET, bias) for bias in (once, repeated)]
    torch.testing.assert_close(*probabilities, rtol=0, atol=1e-3)


def test_no_step_is_no_bias() -> None:
    bias = calibrate(random_model(TASK), FORGET, RETAIN, config=CalibrationConfig(steps=0))
    assert bias.equal(torch.zeros(TASK.vocab_size))


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(ValueError, match="without stories"):
        calibrate(random_model(TASK), FORGET.take(torch.arange(0)), RETAIN)
    with pytest.raises(ValueError, match="steps -1"):
        CalibrationConfig(steps=-1)
    with pytest.raises(ValueError, match="batch_tokens 0"):
        CalibrationConfig(batch_tokens=0)
    with pytest.raises(ValueError, match="learning_rate 0"):
        CalibrationConfig(learning_rate=0)
    with pytest.raises(ValueError, match="retain_weight -1"):
        CalibrationConfig(retain_weight=-1)
