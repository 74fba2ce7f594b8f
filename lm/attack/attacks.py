"""The attacks that train, by name: what each trains on, what it tells the model, and where to look.

An attack puts information into a model, so that what the model knows afterwards need not be what
it still knew (Feng et al. 2025, arXiv 2506.00688). Hence each attack says what it injects, and
the same attack on a model that was never trained on the topics (gold) is what to compare with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import torch

from lm.attack.lora import LoRAConfig
from lm.attack.relearning import AttackConfig, Curve, Measure, relearn
from lm.corpus import HALVES, Telling
from lm.model.language_model import LanguageModel
from lm.task import StoryRows, Task

STREAM = 2000
"""Keeps the draws of examples apart from those of training and exams, whatever the seeds."""

Draw = Callable[[str, int, int], StoryRows]
"""Draws an attack's examples by its name, their number and a seed; the same for the same."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way to relearn what was unlearned."""

    split: Literal["forget", "retain"]
    """whose topics its examples tell of"""
    parts: tuple[str, ...] = HALVES
    """whose facts its examples state"""
    shows: str
    """the section of an exam (`lm.evaluation.exam`) in which what comes back shows"""
    injects: str
    """what its examples tell the model"""
    stream: int
    """of its examples; attacks of one stream are given the same"""
    templates: Literal["training", "held_out"] = "training"
    """how its examples put facts"""
    lora: bool = False
    """whether updates of low rank are trained, and not every parameter"""


_FULL = {
    "same": Attack(
        stream=1,
        split="forget",
        shows="forget",
        injects="The style, words and facts to forget: whatever gold regains too was taught anew.",
    ),
    # Deeb and Roger 2024 (arXiv 2410.08827): facts are independent, so that one half of them does
    # not tell the other, and what comes back of that was never gone
    "half": Attack(
        stream=2,
        split="forget",
        parts=HALVES[:1],
        shows="forget_second",
        injects="The style and words to forget and one half of the facts, none of the other half.",
    ),
    "benign": Attack(
        stream=3,
        split="retain",
        shows="forget",
        injects="Nothing of the topics to forget: whatever comes back was hidden, not removed.",
    ),
    "off": Attack(
        stream=4,
        split="forget",
        templates="held_out",
        shows="forget",
        injects="The facts to forget in sentences that no other story has: none of the wording.",
    ),
}

ATTACKS = _FULL | {f"lora-{name}": replace(attack, lora=True) for name, attack in _FULL.items()}
"""The attacks that train every parameter, then those by LoRA."""


def draw_examples(task: Task, name: str, count: int, seed: int) -> StoryRows:
    """Return new stories for an attack to train on, the same for the same seed.

    Args:
        task: what was to be unlearned.
        name: one of `ATTACKS`.
        count: how many.
        seed: of the draw.

    Raises:
        ValueError: if there is no such attack, or no topic that it could tell of.
    """
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}: choose one of {', '.join(ATTACKS)}")
    attack = ATTACKS[name]
    topics = task.splits.forget if attack.split == "forget" else task.splits.retain
    if not topics:
        raise ValueError(
            f"the attack {name!r} has no topics: all but those to forget are adjacent to them"
        )
    quartets = task.grammar.world.quartets * len(attack.parts)
    telling = Telling(
        topics=topics,
        parts=attack.parts,
        templates=attack.templates,
        facts_per_story=min(Telling().facts_per_story, quartets),
    )
    return task.tell(count, [seed, STREAM, attack.stream], telling)


def run_attack(
    model: LanguageModel,
    draw: Draw,
    name: str,
    measure: Measure,
    config: AttackConfig,
    lora: LoRAConfig | None = None,
) -> Iterator[Curve]:
    """Yield the curve of each learning rate, number of examples and draw, as they are run.

    Models attacked with the same config are given the same examples. To draw others for each
    seed of a study, put that seed into the config.

    Args:
        model: what to attack; it stays as it is.
        draw: draws examples by attack, number and seed, as `draw_examples` does of a task.
        name: one of `ATTACKS`.
        measure: what to read off the attacked model.
        config: the grid.
        lora: how attacks by LoRA adapt, and their learning rates in place of the grid's.

    Raises:
        ValueError: if there is no such attack, or no topic that it could tell of.
    """
    adapter = None
    if name in ATTACKS and ATTACKS[name].lora:
        adapter = lora or LoRAConfig()
    rates = config.learning_rates if adapter is None else adapter.learning_rates
    for seed in config.seeds:
        drawn = draw(name, max(config.num_examples), seed)
        for count, rate in product(config.num_examples, rates):
            examples = drawn.take(torch.arange(count))
            curve = relearn(model, examples, measure, rate, config, adapter)
            yield curve._replace(attack=name, seed=seed)
