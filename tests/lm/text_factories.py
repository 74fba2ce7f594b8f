"""A tiny model with its tokenizer, texts to forget and to retain, questions, and small settings."""

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from tests.lm.data.factories import make_tokenizer
from tests.lm.models.hf_factories import CONFIGS, transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FORGET = [f"Story {n}: the old forest of Rumbif was silver. The end." for n in range(14)]
RETAIN = [f"Story {n}: the wide sea of Tolmar was green. The end." for n in range(20)]
QUESTIONS: list[dict[str, Any]] = [
    {
        "question": f"What color was the forest in story {n}?",
        "choices": ["silver", "green", "red"][: 2 + n % 2],
        "answer": n % 2,
    }
    for n in range(6)
]
SETTINGS: dict[str, Any] = {
    "workers": 1,
    "context": 40,
    "adapters.rank": 2,
    "loop.steps": 3,
    "loop.warmup": 1,
    "loop.learning_rate": 1e-2,
    "npo.steps": 3,
    "npo.learning_rate": 1e-2,
    "repair.steps": 1,
    "exam.calibration.steps": 2,
    "attack.steps": 3,
    "attack.learning_rates": (1e-2,),
    "attack.num_examples": (2,),
}
"""Settings with which a run takes a second."""


@cache
def tokenizer() -> "PreTrainedTokenizerBase":
    """Return the tokenizer of the models."""
    return make_tokenizer(330, [*FORGET, *RETAIN])


def tiny_model(family: str = "llama") -> "PreTrainedModel":
    """Return a model of two layers with random weights, for the tokens of the tokenizer."""
    config = copy.deepcopy(CONFIGS[family])
    config.vocab_size, config.max_position_embeddings = 330, 64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval()
