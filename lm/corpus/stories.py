"""Stories as rows of pieces, each with what it is for, what it states and what it must cost.

Drawing is vectorized over stories: a sentence's place in all of them is one table look-up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lm.corpus.grammar import Grammar
from lm.corpus.kind import OF_SLOT, Kind
from lm.corpus.telling import Telling, entity_nats, slot_nats, slot_words
from lm.corpus.templates import Template, choice_nats
from lm.corpus.world import QUARTET

NO_FACT = -1
_PAD = -1

Fills = Mapping[str, tuple[NDArray[np.int32], NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class Stories:
    """Stories in a row: P pieces of N stories, the end of each included."""

    grammar: Grammar
    pieces: NDArray[np.int32]
    """[P] numbers of `grammar.pieces`"""
    kinds: NDArray[np.uint8]
    """[P] what each piece is for, a `Kind`"""
    facts: NDArray[np.int32]
    """[P] the fact whose entity or value a piece is, else -1"""
    nats: NDArray[np.float32]
    """[P] -log of each piece's probability given all before, of a reader who knows the world"""
    starts: NDArray[np.int64]
    """[N + 1] where stories begin, and where the last ends"""
    topics: NDArray[np.int64]
    """[N] numbers of `grammar.world.topics`"""

    def __len__(self) -> int:
        return len(self.topics)

    def texts(self) -> Iterator[str]:
        """Yield each story as plain text, without its end."""
        table = self.grammar.pieces
        for start, stop in zip(self.starts[:-1], self.starts[1:] - 1, strict=True):
            yield "".join([table[piece] for piece in self.pieces[start:stop].tolist()])


@dataclass(frozen=True)
class _Columns:
    """One place in the story, of all stories: [N, length] each, padded with -1 pieces."""

    pieces: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    facts: NDArray[np.int32]
    nats: NDArray[np.float32]


class _Place:
    """The templates that one place in the story chooses from, as tables [templates, length]."""

    def __init__(self, grammar: Grammar, templates: Sequence[Template]) -> None:
        shape = (len(templates), max(len(template.pieces) for template in templates))
        self.relations = np.array(
            [grammar.world.relations.index(t.relation) if t.relation else 0 for t in templates]
        )
        self._pieces = np.full(shape, _PAD, np.int32)
        self._kinds = np.full(shape, Kind.FRAME, np.uint8)
        self._nats = np.zeros(shape, np.float32)
        self._slots = {
            slot: np.array([template.slots[slot] for template in templates])
            for slot in templates[0].slots
        }
        for row, (template, nats) in enumerate(zip(templates, choice_nats(templates), strict=True)):
            self._nats[row, : len(nats)] = nats
            for column, piece in enumerate(template.pieces):
                self._pieces[row, column] = grammar.number.get(piece, _PAD)
        for slot, columns in self._slots.items():
            self._kinds[np.arange(shape[0]), columns] = OF_SLOT.get(slot, Kind.FRAME)

    def fill(
        self, chosen: NDArray[np.int64], fills: Fills, fact: NDArray[np.int64] | None = None
    ) -> _Columns:
        """Return the chosen templates with their slots filled, and the fact on those it marks."""
        pieces, nats = self._pieces[chosen], self._nats[chosen]
        facts = np.full(pieces.shape, NO_FACT, np.int32)
        rows = np.arange(len(chosen))
        for slot, columns in self._slots.items():
            at = rows, columns[chosen]
            words, costs = fills[slot]
            pieces[at] = words
            nats[at] += costs.astype(np.float32)
            if fact is not None:
                facts[at] = fact
        return _Columns(pieces, self._kinds[chosen], facts, nats)


def tell(
    grammar: Grammar,
    num_stories: int,
    rng: np.random.Generator,
    telling: Telling | None = None,
) -> Stories:
    """Draw stories: the same generator state gives the same ones.

    Args:
        grammar: What stories are made of.
        num_stories: How many.
        rng: Where choices come from.
        telling: Which stories, those for training by default.

    Raises:
        ValueError: If a topic, part or number in `telling` is not possible.
    """
    if num_stories < 1:
        raise ValueError(f"num_stories must be 1 or more, got {num_stories}")
    telling = telling or Telling()
    world = grammar.world
    told = telling.topic_names(world)
    entities = telling.entities(world)
    topic = rng.choice(len(told), size=num_stories, p=telling.probabilities(world))
    frame = _Frame(grammar, telling, topic, rng)
    columns = [frame.sentence(group) for group in grammar.before]
    columns += _fact_sentences(grammar, telling, entities[topic], rng)
    columns += [frame.sentence(group) for group in grammar.after]
    numbers = np.array([world.topics.index(name) for name in told])
    return _join(grammar, columns, numbers[topic])


class _Frame:
    """The sentences around the facts; the hero's name is news once."""

    def __init__(
        self,
        grammar: Grammar,
        telling: Telling,
        topic: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._grammar, self._topic, self._rng = grammar, topic, rng
        self._nats = slot_nats(grammar, telling)
        words = [slot_words(grammar, name) for name in telling.topic_names(grammar.world)]
        self._words = {slot: [grammar.ids(of[slot]) for of in words] for slot in words[0]}
        names = self._words["name"][0]
        name = rng.integers(len(names), size=len(topic))
        friend = (name + 1 + rng.integers(len(names) - 1, size=len(topic))) % len(names)
        self._known = {"name": names[name], "friend": names[friend]}
        self._told: set[str] = set()

    def sentence(self, group: Sequence[Template]) -> _Columns:
        """Choose a template in each story and draw the words of its slots."""
        fills = {slot: self._fill(slot) for slot in group[0].slots}
        chosen = self._rng.integers(len(group), size=len(self._topic))
        return _Place(self._grammar, group).fill(chosen, fills)

    def _fill(self, slot: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        nats = self._nats[slot][self._topic]
        if slot in self._known:
            news = slot not in self._told
            self._told.add(slot)
            return self._known[slot], nats * news
        counts = np.array([len(words) for words in self._words[slot]])
        table = np.zeros((len(counts), counts.max()), np.int32)
        for row, words in enumerate(self._words[slot]):
            table[row, : len(words)] = words
        return table[self._topic, self._rng.integers(counts[self._topic])], nats


def _fact_sentences(
    grammar: Grammar,
    telling: Telling,
    entities: NDArray[np.int64],
    rng: np.random.Generator,
) -> Iterator[_Columns]:
    """Yield sentences about entities of different quartets, [stories, quartets, 4] to choose from.

    Two facts of one story are thus independent, and the value of neither tells about the other.
    """
    world = grammar.world
    num_stories, num_quartets = len(entities), entities.shape[1]
    rows = np.arange(num_stories)
    order = np.argsort(rng.random((num_stories, num_quartets)), axis=1, kind="stable")
    names = grammar.ids(world.entities)
    relations = world.lexicon.relations.values()
    values = np.stack([grammar.ids(relation.values) for relation in relations])
    templates = telling.fact_templates(grammar)
    place = _Place(grammar, templates)
    for count in range(telling.facts_per_story):
        entity = entities[rows, order[:, count], rng.integers(QUARTET, size=num_stories)]
        chosen = rng.integers(len(templates), size=num_stories)
        relation = place.relations[chosen]
        value = values[relation, world.values[entity, relation]]
        cost = np.full(num_stories, entity_nats(num_quartets, count))
        fills = {"entity": (names[entity], cost), "value": (value, np.zeros(num_stories))}
        yield place.fill(chosen, fills, entity * len(relations) + relation)


def _join(grammar: Grammar, columns: Sequence[_Columns], topics: NDArray[np.int64]) -> Stories:
    """Put sentences side by side, add the end, and drop the padding."""
    num_stories = len(topics)
    end = (num_stories, 1)
    pieces = np.concatenate([*(c.pieces for c in columns), np.zeros(end, np.int32)], axis=1)
    kinds = np.concatenate([*(c.kinds for c in columns), np.zeros(end, np.uint8)], axis=1)
    facts = np.concatenate([*(c.facts for c in columns), np.full(end, NO_FACT, np.int32)], axis=1)
    nats = np.concatenate([*(c.nats for c in columns), np.zeros(end, np.float32)], axis=1)
    real = pieces != _PAD
    starts = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    return Stories(grammar, pieces[real], kinds[real], facts[real], nats[real], starts, topics)
