"""Sampled stories, imperfect labels of them, and the entropy of their distribution.

Stories are rows of pieces. Each piece carries its kind and the fact that it states. Sampling is
vectorized over stories: a sentence of all stories is one look-up in a table of templates.

Every text has exactly one derivation, which the grammar checks. So the entropy of stories is the
entropy of the choices behind them, and each choice is paid for by the word that first reveals it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lm.corpus.grammar import (
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


@dataclass(frozen=True, eq=False)
class Stories:
    """The P pieces of N stories one after another, the end of each included."""

    grammar: Grammar
    pieces: NDArray[np.int32]
    """[P] index into `grammar.pieces`"""
    kinds: NDArray[np.uint8]
    """[P] the `Kind` of each piece"""
    facts: NDArray[np.int32]
    """[P] the fact whose entity or value a piece is, or -1"""
    starts: NDArray[np.int64]
    """[N + 1] first piece of each story, and the end of the last"""
    topics: NDArray[np.int64]
    """[N] index into `grammar.world.topics`"""

    def __len__(self) -> int:
        return len(self.topics)

    def texts(self) -> Iterator[str]:
        """Yield each story as plain text, without its end."""
        table = self.grammar.pieces
        for start, stop in zip(self.starts[:-1], self.starts[1:] - 1, strict=True):
            yield "".join([table[piece] for piece in self.pieces[start:stop].tolist()])


_Columns = NDArray[np.int32]
"""[3, N, length] One sentence of all stories: pieces, padded with -1, their kinds and facts."""


class _Place:
    """The templates of one sentence of the story, as tables [templates, length]."""

    def __init__(self, grammar: Grammar, templates: Sequence[Template]) -> None:
        shape = (len(templates), max(len(template.pieces) for template in templates))
        self.relations = np.array(
            [grammar.world.relations.index(t.relation) if t.relation else 0 for t in templates]
        )
        self._pieces = np.full(shape, _PAD, np.int32)
        self._kinds = np.full(shape, Kind.FRAME, np.int32)
        self._slots = {
            slot: np.array([template.slots[slot] for template in templates])
            for slot in templates[0].slots
        }
        for row, template in enumerate(templates):
            for column, piece in enumerate(template.pieces):
                self._pieces[row, column] = grammar.number.get(piece, _PAD)
        for slot, columns in self._slots.items():
            self._kinds[np.arange(shape[0]), columns] = grammar.kind(slot)

    def fill(
        self,
        chosen: NDArray[np.int64],
        words: Mapping[str, NDArray[np.int32]],
        fact: NDArray[np.int64] | None = None,
    ) -> _Columns:
        """Return the chosen templates with filled slots, whose words are marked with the fact."""
        pieces = self._pieces[chosen]
        facts = np.full(pieces.shape, NO_FACT, np.int32)
        rows = np.arange(len(chosen))
        for slot, columns in self._slots.items():
            at = rows, columns[chosen]
            pieces[at] = words[slot]
            if fact is not None:
                facts[at] = fact
        return np.stack([pieces, self._kinds[chosen], facts])


def sample_stories(
    grammar: Grammar,
    num_stories: int,
    rng: np.random.Generator,
    distribution: StoryDistribution | None = None,
) -> Stories:
    """Sample stories; the same state of the generator gives the same stories.

    Raises:
        ValueError: If a topic, part or number in `distribution` is not possible.
    """
    if num_stories < 1:
        raise ValueError(f"num_stories must be 1 or more, got {num_stories}")
    distribution = distribution or StoryDistribution()
    world = grammar.world
    names = distribution.topic_names(world)
    entities = distribution.entities(world)
    topic = rng.choice(len(names), size=num_stories, p=np.full(len(names), 1 / len(names)))
    frame = _Frame(grammar, distribution, topic, rng)
    columns = [frame.sentence(group) for group in grammar.before]
    columns += _fact_sentences(grammar, distribution, entities[topic], rng)
    columns += [frame.sentence(group) for group in grammar.after]
    numbers = np.array([world.topics.index(name) for name in names])
    return _join(grammar, columns, numbers[topic])


class _Frame:
    """Samples the sentences around the facts."""

    def __init__(
        self,
        grammar: Grammar,
        distribution: StoryDistribution,
        topic: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._grammar, self._topic, self._rng = grammar, topic, rng
        words = [slot_words(grammar, name) for name in distribution.topic_names(grammar.world)]
        self._words = {slot: [grammar.ids(of[slot]) for of in words] for slot in words[0]}
        names = self._words["name"][0]
        name = rng.integers(len(names), size=len(topic))
        friend = (name + 1 + rng.integers(len(names) - 1, size=len(topic))) % len(names)
        self._known: dict[str, NDArray[np.int32]] = {"name": names[name], "friend": names[friend]}

    def sentence(self, group: Sequence[Template]) -> _Columns:
        """Choose a template for each story, and draw the words of its slots."""
        words = {slot: self._draw(slot) for slot in group[0].slots}
        chosen = self._rng.integers(len(group), size=len(self._topic))
        return _Place(self._grammar, group).fill(chosen, words)

    def _draw(self, slot: str) -> NDArray[np.int32]:
        if slot in self._known:
            return self._known[slot]
        counts = np.array([len(words) for words in self._words[slot]])
        table = np.zeros((len(counts), counts.max()), np.int32)
        for row, words in enumerate(self._words[slot]):
            table[row, : len(words)] = words
        return table[self._topic, self._rng.integers(counts[self._topic])]


def _fact_sentences(
    grammar: Grammar,
    distribution: StoryDistribution,
    entities: NDArray[np.int64],
    rng: np.random.Generator,
) -> Iterator[_Columns]:
    """Yield sentences about entities, chosen from [stories, quartets, 4].

    The entities of one story are of different quartets. So its facts are independent, and no value
    gives another away.
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
        words = {"entity": names[entity], "value": value}
        yield place.fill(chosen, words, entity * len(relations) + relation)


def _join(grammar: Grammar, columns: Sequence[_Columns], topics: NDArray[np.int64]) -> Stories:
    """Concatenate the sentences of each story, append the end, and drop the padding."""
    end = np.array([0, Kind.FRAME, NO_FACT], np.int32)[:, None, None]
    table = np.concatenate([*columns, np.tile(end, (1, len(topics), 1))], axis=2)
    real = table[0] != _PAD
    pieces, kinds, facts = table[:, real]
    starts = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    return Stories(grammar, pieces, kinds.astype(np.uint8), facts, starts, topics)


def noisy_labels(
    truth: NDArray[np.bool_],
    *,
    recall: float,
    precision: float,
    rng: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Return labels of a given recall and precision, each exact to the nearest whole sample.

    With the same state of the generator, the positives labeled at a lower recall are also labeled
    at a higher one, so that a sweep over recall compares nested sets.

    Args:
        truth: Perfect labels, [N].
        recall: Share of the positives that are labeled, in [0, 1].
        precision: Share of the labeled samples that are positive, in (0, 1].
        rng: Draws the mistakes.
        groups: [N] or [N, k] The group of each sample, or its groups, where a negative number is
            none. Groups become known in random order, and a sample is labeled once all of its
            groups are known, until enough samples are labeled: those of one group are mislabeled
            together. None mislabels samples one by one.

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
    # positives are missed from the end, false labels come from the start: both in whole groups
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
    if groups is not None and (np.shape(groups)[:1] != truth.shape or np.ndim(groups) > 2):
        raise ValueError(
            f"groups must give one number, or one row, for each of {len(truth)} samples, "
            f"got shape {np.shape(groups)}"
        )


def _order(
    count: int, groups: NDArray[np.int64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return a random order of the samples, by the last of a sample's groups to become known."""
    shuffled = rng.permutation(count)
    if groups is None:
        return shuffled
    names, group = np.unique(groups, return_inverse=True)
    rank = rng.permutation(len(names))[group].reshape(groups.shape)
    if groups.ndim > 1:
        rank = np.where(groups < 0, -1, rank).max(axis=1)
    return shuffled[np.argsort(rank[shuffled], kind="stable")]


def entropy_lower_bound(
    grammar: Grammar, distribution: StoryDistribution | None = None
) -> NDArray[np.float64]:
    """Return the least expected loss that any model can have on a story, in nats, [kinds].

    This is the entropy of the words of each `Kind`; the sum is the entropy of a story.

    Raises:
        ValueError: If a topic, part or number in `distribution` is not possible.
    """
    distribution = distribution or StoryDistribution()
    distribution.entities(grammar.world)  # refuses what is not possible
    by_topic = slot_nats(grammar, distribution)
    costs = {slot: float(np.full(len(n), 1 / len(n)) @ n) for slot, n in by_topic.items()}
    nats = np.zeros(len(Kind))
    named: set[str] = set()
    for group in (*grammar.before, *grammar.after):
        new = [slot for slot in group[0].slots if slot not in named]
        named |= {"name", "friend"} & set(new)  # which cost nothing where they occur again
        _add_choice(grammar, group, nats)
        for slot in new:
            nats[grammar.kind(slot)] += costs[slot]
    for earlier in range(distribution.facts_per_story):
        _add_choice(grammar, distribution.fact_templates(grammar), nats)
        nats[Kind.ENTITY] += entity_nats(grammar, distribution, earlier)
    return nats


def _add_choice(grammar: Grammar, templates: Sequence[Template], nats: NDArray[np.float64]) -> None:
    """Add the entropy of the choice of a sentence's template."""
    for template, choice in zip(templates, choice_nats(templates), strict=True):
        kinds = np.zeros(len(choice), int)
        for slot, column in template.slots.items():
            kinds[column] = grammar.kind(slot)
        np.add.at(nats, kinds, choice / len(templates))
