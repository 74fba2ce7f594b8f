"""What the corpus costs: five million labeled tokens, beside plain loops for as many stories.

Run as `python -m tests.benchmarks.corpus`, with one thread. Process time; rounds of all sides
alternate, and their medians count. The loops give less: choices and `str.format` give text without
tokens or labels, and the tokenizer gives tokens without labels of text that is already there.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import tyro
from tokenizers import Tokenizer

from lm.corpus import (
    HALVES,
    Grammar,
    encode,
    make_grammar,
    make_world,
    sample_stories,
    story_tokenizer,
)
from lm.corpus.grammar import slot_words


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How much to draw, and how often."""

    stories: int = 76_000
    """stories a round, about five million tokens"""
    share: int = 20
    """the plain loops go over one story in so many"""
    rounds: int = 5
    """rounds of each side"""


def seconds(draw: Callable[[], object]) -> float:
    """Time one round."""
    start = time.process_time()
    draw()
    return time.process_time() - start


def plain_stories(grammar: Grammar, count: int) -> list[str]:
    """Draw stories of the same grammar as text, one choice at a time."""
    rng = random.Random(0)
    world, lexicon = grammar.world, grammar.world.lexicon
    relations = list(lexicon.relations.values())
    entities = world.quartet_entities(world.topics, HALVES).tolist()
    texts = []
    for _ in range(count):
        number = rng.randrange(len(world.topics))
        slots = slot_words(grammar, world.topics[number])
        words = {slot: rng.choice(of) for slot, of in slots.items()}
        words["friend"] = rng.choice([name for name in lexicon.names if name != words["name"]])
        sentences = [rng.choice(group).format(**words) for group in lexicon.before]
        for quartet in rng.sample(entities[number], 2):
            entity, relation = rng.choice(quartet), rng.randrange(len(relations))
            value = relations[relation].values[world.values[entity, relation]]
            form = rng.choice(relations[relation].templates)
            sentences.append(form.format(entity=world.entities[entity], value=value))
        sentences += [rng.choice(group).format(**words) for group in lexicon.after]
        texts.append(" ".join(sentences))
    return texts


def measure(benchmark: Benchmark, grammar: Grammar, tokenizer: Tokenizer) -> None:
    """Time all sides in turn, and print tokens a second and the ratios of the times."""
    drawn = sample_stories(grammar, benchmark.stories, np.random.default_rng(0))
    num_tokens = len(encode(drawn, tokenizer))
    count = benchmark.stories // benchmark.share
    texts = plain_stories(grammar, count)
    sides: dict[str, tuple[Callable[[], object], int]] = {
        "tokens and labels": (
            lambda: encode(
                sample_stories(grammar, benchmark.stories, np.random.default_rng(0)), tokenizer
            ),
            1,
        ),
        "str.format loop, text only": (
            lambda: plain_stories(grammar, count),
            benchmark.share,
        ),
        "tokenizer loop, tokens only": (
            lambda: [tokenizer.encode(text).ids for text in texts],
            benchmark.share,
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(benchmark.rounds):
        for name, (draw, scale) in sides.items():
            taken[name].append(seconds(draw) * scale)
    times = {name: median(rounds) for name, rounds in taken.items()}
    ours = times["tokens and labels"]
    for name, time_taken in times.items():
        print(
            f"{name}: {time_taken:.2f} s for {num_tokens:,} tokens, "
            f"{num_tokens / time_taken:,.0f} tokens/s, "
            f"ratio of times to ours {time_taken / ours:.2f}"
        )


def main() -> None:
    """Build the default world and its tokenizer, then measure."""
    grammar = make_grammar(make_world())
    measure(tyro.cli(Benchmark), grammar, story_tokenizer(grammar))


if __name__ == "__main__":
    main()
