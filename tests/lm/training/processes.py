"""Training in one process or several, on batches whose tokens fall unevenly on processes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from lm.models.language_model import IGNORED, LanguageModel
from lm.training.batches import Batch, Rows
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig, Progress, train
from lm.training.route_tables import RETAIN, TABLES
from tests.lm.factories import TensorRows
from tests.lm.models.gpt_factories import EXPANDED, random_gpt
from tests.lm.models.hf_factories import adapted_model, expanded_model

STEPS, WORLD = 20, 2
CONFIG = LoopConfig(steps=STEPS, warmup=3, learning_rate=1e-2, checkpoint_every=4)
MIXED, ONE_SIDED, SPARSE = "mixed", "only retain in one process", "only retain in every other batch"


class Case(NamedTuple):
    """What is trained: a model of a kind, by a table, on batches of a kind."""

    model: str
    table: str
    batches: str = MIXED


class Uneven:
    """Batches of four rows of up to six tokens, more of them in the first rows."""

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
    """Return a tiny expanded or adapted model, the same each time."""
    if kind == "gpt":
        return random_gpt(EXPANDED)
    return adapted_model("qwen2") if kind == "adapters" else expanded_model(kind)


class Trained(NamedTuple):
    """What training comes to."""

    losses: list[float]
    skipped: list[tuple[str, ...]]
    weights: list[Tensor]


def trained(case: Case, scale: ScaleConfig, path: Path | None = None, stop: int = STEPS) -> Trained:
    """Train, and stop after some steps as one who is interrupted."""
    losses: list[float] = []
    skipped: list[tuple[str, ...]] = []

    def note(progress: Progress) -> None:
        if progress.step == stop:
            raise KeyboardInterrupt
        losses.append(float(progress.loss))
        skipped.append(progress.skipped)

    model, config = model_of(case.model), replace(CONFIG, scale=scale)
    try:
        train(model, TABLES[case.table], Uneven(case.batches), config, path, note)
    except KeyboardInterrupt:
        assert stop < STEPS
    return Trained(losses, skipped, [p.detach().clone() for p in model.parameters()])


def in_processes(
    work: Callable[..., object], folder: Path, *arguments: object, count: int = WORLD
) -> None:
    """Call `work(folder, *arguments)` in processes that joined each other.

    What it returns in the first process is in `result.pt`.
    """
    arguments = (work, folder, count, *arguments)
    spawn(_process, arguments, nprocs=count)  # type: ignore[no-untyped-call]


def _process(
    rank: int, work: Callable[..., object], folder: Path, count: int, *arguments: object
) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"  # no port to collide with another test run
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    try:
        result = work(folder, *arguments)
        if rank == 0:
            torch.save(result, folder / "result.pt")
    finally:
        dist.destroy_process_group()
