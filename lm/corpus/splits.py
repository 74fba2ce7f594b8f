"""Which topics to forget, which are adjacent to them, and which to retain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lm.corpus.world import World, indices


@dataclass(frozen=True)
class Splits:
    """Disjoint topics: those to forget, others of their families, and the rest."""

    forget: tuple[str, ...]
    adjacent: tuple[str, ...]
    retain: tuple[str, ...]


def split_topics(world: World, forget: Sequence[str]) -> Splits:
    """Split a world's topics by what is to be forgotten.

    Raises:
        ValueError: If nothing is to be forgotten, a topic is unknown, or nothing is left.
    """
    if not forget:
        raise ValueError(f"the forget set is empty; name topics of {', '.join(world.topics)}")
    indices("topic", forget, world.topics)
    families = {world.lexicon.topics[topic].family for topic in forget}
    rest = [topic for topic in world.topics if topic not in forget]
    if not rest:
        raise ValueError("every topic is to be forgotten; leave one or more to retain")
    near = tuple(t for t in rest if world.lexicon.topics[t].family in families)
    return Splits(tuple(forget), near, tuple(t for t in rest if t not in near))


def is_topic(world: World, numbers: NDArray[np.int64], topics: Sequence[str]) -> NDArray[np.bool_]:
    """Return which stories, given by their topics' numbers, are of some topics."""
    return np.isin(numbers, indices("topic", topics, world.topics))
