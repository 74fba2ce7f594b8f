"""The texts of a study of steering, and the tokens of its concept.

Texts are stories of a made-up world, of which the corpus knows what belongs to a topic, or a user's
own files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lm.corpus import Grammar
from lm.corpus.tokens import WORDS, train_tokenizer
from lm.corpus.world import HALVES
from lm.data.document import marks
from lm.data.sources import read_documents
from lm.data.task import TaskConfig, make_task
from lm.models.hf_loading import load_tokenizer
from lm.models.language_model import IGNORED
from lm.steering.config import RunConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

STREAM = 5
"""Separates the random stream of texts from others of the same seed."""
MOST = 0.5
"""Largest share of the tokens of a text that a concept may be."""


@dataclass(frozen=True, slots=True)
class Concept:
    """The tokens of a concept, and those of related words, which are never routed.

    Attributes:
        tokens: the tokens of the concept, ascending.
        related: tokens of related words by the name of their group, such as `nouns`; those of the
            first group are the nearest.
    """

    tokens: tuple[int, ...]
    related: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def nearest(self) -> tuple[int, ...]:
        """The tokens of the first group of related words; none if there is none."""
        return next(iter(self.related.values()), ())

    def mask(self, tokens: Tensor) -> Tensor:
        """Return which tokens are of the concept, a bool tensor of the same shape."""
        return torch.isin(tokens, torch.tensor(self.tokens, device=tokens.device))


@dataclass(frozen=True, eq=False)
class Corpus:
    """Rows of tokens, [n, t + 1] int64: a token before the text, the text, then `IGNORED`.

    Attributes:
        train: rows to train on, and to make vectors of.
        choice: rows on which the block of a method is chosen.
        held_out: rows on which models are measured.
        vocabulary: the text of each token.
        start: the token before a text.
        end: the token after a text.
        concept: the tokens of the concept.
    """

    train: Tensor
    choice: Tensor
    held_out: Tensor
    vocabulary: tuple[str, ...]
    start: int
    end: int
    concept: Concept

    @cached_property
    def counts(self) -> Tensor:
        """How often each token is to be predicted in the rows to train on, [v] int64."""
        targets = self.train[:, 1:]
        return torch.bincount(targets[targets != IGNORED], minlength=len(self.vocabulary))

    @property
    def share(self) -> float:
        """The share of the tokens to train on that are of the concept."""
        return float(self.counts[list(self.concept.tokens)].sum() / self.counts.sum())

    @property
    def context(self) -> int:
        """Maximum number of tokens of a text, its end included."""
        return self.train.shape[1] - 1

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens up to the end of the text."""
        tokens = list(tokens)
        cut = tokens.index(self.end) if self.end in tokens else len(tokens)
        return "".join(self.vocabulary[token] for token in tokens[:cut])


def load_corpus(config: RunConfig, seed: int) -> Corpus:
    """Return the texts of a run, which the seed draws, with the concept checked.

    Raises:
        ValueError: if a word is no token, the concept does not occur or is most of the text, files
            cannot be read, or there are too few texts.
    """
    corpus = _files(config, seed) if config.corpus.texts else _stories(config, seed)
    require_occurring(corpus, config.corpus.concept_words)
    return corpus


def _stories(config: RunConfig, seed: int) -> Corpus:
    """Return made-up stories; other nouns and the entities of the topic are related words."""
    own = config.corpus
    settings = TaskConfig(vocab_size=own.vocab_size, world_seed=own.world_seed)
    if config.model is None:
        task = make_task(settings)
    else:
        tokenizer = load_tokenizer(config.model, config.gguf_file)
        around = marks(tokenizer)
        task = make_task(settings, tokenizer.backend_tokenizer, around.end, around.start)
    counts = (own.train_rows, own.choice_rows, own.held_out_rows)
    train, choice, held_out = (
        task.sample(count, (seed, STREAM, pool)).tokens.long() for pool, count in enumerate(counts)
    )
    vocabulary = vocabulary_of(task.tokenizer)
    groups = {"related": own.related_words} if own.related_words else None
    related = related_words(task.grammar, own.concept_words) if groups is None else groups
    concept = find_concept(vocabulary, own.concept_words, related, strict=groups is not None)
    return Corpus(train, choice, held_out, vocabulary, task.start, task.end, concept)


def related_words(grammar: Grammar, words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return words that are related to nouns, by kind, each nearer than the next.

    These are the other nouns of their topics, the creatures that stories of these topics are about,
    and the nouns of other topics, which stand in the same places of a sentence.

    >>> from lm.corpus import make_grammar, make_world
    >>> related_words(make_grammar(make_world()), ["forest"])["nouns"]
    ('tree', 'grove', 'oak', 'trail', 'log')
    """
    world = grammar.world
    topics = [
        name
        for name, topic in world.lexicon.topics.items()
        if not set(words).isdisjoint(topic.nouns)
    ]
    if not topics:
        return {}
    nouns = [noun for name in topics for noun in world.lexicon.topics[name].nouns]
    every = [noun for topic in world.lexicon.topics.values() for noun in topic.nouns]
    entities = world.quartet_entities(topics, HALVES).ravel()
    return {
        "nouns": tuple(noun for noun in nouns if noun not in words),
        "entities": tuple(world.entities[number] for number in entities),
        "other nouns": tuple(noun for noun in every if noun not in nouns),
    }


def _files(config: RunConfig, seed: int) -> Corpus:
    """Return the texts of files, cut into rows of tokens of the model or of a new tokenizer."""
    own, pretrained = config.corpus, None
    if config.model is not None:
        pretrained = load_tokenizer(config.model, config.gguf_file)
    stream = read_documents(list(own.texts), own.text_field, pretrained)
    texts = [document.text for document in stream]
    if pretrained is not None:
        around, tokenizer = marks(pretrained), pretrained.backend_tokenizer
        start, end = around.start, around.end
    else:
        tokenizer, start, end = train_tokenizer(texts, own.vocab_size, WORDS), 0, 0
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    rows = cut_rows([each.ids for each in encoded], own.context, start, end)
    cuts = [own.held_out_rows, own.held_out_rows + own.choice_rows]
    needed = cuts[-1] + config.batch_size
    if len(rows) < needed:
        raise ValueError(
            f"the texts make {len(rows)} rows of {own.context} tokens, and {needed} are needed: "
            "give more texts, a smaller --context or a smaller --held-out-rows"
        )
    order = torch.from_numpy(np.random.default_rng([seed, STREAM]).permutation(len(rows)))
    held_out, choice, train = (rows[part] for part in torch.tensor_split(order, cuts))
    vocabulary = vocabulary_of(tokenizer)
    related = {"related": own.related_words} if own.related_words else {}
    concept = find_concept(vocabulary, own.concept_words, related, strict=True)
    return Corpus(train, choice, held_out, vocabulary, start, end, concept)


def cut_rows(texts: Sequence[Sequence[int]], context: int, start: int, end: int) -> Tensor:
    """Return texts with their ends as rows, [n, context + 1]; long texts become several rows.

    A row begins with the token before its first target.

    >>> cut_rows([[5, 6, 7], [8]], context=2, start=0, end=1)
    tensor([[0, 5, 6],
            [6, 7, 1],
            [0, 8, 1]])
    """
    pieces = []
    for text in texts:
        whole = [start, *text, end]
        pieces += [whole[at : at + context + 1] for at in range(0, len(whole) - 1, context)]
    table = torch.full((len(pieces), context + 1), IGNORED)
    for row, piece in enumerate(pieces):
        table[row, : len(piece)] = torch.tensor(piece)
    return table


def vocabulary_of(tokenizer: "Tokenizer") -> tuple[str, ...]:
    """Return the text of each token of a tokenizer; special tokens have their name."""
    special = {
        token for token, each in tokenizer.get_added_tokens_decoder().items() if each.special
    }
    return tuple(
        tokenizer.id_to_token(token) or "" if token in special else tokenizer.decode([token])
        for token in range(tokenizer.get_vocab_size())
    )


def find_concept(
    vocabulary: Sequence[str],
    words: Sequence[str],
    related: Mapping[str, Sequence[str]],
    *,
    strict: bool = True,
) -> Concept:
    """Return the tokens of words, with or without the space before them.

    Args:
        vocabulary: the text of each token.
        words: the words of the concept.
        related: related words by group.
        strict: whether a related word that is no token is refused, or left out.

    Raises:
        ValueError: if a word is no token.

    >>> find_concept(["a", " a", " b"], ["a"], {"near": ["b"]})
    Concept(tokens=(0, 1), related={'near': (2,)})
    """
    known: dict[str, list[int]] = {}
    for token, text in enumerate(vocabulary):
        known.setdefault(text.strip(), []).append(token)
    asked = [*words, *(word for group in related.values() for word in group if strict)]
    missing = [word for word in asked if not word.strip() or word not in known]
    if missing:
        raise ValueError(
            f"{', '.join(map(repr, missing))}: no token of the vocabulary of {len(vocabulary)} is "
            "such a word as a whole: give words that are one token, or a larger --vocab-size"
        )
    tokens = sorted(token for word in words for token in known[word])
    groups = {
        name: tuple(token for word in group for token in known.get(word, ()))
        for name, group in related.items()
    }
    return Concept(tuple(tokens), {name: group for name, group in groups.items() if group})


def require_occurring(corpus: Corpus, words: Sequence[str]) -> None:
    """Raise a ValueError if no row to train on has the concept, all have, or it is most of them."""
    named, concept = ", ".join(words), corpus.concept
    has = concept.mask(corpus.train[:, 1:]).any(1)
    if not has.any():
        raise ValueError(
            f"{named} never occurs in the {len(corpus.train)} rows to train on: give other "
            "--concept-words, or more texts"
        )
    if has.all():
        raise ValueError(
            f"{named} is in every one of the {len(has)} rows to train on, and vectors need some "
            "without it: give rarer --concept-words, or a smaller --context"
        )
    if corpus.share > MOST:
        raise ValueError(
            f"{named} is {corpus.share:.0%} of the tokens, and a concept may be at most {MOST:.0%} "
            "of them: give rarer --concept-words"
        )
