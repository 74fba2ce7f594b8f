"""Estimates are the closed forms that they claim to be."""

import pytest

from lm.dry_run import (
    PEAK,
    PUBLISHED,
    Spread,
    Work,
    memory,
    operations,
    shape_of,
    tokens_per_second,
)
from lm.models.layers import GPTConfig

SHAPE = shape_of(GPTConfig(vocab_size=1000, width=64, num_layers=3, num_heads=4))
N = 1000 * 64 + 3 * 12 * 64**2
WORK = Work(steps=10, rows=16, context=32)


def test_memory_of_one_gpu() -> None:
    parts = memory(SHAPE, WORK, Spread())
    assert parts.weights == 4 * N + 2 * N
    assert (parts.gradients, parts.optimizer) == (4 * N, 8 * N)
    assert parts.activations == 34 * 16 * 32 * 64 * 3
    assert parts.logits == 12 * 16 * 32 * 1000
    assert parts.total == sum(parts)


def test_data_parallel_gpus_hold_the_weights_and_a_share_of_the_batch() -> None:
    alone, shared = memory(SHAPE, WORK, Spread()), memory(SHAPE, WORK, Spread("ddp", 8))
    assert shared[:3] == alone[:3]
    assert shared.activations * 8 == alone.activations
    assert shared.logits * 8 == alone.logits


def test_sharding_gpus_hold_a_share_of_all() -> None:
    alone, shared = memory(SHAPE, WORK, Spread()), memory(SHAPE, WORK, Spread("fsdp", 8))
    assert shared.gradients * 8 == alone.gradients
    assert shared.optimizer * 8 == alone.optimizer
    gathered = 4 * (1000 * 64 + 2 * 12 * 64**2)
    assert shared.weights == 4 * N // 8 + 2 * N + gathered


def test_pieces_and_computing_again_save_activations() -> None:
    alone, pieces = memory(SHAPE, WORK, Spread()), memory(SHAPE, WORK, Spread(accumulate=4))
    assert pieces.activations * 4 == alone.activations
    again = memory(SHAPE, WORK, Spread(checkpoint_activations=True))
    assert again.activations == (2 * 3 + 34) * 16 * 32 * 64


def test_logits_of_a_large_vocabulary_are_held_in_pieces() -> None:
    qwen = PUBLISHED["Qwen2.5-0.5B"]
    parts = memory(qwen, Work(1, 8, 1024), Spread())
    assert parts.logits == 12 * 8 * 64 * 151_936  # a sixteenth of 1024 tokens at a time
    assert parts.gradients + parts.optimizer == 12 * 494_032_768


def test_operations_and_speed() -> None:
    assert operations(SHAPE, 32) == 6 * N + 12 * 3 * 64 * 32
    assert WORK.tokens == 10 * 16 * 32
    speed = tokens_per_second(SHAPE, 32, 0.4, gpus=8)
    assert speed * operations(SHAPE, 32) == pytest.approx(0.4 * 8 * PEAK)
