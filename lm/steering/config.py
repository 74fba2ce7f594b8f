"""The settings of a study of steering: the concept, the models, and how they are steered."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from lm.models.shapes import size
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from oversight.runs.settings import (
    SEED,
    UNIT,
    require_distinct,
    require_number,
    require_numbers,
)

NO_PREFIX = tyro.conf.arg(name="")
"""Gives the flags of nested settings no prefix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusConfig:
    """Texts to train on and to measure on, and the words of the concept.

    Raises:
        ValueError: if a number is out of its range, or a word is given twice or in both lists.
    """

    concept_words: tuple[str, ...] = ("forest",)
    """Words of the concept; each must be one token of the vocabulary, with or without the space
    before it."""
    related_words: tuple[str, ...] = ()
    """Related words, which are never routed and whose alignment shows absorption. By default, in
    stories, the other nouns of the topics of the concept."""
    texts: tuple[Path, ...] = ()
    """Files or folders of texts that replace the stories, in any format that `python -m lm.prepare`
    reads."""
    text_field: str | None = None
    """Field of a record that holds the text; by default `text`."""
    context: int = 128
    """Number of tokens of a row, the token before it excluded; longer texts become several rows.
    Stories have rows of their own."""
    train_rows: int = 12_800
    """Number of stories to train on; of files of texts, all rows that are not held out."""
    held_out_rows: int = 96
    """Number of rows on which models are measured."""
    choice_rows: int = 32
    """Number of other rows, on which the block of each method is chosen."""
    vocab_size: int = 1024
    """Maximum size of the vocabulary of new models."""
    world_seed: int = 0
    """Seed of the names and facts of stories."""

    def __post_init__(self) -> None:
        require_numbers(self, "train_rows", "held_out_rows", "choice_rows", least=1)
        require_numbers(self, "context", least=2)
        require_distinct(self, "concept_words", *(["related_words"] if self.related_words else []))
        both = sorted(set(self.concept_words) & set(self.related_words))
        if both:
            raise ValueError(
                f"{', '.join(both)} was given as a word of the concept and as a related one: leave "
                "it out of one list"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteConfig:
    """Where in the residual stream the concept is routed.

    Raises:
        ValueError: if a number is out of its range.
    """

    dimension: int = 0
    """Dimension of the residual stream to which the concept is routed."""
    first_block: float = 0.3
    """First block after which the gradient is masked, as a share of the depth: block 6 of 20 in
    the paper."""
    last_block: float = 0.9
    """Last such block, as a share of the depth: block 18 of 20 in the paper."""
    weight: float = 16.0
    """Weight of the gradient in this dimension where the next token is of the concept; 1 in the
    paper, where a model sees the concept a thousand times as often."""
    embeddings: bool = True
    """Whether the output embeddings of the concept, too, learn in this dimension alone. In the
    paper they learn in all; in small models they then align with what is there anyway."""

    def __post_init__(self) -> None:
        require_numbers(self, "dimension", least=0)
        require_numbers(self, "weight")
        for name in ("first_block", "last_block"):
            require_number(name, getattr(self, name), UNIT)
        if self.first_block > self.last_block:
            raise ValueError(
                f"first_block {self.first_block} is after last_block {self.last_block}: give a "
                "range of blocks"
            )

    def blocks(self, depth: int) -> range:
        """Return the blocks after which the gradient is masked.

        >>> RouteConfig().blocks(20), RouteConfig().blocks(4)
        (range(6, 19), range(1, 4))
        """
        first, last = (min(int(share * depth), depth - 1) for share in self.shares)
        return range(first, last + 1)

    @property
    def shares(self) -> tuple[float, float]:
        """The first and the last block, as shares of the depth."""
        return self.first_block, self.last_block


COEFFICIENTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.5, 2.5)
"""The default coefficients, in mean norms of the residual stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SteeringConfig:
    """How models are steered and measured.

    Raises:
        ValueError: if a number is out of its range.
    """

    coefficients: tuple[float, ...] = COEFFICIENTS
    """Lengths of the vector that is added, as multiples of the mean norm of the residual stream
    there, ascending."""
    blocks: tuple[int, ...] = ()
    """Blocks after which a vector may be added; each method takes the one that is best on texts of
    its own. By default four, evenly spread, the last included."""
    budgets: tuple[float, ...] = (0.05, 0.1, 0.2)
    """Rises of the loss, in nats per token, at which methods are compared, ascending."""
    pairs: int = 256
    """Maximum number of contrast pairs, and of texts of either kind, that a vector is made of."""
    samples: int = 32
    """Number of texts that are sampled of each steered model; 0 samples none."""
    sample_length: int = 48
    """Number of tokens of a sampled text."""
    sample_budget: float = 0.1
    """Rise of the loss, in nats per token, up to which a method is steered for its samples."""

    def __post_init__(self) -> None:
        require_distinct(self, "coefficients", "budgets")
        require_numbers(self, "coefficients", "budgets", "sample_budget")
        require_numbers(self, "pairs", "sample_length", least=1)
        require_numbers(self, "samples", "blocks", least=0)
        for name in ("coefficients", "budgets"):
            if list(getattr(self, name)) != sorted(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)} were given: give them ascending")

    def candidates(self, depth: int) -> tuple[int, ...]:
        """Return the blocks after which a vector may be added.

        Raises:
            ValueError: if the model has no such block.

        >>> SteeringConfig().candidates(4), SteeringConfig().candidates(30)
        ((0, 1, 2, 3), (6, 14, 21, 29))
        """
        if any(block >= depth for block in self.blocks):
            raise ValueError(
                f"steering.blocks {self.blocks} were given to a model of {depth} blocks: give "
                f"numbers from 0 to {depth - 1}"
            )
        quarters = (max(0, depth * k // 4 - 1) for k in range(1, 5))
        return self.blocks or tuple(dict.fromkeys(quarters))


def _default_loop() -> LoopConfig:
    return LoopConfig(steps=400)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The settings of a run, except for its seed and whether its model is routed.

    Raises:
        ValueError: if the size is unknown, or a number is out of its range.
    """

    corpus: Annotated[CorpusConfig, NO_PREFIX] = field(default_factory=CorpusConfig)
    """The texts and the concept."""
    model: str | None = None
    """Name or folder of a pretrained model to train further; by default, models are new."""
    gguf_file: str | None = None
    """File of the pretrained model, if its weights are in GGUF format."""
    size: str = "nano"
    """Shape of new models: nano, small, medium, large, tinystories-8m or others."""
    batch_size: int = 8
    """Number of rows in a batch."""
    route: RouteConfig = field(default_factory=RouteConfig)
    """Where the concept is routed."""
    loop: LoopConfig = field(default_factory=_default_loop)
    """Settings of training."""
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    """Settings of steering."""

    def __post_init__(self) -> None:
        size(self.size)  # refuses unknown names
        require_numbers(self, "batch_size", least=1)
        if self.gguf_file is not None and self.model is None:
            raise ValueError(
                f"gguf_file {self.gguf_file} was given without a model: name its folder"
            )
        if self.loop.scale != ScaleConfig():
            raise ValueError(
                "loop.scale was given: models to steer are trained in one process each, so leave "
                "it out"
            )
        if self.loop.audit:
            raise ValueError(
                "--loop.audit was given: models to steer have no modules whose gradients could be "
                "compared, so leave it out"
            )


MAY_CHANGE = {"seeds", "workers", "run_dir"}
"""Settings that a resumed study may change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """Route a concept to one dimension of a language model, and steer the model by it.

    Raises:
        ValueError: if a number is out of its range.
    """

    seeds: tuple[int, ...] = (0,)
    """Seeds; each trains a routed model and an unrouted one."""
    workers: int | None = None
    """Number of runs at a time, each with one thread; by default one per core."""
    run_dir: Path | None = None
    """Folder of the study; by default the next free one under runs/steer."""
    run: Annotated[RunConfig, NO_PREFIX] = field(default_factory=RunConfig)
    """The settings that all runs share."""

    def __post_init__(self) -> None:
        require_distinct(self, "seeds")
        for seed in self.seeds:
            require_number("seeds", seed, SEED)
        require_numbers(self, "workers", least=1)
