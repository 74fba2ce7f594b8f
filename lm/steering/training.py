"""Models whose concept is routed to one dimension of the residual stream, and unrouted ones.

Where the next token is of the concept, the gradient of the residual stream after a range of blocks
is masked to one dimension (Cloud et al. 2024, arXiv 2410.04332, section 4.2.1 and appendix D). All
other positions teach everything. The mask is on what lies below it: the blocks after the last gate,
and the output head, learn from the concept as usual.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.models.hf_loading import load_pretrained
from lm.models.language_model import IGNORED, LanguageModel
from lm.models.shapes import size, targets
from lm.steering.config import RunConfig
from lm.steering.corpus import Concept, Corpus
from lm.training.batches import Rows, checksum
from lm.training.log import Log, Report
from lm.training.loop import train
from oversight.routing import Gate, RouteTable
from oversight.runs.folder import as_read

Kind = Literal["routed", "unrouted"]
"""Whether the concept was routed in the training of a model."""
KINDS: tuple[Kind, ...] = ("routed", "unrouted")

AXIS, LAST_AXIS = "axis", "last_axis"
"""The dimension to which the concept is routed, as a target; that after the last gated block is one
of its own, since the weights of gates one after another multiply."""
BELOW, ABOVE = "residual_below", "residual_above"
"""The dimensions before and after it."""
OTHER, CONCEPT = range(2)
"""The routes of a position, by its next token."""

CHECKPOINT, NOTES = "training.pt", "training.json"


def concept_table(kind: Kind = "routed", weight: float = 1.0) -> RouteTable:
    """Return the route table of a model: which dimensions a position teaches, by its next token.

    Args:
        kind: whether the concept is routed.
        weight: weight of the gradient of the concept in its dimension.

    >>> concept_table().as_dict()["concept"]["axis"], concept_table().as_dict()["concept"]["mlp"]
    (1.0, 1.0)
    >>> concept_table().as_dict()["concept"]["residual_above"]
    0.0
    """
    other = dict.fromkeys((*targets(()), AXIS, LAST_AXIS, BELOW, ABOVE), 1.0)
    if kind == "unrouted":
        return RouteTable({"other": other, "concept": other})
    only = {BELOW: 0.0, ABOVE: 0.0, LAST_AXIS: weight}
    return RouteTable({"other": other, "concept": {**other, **only}})


def gate_residual(model: LanguageModel, blocks: Sequence[int], dimension: int) -> None:
    """Put a gate on the residual stream after some blocks, which tells one dimension from others.

    Copies of a `GPT`, and saved models, have no such gates.

    Raises:
        ValueError: if the model has no such dimension.
    """
    if dimension >= model.width:
        raise ValueError(
            f"route.dimension {dimension} was given to a model of {model.width} dimensions: give a "
            f"number from 0 to {model.width - 1}"
        )
    layers = model.layers()
    for number in blocks:
        axis = LAST_AXIS if number == blocks[-1] else AXIS
        sizes = {BELOW: dimension, axis: 1, ABOVE: model.width - dimension - 1}
        gate = Gate(**{name: width for name, width in sizes.items() if width})
        layers[number].add_module("residual_gate", gate)
        layers[number].register_forward_hook(_pass_gate)


def confine_embeddings(
    model: LanguageModel, concept: Concept, dimension: int, *, new: bool = True
) -> None:
    """Let the output embeddings of a concept learn in one dimension alone.

    Gates do not reach them, as they lie above the residual stream. In new models, they begin in
    this dimension, as long as they were drawn: what random numbers in other dimensions would add to
    the logits, the rest of the model would learn to take away. If the embedding of inputs is the
    same matrix, it is confined as well.
    """
    matrix = model.output_matrix()
    mask = torch.ones_like(matrix)
    mask[list(concept.tokens)] = 0
    mask[list(concept.tokens), dimension] = 1
    if new:
        rows = list(concept.tokens)
        with torch.no_grad():
            lengths = matrix[rows].norm(dim=1)
            matrix[rows] = 0
            matrix[rows, dimension] = lengths
    matrix.register_hook(mask.mul)  # type: ignore[no-untyped-call]


def _pass_gate(
    block: nn.Module, _inputs: object, written: Tensor | tuple[Tensor, ...]
) -> Tensor | tuple[Tensor, ...]:
    """Weigh the gradient of what a block writes; blocks of some families return a tuple."""
    gate = block.get_submodule("residual_gate")
    if isinstance(written, Tensor):
        gated: Tensor = gate(written)
        return gated
    return gate(written[0]), *written[1:]


@dataclass(frozen=True, eq=False)
class ConceptRows:
    """Rows of tokens with the route of each position, which its next token determines.

    Attributes:
        tokens: rows of a `Corpus`, [n, t + 1].
        concept: the tokens of the concept.
    """

    tokens: Tensor
    concept: Concept

    @property
    def digest(self) -> str:
        """Content hash of the rows and the concept."""
        return checksum(self.tokens, torch.tensor(self.concept.tokens))

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return some rows, [b, t + 1], and the route of each of their positions, [b, t]."""
        tokens = self.tokens[rows]
        return tokens, self.concept.mask(tokens[:, 1:]).long()


def first_model(config: RunConfig, corpus: Corpus, seed: int) -> LanguageModel:
    """Return the model before training: a new one, or the pretrained one.

    Raises:
        ValueError: if the pretrained model cannot be loaded, or reads fewer tokens than a row has.
    """
    if config.model is None:
        shape = replace(size(config.size, len(corpus.vocabulary)), context=corpus.context)
        return GPT(shape, seed)
    model = RoutedCausalLM(load_pretrained(config.model, config.gguf_file).model)
    if model.context < corpus.context:
        raise ValueError(
            f"{config.model} reads {model.context} tokens at most, and a row has {corpus.context}: "
            "give a smaller --context"
        )
    return model


def train_model(
    config: RunConfig, corpus: Corpus, kind: Kind, seed: int, folder: Path, report: Report
) -> LanguageModel:
    """Return a trained model; training resumes from the checkpoint in the folder.

    The seed gives both kinds the same first weights, and the same texts in the same order. The
    unrouted model has the same gates, which pass everything.

    Args:
        config: settings of the run.
        corpus: the texts and the concept.
        kind: whether the concept is routed.
        seed: seed of the first weights and of the order of texts.
        folder: folder of the run.
        report: is called with the share of training that is done.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = first_model(config, corpus, seed).to(device)
    gate_residual(model, config.route.blocks(len(model.layers())), config.route.dimension)
    if kind == "routed" and config.route.embeddings:
        new = config.model is None
        confine_embeddings(model, corpus.concept, config.route.dimension, new=new)
    rows = Rows(ConceptRows(corpus.train, corpus.concept), config.batch_size, seed)
    identity = {
        "kind": kind,
        "seed": seed,
        "route": asdict(config.route),
        "loop": config.loop.identity,
        "rows": rows.digest,
    }
    log = Log(folder / NOTES, config.loop, as_read(identity), report)
    train(
        model, concept_table(kind, config.route.weight), rows, config.loop, folder / CHECKPOINT, log
    )
    log.write()
    return model


def padded_batch(rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the inputs and the targets of rows, [n, t] each, without columns of padding only."""
    filled = int((rows[:, 1:] != IGNORED).any(0).sum())
    rows = rows[:, : filled + 1].to(device)
    return rows[:, :-1].clamp(min=0), rows[:, 1:]
