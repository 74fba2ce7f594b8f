"""The attacks that train, by name: what each trains on, what it tells the model, and where to look.

An attack puts information into a model, so that what the model knows afterwards need not be what
it still knew (Feng et al. 2025, arXiv 2506.00688). Hence each attack says what it injects, and
the same attack on a model that was never trained on the topics (gold) is what to compare with.

Relearning: train a model on a few stories, and note what came back by which step.

The attacker has the weights and nothing else: every parameter trains, without routes, on all
examples in each step, as Cloud et al. 2024 (arXiv 2410.04332, appendix C) attack; or only updates
of low rank do. Nothing is drawn but these, so that the same model and examples give the same bits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW

from lm.attacks.lora import LoRAConfig, adapt
from lm.corpus import HALVES, StoryDistribution
from lm.data.task import StoryRows, Task
from lm.models.language_model import LanguageModel
from lm.training.loop import precision
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing

Measure = Callable[[LanguageModel], Mapping[str, float]]
"""Reads figures off a model, by name, and leaves it as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackConfig:
    """How an attacker relearns: each learning rate with each number of examples.

    Raises:
        ValueError: if a number is out of its range, or a list is empty or repeats itself.
    """

    learning_rates: tuple[float, ...] = (5e-4, 2e-3)
    """step sizes of AdamW"""
    num_examples: tuple[int, ...] = (8, 32)
    """stories to train on; the fewer are the first of the more"""
    steps: int = 20
    """steps of an attack, the attacker's budget"""
    evaluate_at: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40)
    """steps after which to measure, and after the last; those beyond the budget are left out"""
    seeds: tuple[int, ...] = (0,)
    """draws of examples, over which curves are averaged"""
    betas: tuple[float, float] = (0.9, 0.95)
    """decay of AdamW's two averages"""
    weight_decay: float = 0.0
    """decay of all parameters"""

    def __post_init__(self) -> None:
        for name in ("learning_rates", "num_examples", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} {values} were given: give one or more, each once")
        positive = (*self.learning_rates, *self.num_examples, self.steps)
        if not all(value > 0 for value in positive) or min(self.seeds) < 0:
            raise ValueError(
                f"learning_rates {self.learning_rates}, num_examples {self.num_examples}, steps "
                f"{self.steps}, seeds {self.seeds} were given: all must be positive, seeds may be 0"
            )
        steps = self.evaluate_at
        if steps[:1] != (0,) or steps != tuple(sorted(set(steps))):
            raise ValueError(
                f"evaluate_at {steps} was given: begin with 0, the model as given, and ascend"
            )

    @property
    def measured(self) -> tuple[int, ...]:
        """The steps after which is measured: those of `evaluate_at` in the budget, and its end.

        >>> AttackConfig(steps=8).measured
        (0, 1, 2, 5, 8)
        """
        return (*(step for step in self.evaluate_at if step < self.steps), self.steps)


class Curve(NamedTuple):
    """What an attack brought back by which step."""

    attack: str
    """its name"""
    learning_rate: float
    num_examples: int
    steps: tuple[int, ...]
    """when it was measured; 0 is the model as given"""
    values: dict[str, tuple[float, ...]]
    """what was measured, by name, at each of the steps"""
    seed: int = 0
    """of the draw of examples"""


def relearn(
    model: LanguageModel,
    examples: StoryRows,
    measure: Measure,
    learning_rate: float,
    config: AttackConfig,
    lora: LoRAConfig | None = None,
) -> Curve:
    """Train a copy of a model on examples, all of them in each step, and measure on the way.

    Args:
        model: what to attack, on the device where it is; it stays as it is.
        examples: stories to train on.
        measure: what to read off the attacked model.
        learning_rate: step size of AdamW, the same at each step.
        config: the budget, when to measure, and AdamW's other settings.
        lora: how to adapt, where not every parameter is to train.

    Raises:
        ValueError: if there is no example.
    """
    attacked = model.copied()
    trained = list(attacked.parameters()) if lora is None else adapt(attacked, lora)
    optimizer = AdamW(trained, learning_rate, config.betas, weight_decay=config.weight_decay)
    inputs, targets = (part.to(attacked.device) for part in _batch(examples))
    table, route = (
        UNROUTED.to(inputs.device),
        torch.full_like(inputs, RETAIN),
    )  # all teaches everything
    noted = [measure(attacked)]
    for step in range(1, config.steps + 1):
        optimizer.zero_grad()
        with routing(attacked, table, route):
            with precision(inputs.device):
                loss = attacked.loss(inputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step in config.measured:
            noted.append(measure(attacked))
    values = {name: tuple(float(each[name]) for each in noted) for name in noted[0]}
    return Curve("relearning", learning_rate, len(examples), config.measured, values)


def _batch(examples: StoryRows) -> tuple[Tensor, Tensor]:
    """Return the tokens to read and to predict, without the columns that only fill rows up."""
    if not len(examples):
        raise ValueError("no stories were given to relearn from: give 1 or more")
    length = int((examples.kinds >= 0).any(0).sum())
    return examples.inputs[:, :length], examples.targets[:, :length]


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
