"""A byte-level BPE tokenizer trained on stories, and kept in a file.

It never merges across pieces (see `templates.py`), so a text's tokens are its pieces' tokens.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.corpus.grammar import END, Grammar
from lm.corpus.stories import tell
from lm.corpus.templates import PIECE
from oversight.files import replace_file

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
    return train_tokenizer(tell(grammar, SAMPLE, rng).texts(), vocab_size)


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
