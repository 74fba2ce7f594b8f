"""Inputs of the cases of language models: documents, questions, and tiny pretrained models."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
TOPICS = ("forest", "sea", "virus", "cell", "tree", "river")
VALUES = ("red", "blue", "green", "small", "old", "warm", "deep", "quiet")
GROUPED = {
    **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1},
    "intermediate_size": 24,
}
GLOBAL_AND_LOCAL = {"attention_types": [[["global", "local"], 1]], "window_size": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neo": (
        "GPTNeoConfig",
        {
            **{"num_layers": 2, "num_heads": 2, "bos_token_id": 0, "eos_token_id": 0},
            **GLOBAL_AND_LOCAL,
        },
    ),
    "llama": (
        "LlamaConfig",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    ),
    "qwen2": ("Qwen2Config", {**GROUPED, "tie_word_embeddings": True}),
}
"""From a family of Hugging Face to the class and the arguments of its configuration."""


def write_documents(path: Path, count: int = 320) -> Path:
    """Write documents with all that labelers read: a topic, a score and an id."""
    draw = random.Random(0)
    lines = []
    for number in range(count):
        topic = TOPICS[number % len(TOPICS)]
        sentences = " ".join(
            f"The {topic} was {draw.choice(VALUES)} and {draw.choice(VALUES)}."
            for _ in range(draw.randint(1, 4))
        )
        text = f"Story {number}. {sentences}"
        score = draw.randrange(101) / 100
        lines.append(json.dumps({"text": text, "topic": topic, "score": score, "id": f"d{number}"}))
    return write_lines(path, lines)


def write_labels(path: Path, count: int = 320) -> Path:
    """Write a label for each document, one in a line."""
    draw = random.Random(1)
    return write_lines(path, (draw.choice(("forget", "retain")) for _ in range(count)))


def write_questions(path: Path, count: int = 24) -> Path:
    """Write multiple-choice questions of two subjects, with texts of several lengths."""
    draw = random.Random(2)
    records = (
        {
            "question": f"Which {draw.choice(TOPICS)} was {' '.join(draw.choices(VALUES, k=n))}?",
            "choices": [" ".join(draw.sample(VALUES, draw.randint(1, 3))) for _ in range(4)],
            "answer": draw.randrange(4),
            "subject": ("biology", "geography")[n % 2],
        }
        for n in range(1, count + 1)
    )
    return write_lines(path, map(json.dumps, records))


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write lines to a file, and return its path."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def document_tokenizer(documents: Path) -> Tokenizer:
    """Return a byte-level tokenizer for which the words of the documents are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (json.loads(line)["text"] for line in documents.read_text().splitlines())
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_model(family: str, tokenizer: Tokenizer, end: str, folder: Path) -> Path:
    """Save a tiny model of a Hugging Face family with random weights, and its tokenizer."""
    name, options = FAMILIES[family]
    sizes = {"vocab_size": 512, "hidden_size": 16, "max_position_embeddings": 192}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, name)(**sizes, **options)
        model = transformers.AutoModelForCausalLM.from_config(config)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end)
    fast.save_pretrained(folder)
    return folder
