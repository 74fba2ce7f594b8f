"""A tiny corpus and tiny models for the tests of steering."""

import torch

from lm.models.gpt import GPT
from lm.models.language_model import IGNORED
from lm.models.shapes import GPTConfig
from lm.steering.corpus import Concept, Corpus

VOCABULARY = tuple("<end>" if token == 0 else f" w{token}" for token in range(12))
CONCEPT = Concept((3,), {"near": (4, 5)})


def tiny_gpt(seed: int = 0, layers: int = 3) -> GPT:
    """Return an untrained GPT with the vocabulary of the tiny corpus."""
    shape = GPTConfig(
        vocab_size=len(VOCABULARY), width=8, num_layers=layers, num_heads=2, context=9
    )
    return GPT(shape, seed)


def tiny_corpus(seed: int = 0, rows: int = 24) -> Corpus:
    """Return rows of random tokens of different lengths; every other row has the concept."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, len(VOCABULARY), (rows, 10), generator=generator)
    tokens[:, 0] = 0
    tokens[::2, 4] = 3
    tokens[::4, 7] = IGNORED
    tokens[::4, 8:] = IGNORED
    return Corpus(tokens, tokens[:6], tokens[6:14], VOCABULARY, 0, 0, CONCEPT)
