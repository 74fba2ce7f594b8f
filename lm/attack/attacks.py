"""The attacks by name: what each trains on, what it tells the model, and where to look.

An attack puts information into a model, so that what the model knows afterwards need not be what
it still knew (Feng et al. 2025, arXiv 2506.00688). Hence each attack says what it injects, and
the same attack on a model that was never trained on the topics (gold) is what to compare with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch

from lm.attack.relearning import AttackConfig, Curve, Measure, relearn
from lm.corpus import HALVES, Telling
from lm.model.language_model import LanguageModel
from lm.task import StoryRows, Task

STREAM = 2000
"""Keeps the draws of examples apart from those of training and exams, whatever the seeds."""


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


ATTACKS = {
    "same": Attack(
        split="forget",
        shows="forget",
        injects="The style, words and facts to forget: whatever gold regains too was taught anew.",
    ),
    # Deeb and Roger 2024 (arXiv 2410.08827): facts are independent, so that one half of them does
    # not tell the other, and what comes back of that was never gone
    "half": Attack(
        split="forget",
        parts=HALVES[:1],
        shows="forget_second",
        injects="The style and words to forget and one half of the facts, none of the other half.",
    ),
    "benign": Attack(
        split="retain",
        shows="forget",
        injects="Nothing of the topics to forget: whatever comes back was hidden, not removed.",
    ),
}
"""The attacks, the strongest first."""


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
        facts_per_story=min(Telling().facts_per_story, quartets),
    )
    return task.tell(count, [seed, STREAM, 1 + list(ATTACKS).index(name)], telling)


def run_attack(
    model: LanguageModel,
    task: Task,
    name: str,
    measure: Measure,
    config: AttackConfig,
) -> Iterator[Curve]:
    """Yield the curve of each learning rate, number of examples and draw, as they are run.

    Models attacked with the same config are given the same examples. To draw others for each
    seed of a study, put that seed into the config.

    Args:
        model: what to attack; it stays as it is.
        task: what was to be unlearned.
        name: one of `ATTACKS`.
        measure: what to read off the attacked model.
        config: the grid.

    Raises:
        ValueError: if there is no such attack, or no topic that it could tell of.
    """
    for seed in config.seeds:
        drawn = draw_examples(task, name, max(config.num_examples), seed)
        for count, rate in product(config.num_examples, config.learning_rates):
            curve = relearn(model, drawn.take(torch.arange(count)), measure, rate, config)
            yield curve._replace(attack=name, seed=seed)
