"""Which stories to tell: of which topics, about which facts, in which templates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lm.corpus.grammar import Grammar
from lm.corpus.templates import Template
from lm.corpus.world import HALVES, QUARTET, World


@dataclass(frozen=True, kw_only=True)
class Telling:
    """A distribution of stories. The default is the training distribution."""

    topics: tuple[str, ...] | None = None
    """topics to tell of, all of the world's by default"""
    weights: tuple[float, ...] | None = None
    """how often, in proportion; equal by default"""
    parts: tuple[str, ...] = HALVES
    """whose facts: `first`, `second` (the two halves), `held_out` (entities never trained on)"""
    templates: Literal["training", "held_out"] = "training"
    """how facts are put"""
    facts_per_story: int = 2
    """facts in each story, of entities of different quartets"""

    def topic_names(self, world: World) -> tuple[str, ...]:
        """Return the topics told of."""
        return world.topics if self.topics is None else self.topics

    def probabilities(self, world: World) -> NDArray[np.float64]:
        """Return how likely each told topic is.

        Raises:
            ValueError: If weights do not fit the topics.
        """
        count = len(self.topic_names(world))
        weights = np.ones(count) if self.weights is None else np.asarray(self.weights, float)
        if weights.shape != (count,) or not np.isfinite(weights).all() or (weights <= 0).any():
            raise ValueError(
                f"weights must be {count} positive numbers, one for each topic, got {self.weights}"
            )
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares

    def fact_templates(self, grammar: Grammar) -> tuple[Template, ...]:
        """Return the templates that facts are put in.

        Raises:
            ValueError: If there is no such set of templates.
        """
        if self.templates not in ("training", "held_out"):
            raise ValueError(f"templates must be training or held_out, got {self.templates!r}")
        return grammar.facts if self.templates == "training" else grammar.held_out

    def entities(self, world: World) -> NDArray[np.int64]:
        """Return the entities that stories may name, [topics, quartets, 4].

        Raises:
            ValueError: If a topic or part is unknown, or has too few quartets for a story.
        """
        entities = world.quartet_entities(self.topic_names(world), self.parts)
        if not 1 <= self.facts_per_story <= entities.shape[1]:
            raise ValueError(
                f"facts_per_story must be from 1 to {entities.shape[1]}, the quartets of "
                f"{' and '.join(self.parts)}, got {self.facts_per_story}"
            )
        return entities


def slot_words(grammar: Grammar, topic: str) -> Mapping[str, tuple[str, ...]]:
    """Return the words that a story of a topic draws evenly from, by slot of the frame."""
    lexicon = grammar.world.lexicon
    family = lexicon.families[lexicon.topics[topic].family]
    return {
        "name": lexicon.names,
        "place": lexicon.topics[topic].nouns,
        "noun": lexicon.topics[topic].nouns,
        "verb": family.verbs,
        "object": family.objects,
        "feeling": lexicon.feelings,
        "mood": lexicon.moods,
    }


def slot_nats(grammar: Grammar, telling: Telling) -> Mapping[str, NDArray[np.float64]]:
    """Return what a word new in a slot costs, in nats, by slot and told topic, [topics] each.

    The place costs the topic too, since its word tells it; the friend is one name less.
    """
    topics = telling.topic_names(grammar.world)
    counts = [{s: len(words) for s, words in slot_words(grammar, t).items()} for t in topics]
    nats = {slot: np.log([count[slot] for count in counts]) for slot in counts[0]}
    nats["friend"] = np.log([count["name"] - 1 for count in counts])
    nats["place"] = nats["place"] - np.log(telling.probabilities(grammar.world))
    return nats


def entity_nats(num_quartets: int, already_named: int) -> float:
    """Return what the next entity of a story costs, in nats."""
    return float(np.log(QUARTET * (num_quartets - already_named)))
