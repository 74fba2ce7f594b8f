"""The settings of all attacks."""

from dataclasses import dataclass, field

from oversight.runs.settings import require_distinct, require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackConfig:
    """The grid of an attack: each learning rate with each number of examples.

    Raises:
        ValueError: if a number is out of its range, or a list is empty or repeats itself.
    """

    learning_rates: tuple[float, ...] = (5e-4, 2e-3)
    """Learning rates of AdamW; each is tried with each number of examples."""
    num_examples: tuple[int, ...] = (8, 32)
    """Numbers of texts to train on; smaller sets are subsets of larger ones."""
    steps: int = 20
    """Number of training steps, which is the attacker's budget."""
    evaluate_at: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40)
    """Steps after which the model is evaluated, in addition to the last; later ones are ignored."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the examples; the curves of all seeds are averaged."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of the two moving averages of AdamW."""
    weight_decay: float = 0.0
    """Weight decay of all parameters."""

    def __post_init__(self) -> None:
        require_distinct(self, "learning_rates", "num_examples", "seeds")
        require_numbers(self, "learning_rates", "num_examples", "steps")
        require_numbers(self, "seeds", least=0)
        steps = self.evaluate_at
        if steps[:1] != (0,) or steps != tuple(sorted(set(steps))):
            raise ValueError(
                f"evaluate_at {steps} was given: begin with 0, the model as given, and ascend"
            )

    @property
    def measured(self) -> tuple[int, ...]:
        """The steps after which to measure: those of `evaluate_at` within the budget, and its end.

        >>> AttackConfig(steps=8).measured
        (0, 1, 2, 5, 8)
        """
        return (*(step for step in self.evaluate_at if step < self.steps), self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoRAConfig:
    """The settings of LoRA attacks.

    Raises:
        ValueError: if a number is out of its range.
    """

    rank: int = 8
    """Rank of each low-rank update."""
    alpha: float = 16.0
    """Each update is scaled by alpha / rank."""
    learning_rates: tuple[float, ...] = (2e-3, 1e-2)
    """Learning rates of AdamW."""

    def __post_init__(self) -> None:
        require_numbers(self, "rank", least=1)
        require_numbers(self, "alpha", "learning_rates")
        require_distinct(self, "learning_rates")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How a probe is fitted and tested.

    Raises:
        ValueError: if a number is out of its range.
    """

    ridge: float = 0.1
    """Weight of the sum of squared weights relative to the mean cross-entropy."""
    rounds: int = 2
    """Number of prompts about each fact, each in another story."""

    def __post_init__(self) -> None:
        require_numbers(self, "ridge")
        require_numbers(self, "rounds", least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class GCGConfig:
    """The settings of GCG.

    Raises:
        ValueError: if a number is below 1.
    """

    tokens: int = 8
    """Length of the adversarial prefix in tokens."""
    steps: int = 20
    """Maximum number of token swaps."""
    candidates: int = 32
    """Number of swaps that are tried at each step."""
    top: int = 64
    """Number of tokens with the best gradients per position, from which swaps are drawn."""

    def __post_init__(self) -> None:
        require_numbers(self, "tokens", "steps", "candidates", "top", least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class GridConfig:
    """The settings of attacks that are only in the full suite.

    Raises:
        ValueError: if a list is empty or repeats itself, or a number is out of its range.
    """

    evaluate_at: tuple[int, ...] = (0, 5)
    """Relearning steps after which the model is evaluated, in addition to the last."""
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """Settings of the LoRA attacks."""
    shots: tuple[int, ...] = (0, 1, 2, 4)
    """Numbers of other facts that few-shot prompts state."""
    bits: tuple[int, ...] = (8, 4)
    """Bit widths of quantized weights."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How linear probes are fitted."""
    gcg: GCGConfig = field(default_factory=GCGConfig)
    """How GCG searches an adversarial prefix."""

    def __post_init__(self) -> None:
        require_distinct(self, "shots", "bits")
        require_numbers(self, "shots", least=0)
        if not 2 <= min(self.bits) <= max(self.bits) <= 16:
            raise ValueError(f"bits {self.bits} were given: give numbers from 2 to 16")
