"""Stories as tokens, each with its labels: a table look-up of every piece's tokens.

A byte-level BPE tokenizer trained on stories, and kept in a file.

It never merges across pieces (see `templates.py`), so a text's tokens are its pieces' tokens.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.corpus.grammar import END, PIECE, Grammar
from lm.corpus.stories import Stories, sample_stories
from oversight.runs.folder import replace_file


@dataclass(frozen=True, eq=False)
class Tokens:
    """T tokens of N stories in a row, the end of each included."""

    ids: NDArray[np.uint32]
    """[T] token ids"""
    kinds: NDArray[np.uint8]
    """[T] what each token's word is for, a `Kind`"""
    facts: NDArray[np.int32]
    """[T] the fact whose entity or value a token is of, else -1"""
    nats: NDArray[np.float32]
    """[T] the least loss; a word's is on its first token, so sums over whole words are right"""
    starts: NDArray[np.int64]
    """[N + 1] where stories begin, and where the last ends"""
    topics: NDArray[np.int64]
    """[N] numbers of the world's topics"""

    def __len__(self) -> int:
        return len(self.ids)

    def of_story(self, labels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return labels of stories as labels of their tokens.

        Raises:
            ValueError: If there is not one label for each story.
        """
        if np.shape(labels) != self.topics.shape:
            raise ValueError(
                f"give one label for each of {len(self.topics)} stories, "
                f"got shape {np.shape(labels)}"
            )
        return np.repeat(labels, np.diff(self.starts))

    def state(self, facts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which tokens state some facts: those of their entities and values.

        Raises:
            ValueError: If no fact is given, or a number below 0.
        """
        if np.size(facts) == 0:
            raise ValueError("give one or more facts to label, got none")
        if np.min(facts) < 0:
            raise ValueError(f"facts are numbered from 0 up, got {np.min(facts)}")
        table = np.zeros(max(int(np.max(facts)), int(self.facts.max(initial=0))) + 2, bool)
        table[np.asarray(facts)] = True
        return table[self.facts]  # the last entry, at -1, stays False


def encode(stories: Stories, tokenizer: Tokenizer, end: int = 0) -> Tokens:
    """Return the tokens of stories, the same as tokenizing their texts, and their labels.

    Args:
        stories: to encode.
        tokenizer: one that never merges across pieces, such as any that splits at words.
        end: the token that ends a story.
    """
    lengths, table = _piece_tokens(stories.grammar, tokenizer, end)
    firsts = np.cumsum(lengths) - lengths
    counts = lengths[stories.pieces]
    stops = np.cumsum(counts)
    # Each token's place in the table: its piece's first, and on from there.
    shift = firsts[stories.pieces] - (stops - counts)
    places = np.arange(stops[-1], dtype=np.int32) + np.repeat(shift.astype(np.int32), counts)
    nats = np.zeros(stops[-1], np.float32)
    nats[stops - counts] = stories.nats
    return Tokens(
        ids=table[places],
        kinds=np.repeat(stories.kinds, counts),
        facts=np.repeat(stories.facts, counts),
        nats=nats,
        starts=np.concatenate([[0], stops])[stories.starts],
        topics=stories.topics,
    )


def _piece_tokens(
    grammar: Grammar, tokenizer: Tokenizer, end: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the number of tokens of each piece, and all their tokens in a row."""
    encoded = tokenizer.encode_batch(list(grammar.pieces), add_special_tokens=False)
    rows: Sequence[list[int]] = [
        [end] if piece == END else encoding.ids
        for piece, encoding in zip(grammar.pieces, encoded, strict=True)
    ]
    return np.array([len(row) for row in rows]), np.concatenate(rows).astype(np.uint32)


def story_ids(tokens: Tokens) -> Iterator[NDArray[np.uint32]]:
    """Yield the token ids of each story."""
    for start, stop in zip(tokens.starts[:-1], tokens.starts[1:], strict=True):
        yield tokens.ids[start:stop]


SAMPLE = 5000
"""Stories that a tokenizer is trained on."""
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
_FORMAT = 1


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a tokenizer that gives back any text; token 0 ends a story.

    Raises:
        ValueError: If there is no room for every byte and the end, or for 16-bit ids.
    """
    smallest = len(_ALPHABET) + 1
    if not smallest <= vocab_size <= 2**16:
        raise ValueError(f"vocab_size must be from {smallest} to 65536, got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE.pattern), behavior="isolated"),
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
    """Train a tokenizer on a world's stories; the same world gives the same one."""
    rng = np.random.default_rng([grammar.world.seed, 1])
    return train_tokenizer(sample_stories(grammar, SAMPLE, rng).texts(), vocab_size)


def cached_tokenizer(folder: Path, grammar: Grammar, vocab_size: int = 1024) -> Tokenizer:
    """Return the tokenizer of a world from its file in a folder, which is written if missing.

    The file's name holds a digest of all the tokenizer depends on. It is written whole or not at
    all, also where two runs write it at once.

    Raises:
        ValueError: If the file is corrupt, or the folder cannot be written to.
    """
    path = folder / f"bpe-{vocab_size}-{_digest(grammar)}.json"
    if path.exists():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:
            raise ValueError(f"{path} holds no tokenizer ({error}); delete it") from error
    tokenizer = story_tokenizer(grammar, vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, tokenizer.to_str().encode())
    return tokenizer


def _digest(grammar: Grammar) -> str:
    world = grammar.world
    data = [_FORMAT, SAMPLE, world.seed, world.quartets, asdict(world.lexicon)]
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]
