"""What a step of training takes: memory by part, operations, and time at a share of a peak.

Weights are in float32 with AdamW, and activations in bfloat16, as the training loop has them on a
GPU. All figures are estimates; we measured none of them.

The shapes of decoders, and how many parameters each has.

Shape letters: V vocabulary, D width, F hidden units, K width of keys, L layers.

What the trainings of a study take, method by method.

The estimate of a study as a table: parameters, memory, tokens, operations and time.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lm.config import StudyConfig
from lm.data.task import CONTEXT
from lm.methods import METHODS, Method
from lm.models.language_model import piece_length
from lm.models.layers import GPTConfig, size
from lm.training.distributed import Parallel

Kind = Literal["gpt", "gpt_neo", "llama", "qwen2"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """All that the number of parameters depends on."""

    kind: Kind
    """how layers are built: ours, or a family of transformers"""
    vocab_size: int
    """tokens of the vocabulary"""
    width: int
    """features of the residual stream"""
    layers: int
    """blocks"""
    hidden: int
    """hidden units of a block"""
    heads: int
    """attention heads that ask"""
    kv_heads: int
    """attention heads that are asked"""
    tied: bool = True
    """whether the embedding is the output head as well"""
    positions: int = 0
    """positions that are embedded; none with rotary ones"""
    units: int = 0
    """hidden units that an expansion adds to each layer"""
    added_embedding: bool = False
    """whether it adds an embedding"""
    rank: int = 0
    """rank of a pair of adapters at each linear map of a block, which else is frozen"""

    @property
    def embedding(self) -> int:
        """Parameters of tokens and positions, and of an output head of its own."""
        return self.vocab_size * self.width * (1 if self.tied else 2) + self.positions * self.width

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear map of a block."""
        d, f, k = self.width, self.hidden, self.width // self.heads * self.kv_heads
        if self.kind == "gpt":
            return [(d, 3 * d), (d, d), (d, f), (f, d)]
        reading = [(d, f)] if self.kind == "gpt_neo" else [(d, f), (d, f)]
        return [(d, d), (d, k), (d, k), (d, d), *reading, (f, d)]

    @property
    def block(self) -> int:
        """Parameters of a block, without what was added."""
        d, f, k = self.width, self.hidden, self.width // self.heads * self.kv_heads
        # biases and gains of norms: none, of all maps but those of queries, keys and values, ...
        rest = {"gpt": 0, "gpt_neo": 6 * d + f, "llama": 2 * d, "qwen2": 3 * d + 2 * k}
        return sum(inputs * outputs for inputs, outputs in self.matrices) + rest[self.kind]

    @property
    def plain(self) -> int:
        """Parameters without what was added."""
        last_norm = {"gpt": 0, "gpt_neo": 2, "llama": 1, "qwen2": 1}[self.kind] * self.width
        return self.embedding + self.layers * self.block + last_norm

    @property
    def added(self) -> int:
        """Parameters of an expansion, or of adapters."""
        gated = self.kind in ("llama", "qwen2")
        biases = self.units if self.kind == "gpt_neo" else 0
        units = self.units * self.width * (3 if gated else 2) + biases
        adapters = 2 * self.rank * sum(inputs + outputs for inputs, outputs in self.matrices)
        embedding = self.vocab_size * self.width if self.added_embedding else 0
        return self.layers * (units + adapters) + embedding

    @property
    def total(self) -> int:
        """All parameters."""
        return self.plain + self.added

    @property
    def trained(self) -> int:
        """Those that train."""
        frozen = self.layers * self.block if self.rank else 0
        return self.total - frozen


def shape_of(config: GPTConfig) -> Shape:
    """Return the shape of one of our models, expanded in all layers or in none.

    >>> shape_of(GPTConfig(vocab_size=50257, width=512, num_layers=8, num_heads=16)).total
    50897408
    """
    return Shape(
        kind="gpt",
        vocab_size=config.vocab_size,
        width=config.width,
        layers=config.num_layers,
        hidden=config.hidden,
        heads=config.num_heads,
        kv_heads=config.num_heads,
        units=config.expansion,
        added_embedding=config.added_embedding,
    )


def _tinystories(width: int) -> Shape:
    return Shape(
        kind="gpt_neo",
        vocab_size=50257,
        width=width,
        layers=8,
        hidden=4 * width,
        heads=16,
        kv_heads=16,
        positions=2048,
    )


_QWEN = Shape(
    kind="qwen2", vocab_size=151_936, width=896, layers=24, hidden=4864, heads=14, kv_heads=2
)
_SMOL = Shape(
    kind="llama", vocab_size=49_152, width=576, layers=30, hidden=1536, heads=9, kv_heads=3
)

PUBLISHED = {
    "Qwen2.5-0.5B": _QWEN,
    "Qwen2.5-0.5B-Instruct": _QWEN,
    "SmolLM2-135M": _SMOL,
    "SmolLM2-135M-Instruct": _SMOL,
    "TinyStories-8M": _tinystories(256),
    "TinyStories-28M": _tinystories(512),
}
"""Shapes of models on the hub, by the last part of their names; from their `config.json`."""


PEAK = 989e12
"""Operations per second of an H100 in bfloat16, of dense matrices, as its maker says."""


class Work(NamedTuple):
    """What a study trains on.

    Attributes:
        steps: batches.
        rows: of a batch, of all GPUs together.
        context: tokens of a row.
    """

    steps: int
    rows: int
    context: int

    @property
    def tokens(self) -> int:
        """Tokens of the whole training."""
        return self.steps * self.rows * self.context


class Spread(NamedTuple):
    """How a batch is spread.

    Attributes:
        parallel: what GPUs share.
        gpus: how many there are.
        accumulate: pieces of a GPU's share of a batch.
        checkpoint_activations: whether blocks are computed again.
    """

    parallel: Parallel = "none"
    gpus: int = 1
    accumulate: int = 1
    checkpoint_activations: bool = False


class Memory(NamedTuple):
    """Bytes that each GPU holds, by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def memory(shape: Shape, work: Work, spread: Spread) -> Memory:
    """Return the bytes that each GPU holds at the peak of a step.

    Weights count the bfloat16 copies that autocast keeps of matrices, and with `fsdp` what is
    gathered at a time: the embedding, and two blocks, since the next one is fetched early.
    Activations are 34 bytes per token, layer and feature (Korthikanti et al. 2022, arXiv
    2205.05198, section 4.1), less the scores of attention, which are not kept.
    """
    sharing = spread.gpus if spread.parallel == "fsdp" else 1
    share = -(-shape.total // sharing)
    gathered = 0 if sharing == 1 else 4 * (shape.embedding + 2 * shape.block)
    trained = -(-shape.trained // sharing)
    rows = -(-work.rows // (spread.gpus * spread.accumulate))
    features = rows * work.context * shape.width
    kept = 34 * features * shape.layers
    if spread.checkpoint_activations:
        kept = (2 * shape.layers + 34) * features
    piece = rows * min(work.context, piece_length(rows, work.context, shape.vocab_size))
    # in bfloat16 and float32 each: logits or their logarithms, and gradients
    logits = 12 * piece * shape.vocab_size
    weights = 4 * share + gathered + 2 * shape.total
    return Memory(weights, 4 * trained, 8 * trained, kept, logits)


def operations(shape: Shape, context: int) -> int:
    """Return the floating-point operations that a token takes, forward and backward.

    6 for each parameter that multiplies, and 12 for each layer, feature and position that attention
    reads (Chowdhery et al. 2022, arXiv 2204.02311, appendix B). Embeddings only look up.
    """
    looked_up = shape.positions * shape.width
    looked_up += 0 if shape.tied else shape.vocab_size * shape.width
    looked_up += shape.vocab_size * shape.width if shape.added_embedding else 0
    return 6 * (shape.total - looked_up) + 12 * shape.layers * shape.width * context


def tokens_per_second(shape: Shape, context: int, utilization: float, gpus: int = 1) -> float:
    """Return how fast training is at a share of the peak of its GPUs.

    >>> from lm.dry_run import PUBLISHED
    >>> round(tokens_per_second(PUBLISHED["Qwen2.5-0.5B"], 1024, 0.3))
    91902
    """
    return utilization * PEAK * gpus / operations(shape, context)


GIB = 2**30
UTILIZATIONS = (0.2, 0.3, 0.4)


def estimate_table(title: str, shape: Shape, work: Work, spread: Spread) -> RenderableType:
    """Return what training a model takes, on one GPU and on eight.

    Args:
        title: what is trained.
        shape: of the model.
        work: what it is trained on.
        spread: the settings of a piece; `parallel` and `gpus` are of the table.
    """
    per_token = operations(shape, work.context)
    facts = {
        "parameters": f"{shape.total:,}",
        "of the embedding": f"{shape.embedding:,}",
        "added": f"{shape.added:,}",
        "trained": f"{shape.trained:,}",
        "tokens": f"{work.tokens:,} ({work.steps:,} steps x {work.rows:,} x {work.context:,})",
        "operations per token": f"{per_token:.3g}",
        "operations in all": f"{per_token * work.tokens:.3g}",
    }
    about = Table(title=title, show_header=False, box=None, title_justify="left")
    for what, figure in facts.items():
        about.add_row(what, Text(figure))
    note = (
        f"Estimates; the speed is that at a share of {PEAK / 1e12:.0f} TFLOP/s, the peak of an "
        "H100 in bfloat16, and was not measured."
    )
    return Group(about, "", _memory(shape, work, spread), "", _speed(shape, work), note)


def _memory(shape: Shape, work: Work, spread: Spread) -> Table:
    table = Table("GiB per GPU", *Memory._fields, "total", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    ways = {
        "1 GPU": spread._replace(parallel="none", gpus=1),
        "8 GPUs, ddp": spread._replace(parallel="ddp", gpus=8),
        "8 GPUs, fsdp": spread._replace(parallel="fsdp", gpus=8),
    }
    for name, way in ways.items():
        parts = memory(shape, work, way)
        table.add_row(name, *(f"{part / GIB:.2f}" for part in (*parts, parts.total)))
    return table


def _speed(shape: Shape, work: Work) -> Table:
    table = Table("tokens/s, time", *(f"{share:.0%}" for share in UTILIZATIONS), box=None)
    for gpus in (1, 8):
        speeds = [tokens_per_second(shape, work.context, share, gpus) for share in UTILIZATIONS]
        cells = [f"{s:,.0f}, {timedelta(seconds=round(work.tokens / s))}" for s in speeds]
        table.add_row("1 GPU" if gpus == 1 else f"{gpus} GPUs", *cells)
    return table


def study_estimate(study: StudyConfig, context: int | None = None) -> RenderableType:
    """Return a table for each kind of model that the study trains.

    Args:
        study: its settings.
        context: tokens of a row of documents; by default rows are stories.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    work = Work(study.loop.steps, study.batch_size, context or CONTEXT)
    scale = study.loop.scale
    spread = Spread("none", 1, scale.accumulate, scale.checkpoint_activations)
    kinds: dict[Shape, list[str]] = {}
    for name in study.method:
        kinds.setdefault(method_shape(study, METHODS[name], context), []).append(name)
    tables = [
        estimate_table(", ".join(names), shape, work, spread) for shape, names in kinds.items()
    ]
    return Group(*(part for table in tables for part in (table, "")))


def method_shape(study: StudyConfig, method: Method, context: int | None = None) -> Shape:
    """Return the shape of a method's model; of stories the vocabulary is that of their tokenizer.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    if study.model is None:
        vocab_size = study.task.vocab_size if context is None else None
        plain = shape_of(size(study.size, vocab_size))
    else:
        name = study.model.rstrip("/").rsplit("/", 1)[-1]
        if name not in PUBLISHED:
            raise ValueError(
                f"the shape of {study.model} is not known: estimates can be made of "
                f"{', '.join(PUBLISHED)}"
            )
        plain = PUBLISHED[name]
    if method.adapted:
        return replace(plain, rank=study.adapters.rank)
    embedded = method.embedded and study.model is None
    units = study.expansion if method.expanded else 0
    return replace(plain, units=units, added_embedding=embedded)
