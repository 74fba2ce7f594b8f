"""Random questions, a small tokenizer and tiny random models, equal on every machine."""

import random
from typing import TYPE_CHECKING, Any

import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, processors

transformers = pytest.importorskip("transformers")

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONTEXT = 192
SUBJECT = "small_animals"
MERGES = (
    "\u0120 A,\u0120 B,\u0120 C,\u0120 D,\u0120 \u0120,\u010a \u010a,h e,\u0120 t,\u0120t he,i n,"
    "in g,A n,s w,e r,sw er,An swer,Q u,o n,q u,e s,t i,o r,\u0120 f,\u0120f or,\u0120 s,r e,"
    "ti on,a t,. \u0120,o w,\u0120 w"
)
WORDS = [
    *("the", "for", "water", "answer", "ring", "swer", "tion", "C", "A:", "(B)", "question"),
    *("na\u00efve", "\u00e9t\u00e9", "\u4e2d\u6587", "\U0001f642", "\u03b2-carotene", "\u00bd"),
    *("1,024", "3.5%", "don't", "re-read", "", "'quoted'", "{{x}}", "\\n", "A.", "B."),
]


def random_questions(count: int, seed: int = 0, subject: str = SUBJECT) -> list[dict[str, Any]]:
    """Return questions of various lengths, some with equal choices or unusual spaces."""
    draw = random.Random(seed)
    return [_question(draw, subject) for _ in range(count)]


def _question(draw: random.Random, subject: str) -> dict[str, Any]:
    space = draw.choice(["", "", " ", "\n", "\u00a0 "])
    start = "" if subject else draw.choice(["", "<s>", "<|endoftext|>"])
    text = start + space + _words(draw, draw.choice([1, 4, 12, 40])) + draw.choice(["", "?", "  "])
    choices = [_words(draw, draw.choice([1, 1, 2, 9])) for _ in range(4)]
    if draw.random() < 0.2:
        choices[draw.randrange(4)] = choices[draw.randrange(4)]
    if draw.random() < 0.2:
        choices[draw.randrange(4)] = draw.choice([" led", "trailed ", " ", "\n", "two  "])
    answer = draw.randrange(4)
    return {"question": text, "choices": choices, "answer": answer, "subject": subject}


def _words(draw: random.Random, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count)) or "x"


def small_tokenizer(begins: bool) -> "PreTrainedTokenizerBase":
    """Return a byte-level BPE tokenizer, which adds a beginning token if `begins`."""
    merges = [(first, second) for first, second in (each.split(" ") for each in MERGES.split(","))]
    special = ["<s>", "</s>"] if begins else ["<|endoftext|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*special, *alphabet, *(first + second for first, second in merges)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    fast = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = tokenizers.decoders.ByteLevel()
    if begins:
        fast.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token=special[0], eos_token=special[-1]
    )


FAMILIES = ("llama", "gpt_neo")
"""The tokenizer of the first adds a beginning token, that of the second does not."""


def random_plain_model(family: str, dtype: torch.dtype = torch.float64) -> "PreTrainedModel":
    """Return a tiny model whose parameters are all large and random."""
    sizes = {"vocab_size": 300, "hidden_size": 16, "max_position_embeddings": CONTEXT}
    if family == "llama":
        config = transformers.LlamaConfig(
            **sizes, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
    else:
        local = [[["global", "local"], 1]]
        config = transformers.GPTNeoConfig(
            **sizes,
            eos_token_id=0,
            num_layers=2,
            num_heads=2,
            attention_types=local,
            window_size=24,
            bos_token_id=0,
        )
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.float64)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.4 * drawn)
    return model.eval().to(dtype)
