"""Stories as rows of pieces, each with what it is for, what it states and what it must cost.

Drawing is vectorized over stories: a sentence's place in all of them is one table look-up.

Labels of spans of characters, carried over to tokens.

Imperfect labels: some positives missed, some negatives labeled, by count and not by coin.

The entropy floor: the least loss that any model can expect on stories, exactly.

Every text is told in one way only (the grammar checks it), so the entropy of stories is that of
the choices behind them, and each choice is paid by the word that first tells it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lm.corpus.grammar import (
    OF_SLOT,
    Grammar,
    Kind,
    StoryDistribution,
    Template,
    choice_nats,
    entity_nats,
    slot_nats,
    slot_words,
)
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


def sample_stories(
    grammar: Grammar,
    num_stories: int,
    rng: np.random.Generator,
    distribution: StoryDistribution | None = None,
) -> Stories:
    """Draw stories: the same generator state gives the same ones.

    Args:
        grammar: What stories are made of.
        num_stories: How many.
        rng: Where choices come from.
        distribution: Which stories, those for training by default.

    Raises:
        ValueError: If a topic, part or number in `distribution` is not possible.
    """
    if num_stories < 1:
        raise ValueError(f"num_stories must be 1 or more, got {num_stories}")
    distribution = distribution or StoryDistribution()
    world = grammar.world
    told = distribution.topic_names(world)
    entities = distribution.entities(world)
    topic = rng.choice(len(told), size=num_stories, p=distribution.probabilities(world))
    frame = _Frame(grammar, distribution, topic, rng)
    columns = [frame.sentence(group) for group in grammar.before]
    columns += _fact_sentences(grammar, distribution, entities[topic], rng)
    columns += [frame.sentence(group) for group in grammar.after]
    numbers = np.array([world.topics.index(name) for name in told])
    return _join(grammar, columns, numbers[topic])


class _Frame:
    """The sentences around the facts; the hero's name is news once."""

    def __init__(
        self,
        grammar: Grammar,
        distribution: StoryDistribution,
        topic: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._grammar, self._topic, self._rng = grammar, topic, rng
        self._nats = slot_nats(grammar, distribution)
        words = [slot_words(grammar, name) for name in distribution.topic_names(grammar.world)]
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
    distribution: StoryDistribution,
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
    templates = distribution.fact_templates(grammar)
    place = _Place(grammar, templates)
    for count in range(distribution.facts_per_story):
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


def overlaps(offsets: ArrayLike, spans: ArrayLike) -> NDArray[np.bool_]:
    """Return which tokens share a character with a labeled span.

    Args:
        offsets: Where tokens begin and end in the text, [T, 2], the end not included.
        spans: Where labeled spans do, [S, 2], in any order, and they may overlap.

    Raises:
        ValueError: If these are no such pairs, or one ends before it begins.
    """
    start, stop = _pairs("offsets", offsets)
    begin, end = _pairs("spans", spans)
    begin, end = begin[end > begin], end[end > begin]
    # Spans that began before the token's end, less those that had ended by its start.
    begun = np.searchsorted(np.sort(begin), stop, side="left")
    ended = np.searchsorted(np.sort(end), start, side="right")
    labeled: NDArray[np.bool_] = (begun > ended) & (stop > start)
    return labeled


def _pairs(name: str, values: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs = np.asarray(values, np.int64).reshape(-1, 2) if np.size(values) == 0 else values
    pairs = np.asarray(pairs, np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs[:, 0] > pairs[:, 1]).any():
        raise ValueError(f"{name} must be pairs of a start and an end after it, got {values!r}")
    return pairs[:, 0], pairs[:, 1]


def noisy_labels(
    truth: NDArray[np.bool_],
    *,
    recall: float,
    precision: float,
    rng: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Return labels of a given recall and precision, each exact to the nearest whole sample.

    With the same generator state, labels of less recall are a subset of those of more on the
    positives, so that a sweep over recall compares like with like.

    Args:
        truth: What a perfect labeler would say, [N].
        recall: Share of the positives that is labeled, in [0, 1].
        precision: Share of the labeled that is positive, in (0, 1].
        rng: Where the choice of mistakes comes from.
        groups: [N] Samples of one group are mistaken together: groups are gone through in random
            order until there are enough mistakes. None mistakes each sample on its own.

    Raises:
        ValueError: If a share is out of range, shapes differ, or negatives are too few.
    """
    truth = np.asarray(truth)
    _check(truth, recall, precision, groups)
    order = _order(len(truth), groups, rng)
    positives, negatives = order[truth[order]], order[~truth[order]]
    found = round(recall * len(positives))
    wrong = round(found * (1 - precision) / precision)
    if wrong > len(negatives):
        raise ValueError(
            f"a precision of {precision} needs {wrong} false labels, and there are "
            f"{len(negatives)} negatives; raise the precision or lower the recall"
        )
    labels = np.zeros_like(truth)
    # Missed positives are the last in order, false labels the first: both come in whole groups.
    labels[positives[:found]] = True
    labels[negatives[:wrong]] = True
    return labels


def _check(
    truth: NDArray[np.bool_], recall: float, precision: float, groups: NDArray[np.int64] | None
) -> None:
    if not 0 <= recall <= 1:
        raise ValueError(f"recall must be from 0 to 1, got {recall}")
    if not 0 < precision <= 1:
        raise ValueError(f"precision must be above 0 and at most 1, got {precision}")
    if truth.ndim != 1 or truth.dtype != np.bool_:
        raise ValueError(f"truth must be a row of booleans, got {truth.dtype} {truth.shape}")
    if groups is not None and np.shape(groups) != truth.shape:
        raise ValueError(
            f"groups must give one number for each of {len(truth)} samples, "
            f"got shape {np.shape(groups)}"
        )


def _order(
    count: int, groups: NDArray[np.int64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Shuffle samples, those of one group next to each other."""
    shuffled = rng.permutation(count)
    if groups is None:
        return shuffled
    names, group = np.unique(groups, return_inverse=True)
    rank = rng.permutation(len(names))[group]
    return shuffled[np.argsort(rank[shuffled], kind="stable")]


@dataclass(frozen=True)
class EntropyBound:
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


def entropy_lower_bound(
    grammar: Grammar, distribution: StoryDistribution | None = None, *, knows_facts: bool = True
) -> EntropyBound:
    """Return the floor of stories so told.

    Args:
        grammar: What stories are made of.
        distribution: Which stories, those for training by default.
        knows_facts: Whether the reader knows the facts; one who does not pays the logarithm of
            the number of values for each. It knows the words, names and templates either way.

    Raises:
        ValueError: If a topic, part or number in `distribution` is not possible.
    """
    distribution = distribution or StoryDistribution()
    num_quartets = distribution.entities(grammar.world).shape[1]
    chances = distribution.probabilities(grammar.world)
    costs = {slot: float(chances @ nats) for slot, nats in slot_nats(grammar, distribution).items()}
    nats, words = np.zeros(len(Kind)), np.zeros(len(Kind))
    words[Kind.FRAME] += 1  # the end, which is certain
    told: set[str] = set()
    for group in (*grammar.before, *grammar.after):
        news = [slot for slot in group[0].slots if slot not in told]
        told |= {"name", "friend"} & set(news)
        _add(group, nats, words)
        for slot in news:
            nats[OF_SLOT.get(slot, Kind.FRAME)] += costs[slot]
    for named in range(distribution.facts_per_story):
        _add(distribution.fact_templates(grammar), nats, words)
        nats[Kind.ENTITY] += entity_nats(num_quartets, named)
        nats[Kind.VALUE] += 0.0 if knows_facts else grammar.world.guess_nats
    return EntropyBound(nats, words)


def _add(group: Iterable[Template], nats: NDArray[np.float64], words: NDArray[np.float64]) -> None:
    """Add the expected words of one place in the story, and what the choice of template costs."""
    templates = list(group)
    for template, choice in zip(templates, choice_nats(templates), strict=True):
        kinds = np.zeros(len(choice), int)
        for slot, column in template.slots.items():
            kinds[column] = OF_SLOT.get(slot, Kind.FRAME)
        np.add.at(nats, kinds, choice / len(templates))
        np.add.at(words, kinds, 1 / len(templates))
