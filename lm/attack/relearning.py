"""Relearning: train a model on a few stories, and note what came back by which step.

The attacker has the weights and nothing else: every parameter trains, without routes, on all
examples in each step, as Cloud et al. 2024 (arXiv 2410.04332, appendix C) attack; or only updates
of low rank do. Nothing is drawn but these, so that the same model and examples give the same bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW

from lm.attack.lora import LoRAConfig, adapt
from lm.model.language_model import LanguageModel
from lm.task import StoryRows
from lm.training.loop import precision
from lm.training.routes import RETAIN, UNROUTED
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
    now, following = (part.to(attacked.device) for part in _batch(examples))
    table, route = UNROUTED.to(now.device), torch.full_like(now, RETAIN)  # all teaches everything
    noted = [measure(attacked)]
    for step in range(1, config.steps + 1):
        optimizer.zero_grad()
        with routing(attacked, table, route):
            with precision(now.device):
                loss = attacked.loss(now, following)
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
    return examples.now[:, :length], examples.following[:, :length]
