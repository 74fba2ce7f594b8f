"""What a step of training takes: memory by part, operations, and time at a share of a peak.

Weights are in float32 with AdamW, and activations in bfloat16, as the training loop has them on a
GPU. All figures are estimates; we measured none of them.
"""

from typing import NamedTuple

from lm.model.cross_entropy import piece_length
from lm.scale.shapes import Shape
from lm.training.scale import Parallel

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

    >>> from lm.scale.shapes import PUBLISHED
    >>> round(tokens_per_second(PUBLISHED["Qwen2.5-0.5B"], 1024, 0.3))
    91902
    """
    return utilization * PEAK * gpus / operations(shape, context)
