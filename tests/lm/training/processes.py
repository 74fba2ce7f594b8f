"""Training in one or several processes, on batches that are spread unevenly over them."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lm.models.language_model import IGNORED, LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig, Progress, train
from lm.training.profiles import profile_table
from lm.training.route_tables import RETAIN
from tests.lm.factories import TABLES, TensorRows
from tests.lm.models.gpt_factories import EXPANDED, random_gpt
from tests.lm.models.hf_factories import adapted_model, expanded_model

STEPS = 12
CONFIG = LoopConfig(steps=STEPS, warmup=3, learning_rate=1e-2, checkpoint_every=4)
MIXED, ONE_SIDED, SPARSE = "mixed", "only retain in one process", "only retain in every other batch"


SEVERAL = replace(EXPANDED, modules=("expansion", "other"))
ROUTES = {**TABLES, "profiles": profile_table(SEVERAL.modules)}


class Case(NamedTuple):
    """A kind of model, a route table and a kind of batches to train on."""

    model: str
    table: str
    batches: str = MIXED


class Uneven:
    """Batches of four rows of up to six targets, of which the first rows have fewer."""

    def __init__(self, kind: str) -> None:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(13, (20, 7), generator=generator)
        tokens[:, 4:][torch.rand(20, 3, generator=generator) < 0.5] = IGNORED
        routes = torch.randint(3, (20, 6), generator=generator)
        self.rows, self.kind = Rows(TensorRows(tokens, routes), batch_size=4), kind
        self.digest = f"{self.rows.digest} {kind}"

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        inputs, targets, route = self.rows(step)
        targets[:2] = torch.where(torch.arange(targets.shape[1]) > 2, IGNORED, targets[:2])
        if self.kind == ONE_SIDED:
            route[:2] = RETAIN
        if self.kind == SPARSE and step % 2:
            route[:] = RETAIN
        return Batch(inputs, targets, route)


def model_of(kind: str) -> LanguageModel:
    """Return a tiny expanded or adapted model, always with the same weights.

    `several` is a GPT of several modules.
    """
    if kind in ("gpt", "several"):
        return random_gpt(EXPANDED if kind == "gpt" else SEVERAL)
    return adapted_model("qwen2") if kind == "adapters" else expanded_model(kind)


class Trained(NamedTuple):
    """Losses and skipped targets of each step, and the final weights."""

    losses: list[float]
    skipped: list[tuple[str, ...]]
    weights: list[Tensor]


def trained(case: Case, scale: ScaleConfig, path: Path | None = None, stop: int = STEPS) -> Trained:
    """Train a model, and interrupt it after `stop` steps."""
    losses: list[float] = []
    skipped: list[tuple[str, ...]] = []

    def note(progress: Progress) -> None:
        if progress.step == stop:
            raise KeyboardInterrupt
        losses.append(float(progress.loss))
        skipped.append(progress.skipped)

    model, config = model_of(case.model), replace(CONFIG, scale=scale)
    try:
        train(model, ROUTES[case.table], Uneven(case.batches), config, path, note)
    except KeyboardInterrupt:
        assert stop < STEPS
    return Trained(losses, skipped, [p.detach().clone() for p in model.parameters()])
