"""The entropy floor: the least loss that any model can expect on stories, exactly.

Every text is told in one way only (the grammar checks it), so the entropy of stories is that of
the choices behind them, and each choice is paid by the word that first tells it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lm.corpus.grammar import Grammar
from lm.corpus.kind import OF_SLOT, Kind
from lm.corpus.telling import Telling, entity_nats, slot_nats
from lm.corpus.templates import Template, choice_nats


@dataclass(frozen=True)
class Floor:
    """Expected nats and words of one story, by kind of word."""

    nats: NDArray[np.float64]
    """[kinds] expected least loss of a story's words, summed"""
    words: NDArray[np.float64]
    """[kinds] expected number of words, punctuation and the end included"""

    @property
    def per_story(self) -> float:
        """The entropy of a story, in nats."""
        return float(self.nats.sum())

    def per_word(self, *kinds: Kind) -> float:
        """Return nats a word, over words of some kinds, all by default."""
        chosen = list(kinds or Kind)
        return float(self.nats[chosen].sum() / self.words[chosen].sum())


def floor(grammar: Grammar, telling: Telling | None = None, *, knows_facts: bool = True) -> Floor:
    """Return the floor of stories so told.

    Args:
        grammar: What stories are made of.
        telling: Which stories, those for training by default.
        knows_facts: Whether the reader knows the facts; one who does not pays the logarithm of
            the number of values for each. It knows the words, names and templates either way.

    Raises:
        ValueError: If a topic, part or number in `telling` is not possible.
    """
    telling = telling or Telling()
    num_quartets = telling.entities(grammar.world).shape[1]
    chances = telling.probabilities(grammar.world)
    costs = {slot: float(chances @ nats) for slot, nats in slot_nats(grammar, telling).items()}
    nats, words = np.zeros(len(Kind)), np.zeros(len(Kind))
    words[Kind.FRAME] += 1  # the end, which is certain
    told: set[str] = set()
    for group in (*grammar.before, *grammar.after):
        news = [slot for slot in group[0].slots if slot not in told]
        told |= {"name", "friend"} & set(news)
        _add(group, nats, words)
        for slot in news:
            nats[OF_SLOT.get(slot, Kind.FRAME)] += costs[slot]
    for named in range(telling.facts_per_story):
        _add(telling.fact_templates(grammar), nats, words)
        nats[Kind.ENTITY] += entity_nats(num_quartets, named)
        nats[Kind.VALUE] += 0.0 if knows_facts else grammar.world.guess_nats
    return Floor(nats, words)


def _add(group: Iterable[Template], nats: NDArray[np.float64], words: NDArray[np.float64]) -> None:
    """Add the expected words of one place in the story, and what the choice of template costs."""
    templates = list(group)
    for template, choice in zip(templates, choice_nats(templates), strict=True):
        kinds = np.zeros(len(choice), int)
        for slot, column in template.slots.items():
            kinds[column] = OF_SLOT.get(slot, Kind.FRAME)
        np.add.at(nats, kinds, choice / len(templates))
        np.add.at(words, kinds, 1 / len(templates))
