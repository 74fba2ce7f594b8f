"""Contexts of random steps, and a test of frequencies."""

import numpy as np
from hypothesis import strategies as st

from envs.observers import StepContext, random_streams

PROBABILITY = st.floats(0, 1)
SEED = st.integers(0, 2**64 - 1)


def make_context(seed: int, size: int) -> StepContext:
    """Return random steps of many lanes."""
    draw = np.random.default_rng(seed % 2**32)
    episode, step, played = draw.integers(0, 200, size=(3, size)).astype(np.uint64)
    seeds = random_streams.lane_seeds(seed, size)
    asked = draw.integers(2, size=size).astype(np.bool_)
    return StepContext(seeds, episode, step, played, draw.normal(size=size), asked)


def near(count: int, size: int, chance: float) -> bool:
    """Whether so many of independent draws fell, within five deviations; one more where few do."""
    return bool(abs(count - size * chance) <= 5 * (np.sqrt(size * chance * (1 - chance)) + 1))
