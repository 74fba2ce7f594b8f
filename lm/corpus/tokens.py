"""Stories as tokens with labels, and the byte-level BPE tokenizer that is trained on stories.

The tokenizer never merges across pieces (`lm.corpus.grammar`). So the tokens of a story are looked
up piece by piece, and each token inherits the labels of its piece.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.corpus.grammar import END, PIECE, Grammar
from lm.corpus.stories import Stories, sample_stories


@dataclass(frozen=True, eq=False)
class Tokens:
    """The T tokens of N stories one after another, the end of each included."""

    ids: NDArray[np.uint32]
    """[T] token ids"""
    kinds: NDArray[np.uint8]
    """[T] the `Kind` of each token's word"""
    facts: NDArray[np.int32]
    """[T] the fact whose entity or value a token belongs to, or -1"""
    starts: NDArray[np.int64]
    """[N + 1] first token of each story, and the end of the last"""
    topics: NDArray[np.int64]
    """[N] index into the topics of the world"""

    def __len__(self) -> int:
        return len(self.ids)


def encode(stories: Stories, tokenizer: Tokenizer, end: int = 0) -> Tokens:
    """Return the tokens of stories, equal to those of their texts, and their labels.

    The tokenizer must never merge across pieces, as none does that splits texts at words.
    """
    lengths, table = _piece_tokens(stories.grammar, tokenizer, end)
    firsts = np.cumsum(lengths) - lengths
    counts = lengths[stories.pieces]
    stops = np.cumsum(counts)
    # index of each token in the table: the first token of its piece, and on from there
    shift = firsts[stories.pieces] - (stops - counts)
    places = np.arange(stops[-1], dtype=np.int32) + np.repeat(shift.astype(np.int32), counts)
    return Tokens(
        ids=table[places],
        kinds=np.repeat(stories.kinds, counts),
        facts=np.repeat(stories.facts, counts),
        starts=np.concatenate([[0], stops])[stories.starts],
        topics=stories.topics,
    )


def _piece_tokens(
    grammar: Grammar, tokenizer: Tokenizer, end: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the number of tokens of each piece, and the tokens of all pieces concatenated."""
    encoded = tokenizer.encode_batch(list(grammar.pieces), add_special_tokens=False)
    rows: Sequence[list[int]] = [
        [end] if piece == END else encoding.ids
        for piece, encoding in zip(grammar.pieces, encoded, strict=True)
    ]
    return np.array([len(row) for row in rows]), np.concatenate(rows).astype(np.uint32)


SAMPLE = 5000
"""Number of stories that a tokenizer is trained on."""
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


WORDS = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Matches the words, numbers, signs and spaces of texts in any language."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, words: str = PIECE.pattern) -> Tokenizer:
    """Train a byte-level BPE tokenizer, which decodes to any text; token 0 ends a story.

    Args:
        texts: the texts.
        vocab_size: maximum number of tokens.
        words: pattern of what a token never reaches beyond; by default a word of stories.

    Raises:
        ValueError: If the vocabulary is too small for all bytes and the end, or too large for 16
            bits.
    """
    smallest = len(_ALPHABET) + 1
    if not smallest <= vocab_size <= 2**16:
        raise ValueError(f"vocab_size must be from {smallest} to 65536, got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=_ALPHABET,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def story_tokenizer(grammar: Grammar, vocab_size: int = 1024) -> Tokenizer:
    """Return a tokenizer trained on stories of a world; the same world gives the same one."""
    rng = np.random.default_rng([grammar.world.seed, 1])
    return train_tokenizer(sample_stories(grammar, SAMPLE, rng).texts(), vocab_size)
