"""Relearning: train an unlearned model on a few stories, and measure what comes back by which step.

An attack injects information into a model, so that what the model knows afterwards need not be what
it still knew (Feng et al. 2025, arXiv 2506.00688). Hence each attack states what it injects, and is
compared with the same attack on gold, a model that was never trained on the topics.

The attacker has the weights. Every parameter trains, without routes, on all examples in each step,
as Cloud et al. 2024 (arXiv 2410.04332, appendix C) attack; or only low-rank updates train. Only the
examples are drawn at random, so that the same model and examples give the same bits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW

from lm.attacks.config import AttackConfig, LoRAConfig
from lm.attacks.lora import adapt
from lm.corpus import HALVES, StoryDistribution
from lm.data.task import StoryRows, Task
from lm.models.language_model import LanguageModel
from lm.training.loop import precision
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing

Measure = Callable[[LanguageModel], Mapping[str, float]]
"""Measures figures of a model by name, without changing it."""


class Curve(NamedTuple):
    """What an attack on a model brought back by which step."""

    attack: str
    """Name of the attack."""
    learning_rate: float
    num_examples: int
    steps: tuple[int, ...]
    """Steps after which the model was measured; 0 is the model before the attack."""
    values: dict[str, tuple[float, ...]]
    """The measured figures by name, at each of the steps."""
    seed: int = 0
    """Seed of the examples."""


def relearn(
    model: LanguageModel,
    examples: StoryRows,
    measure: Measure,
    learning_rate: float,
    config: AttackConfig,
    lora: LoRAConfig | None = None,
) -> Curve:
    """Train a copy of a model on all examples in each step, and measure it along the way.

    Without `lora`, every parameter trains; with it, low-rank updates do. The learning rate is
    constant.

    Raises:
        ValueError: if there is no example.
    """
    attacked = model.copied()
    trained = list(attacked.parameters()) if lora is None else adapt(attacked, lora)
    optimizer = AdamW(trained, learning_rate, config.betas, weight_decay=config.weight_decay)
    inputs, targets = (part.to(attacked.device) for part in _batch(examples))
    table, route = UNROUTED.to(inputs.device), torch.full_like(inputs, RETAIN)
    measured = [measure(attacked)]
    for step in range(1, config.steps + 1):
        optimizer.zero_grad()
        with routing(attacked, table, route):
            with precision(inputs.device):
                loss = attacked.loss(inputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step in config.measured:
            measured.append(measure(attacked))
    values = {name: tuple(float(each[name]) for each in measured) for name in measured[0]}
    return Curve("relearning", learning_rate, len(examples), config.measured, values)


def _batch(examples: StoryRows) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, without columns of padding only."""
    if not len(examples):
        raise ValueError("no stories were given to relearn from: give 1 or more")
    length = int((examples.kinds >= 0).any(0).sum())
    return examples.inputs[:, :length], examples.targets[:, :length]


STREAM = 2000
"""Separates the random numbers of examples from those of training and exams."""

Draw = Callable[[str, int, int], StoryRows]
"""Maps the name of an attack, a number of examples and a seed to the examples."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way to relearn what was unlearned."""

    split: Literal["forget", "retain"]
    """Split whose topics the examples are about."""
    parts: tuple[str, ...] = HALVES
    """Parts whose facts the examples state."""
    shows: str
    """Section of an exam (`lm.evaluation.exam`) in which returning knowledge is measured."""
    injects: str
    """What the examples teach the model."""
    stream: int
    """Random stream of the examples; attacks with the same stream get the same examples."""
    templates: Literal["training", "held_out"] = "training"
    """Templates of the facts in the examples."""
    lora: bool = False
    """Whether only low-rank updates are trained."""


_FULL = {
    "same": Attack(
        stream=1,
        split="forget",
        shows="forget",
        injects="The style, words and facts to forget: what gold gains as well was taught anew.",
    ),
    # Deeb and Roger 2024 (arXiv 2410.08827): facts are independent, so that one half reveals
    # nothing about the other, and what returns of the other half was not removed
    "half": Attack(
        stream=2,
        split="forget",
        parts=HALVES[:1],
        shows="forget_second",
        injects="The style and words to forget and one half of the facts, not the other half.",
    ),
    "benign": Attack(
        stream=3,
        split="retain",
        shows="forget",
        injects="Nothing about the topics to forget: what returns was suppressed, not removed.",
    ),
    "off": Attack(
        stream=4,
        split="forget",
        templates="held_out",
        shows="forget",
        injects="The facts to forget in sentences that no other story has, not the wording.",
    ),
}

ATTACKS = _FULL | {f"lora-{name}": replace(attack, lora=True) for name, attack in _FULL.items()}
"""The attacks that train every parameter, then their LoRA versions."""


def draw_examples(task: Task, name: str, count: int, seed: int) -> StoryRows:
    """Sample stories for an attack to train on, the same for the same seed.

    Raises:
        ValueError: if there is no such attack, or the task has no topic for it.
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
    distribution = StoryDistribution(
        topics=topics,
        parts=attack.parts,
        templates=attack.templates,
        facts_per_story=min(StoryDistribution().facts_per_story, quartets),
    )
    return task.sample(count, [seed, STREAM, attack.stream], distribution)


def run_attack(
    model: LanguageModel,
    draw: Draw,
    name: str,
    measure: Measure,
    config: AttackConfig,
    lora: LoRAConfig | None = None,
) -> Iterator[Curve]:
    """Yield the curve of each learning rate, number of examples and seed of the examples.

    Models that are attacked with the same config get the same examples. To draw others for each
    seed of a study, put that seed into the config.

    LoRA attacks have the learning rates of `lora` instead of those of the grid.

    Raises:
        ValueError: if there is no such attack, or the task has no topic for it.
    """
    adapter = (lora or LoRAConfig()) if name in ATTACKS and ATTACKS[name].lora else None
    rates = config.learning_rates if adapter is None else adapter.learning_rates
    for seed in config.seeds:
        drawn = draw(name, max(config.num_examples), seed)
        for count, rate in product(config.num_examples, rates):
            examples = drawn.take(torch.arange(count))
            curve = relearn(model, examples, measure, rate, config, adapter)
            yield curve._replace(attack=name, seed=seed)
