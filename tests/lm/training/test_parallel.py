"""Two processes, with all the weights or with shards of them, train as one process does."""

import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from lm.training.checkpoints import shards_of
from lm.training.distributed import Parallel, ScaleConfig
from lm.training.route_tables import TABLES
from tests.lm.training.spread import (
    MIXED,
    ONE_SIDED,
    SPARSE,
    STEPS,
    Case,
    Trained,
    in_processes,
    model_of,
    trained,
)

PARALLEL: tuple[Parallel, ...] = ("ddp", "fsdp")
QUICK: tuple[tuple[Parallel, Case], ...] = (
    ("ddp", Case("gpt", "parameters", ONE_SIDED)),
    ("ddp", Case("llama", "modules")),
    ("fsdp", Case("gpt", "era")),
    ("fsdp", Case("gpt", "parameters", SPARSE)),
    ("fsdp", Case("llama", "modules", ONE_SIDED)),
    ("fsdp", Case("adapters", "modules", ONE_SIDED)),
)
EVERY = tuple(
    (parallel, Case(model, table, kind))
    for parallel in PARALLEL
    for model, table in (*product(("gpt", "llama"), TABLES), ("adapters", "modules"))
    for kind in (MIXED, ONE_SIDED, SPARSE)
)
SHARDED = ScaleConfig(parallel="fsdp")
SMALL = ScaleConfig(parallel="fsdp", accumulate=2, checkpoint_activations=True)
RESUMED, STOPPED = Case("gpt", "parameters", SPARSE), 10
"""What is stopped after step 10, and goes on from its checkpoint after step 8."""

Results = dict[tuple[str, Case], Trained]


def cases(folder: Path, chosen: Sequence[tuple[Parallel, Case]]) -> Results:
    """Train every case; in each process."""
    return {
        (parallel, case): trained(case, ScaleConfig(parallel=parallel)) for parallel, case in chosen
    }


def resumed(folder: Path, chosen: Sequence[tuple[Parallel, Case]]) -> dict[str, Any]:
    """Train cases, and stop and go on in several ways; in each process."""
    results = cases(folder, chosen)
    trained(RESUMED, SHARDED, folder / "two.pt", STOPPED)
    if dist.get_rank() == 0:
        shutil.copytree(shards_of(folder / "two.pt"), shards_of(folder / "one.pt"))
    dist.barrier()
    return {
        "cases": results,
        "two": trained(RESUMED, SHARDED, folder / "two.pt"),
        "from a file": trained(RESUMED, SHARDED, folder / "file.pt"),
        "in less memory": trained(RESUMED, SMALL),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where checkpoints are, some of which another process went on from."""
    folder = tmp_path_factory.mktemp("processes")
    trained(RESUMED, ScaleConfig(), folder / "file.pt", STOPPED)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    in_processes(resumed, folder, QUICK)
    told: dict[str, Any] = torch.load(folder / "result.pt", weights_only=False)
    return told


def require_alike(one: Trained, other: Trained, first: int = 0) -> None:
    """Require the same training to rounding, of the steps from one on."""
    assert len(other.losses) == STEPS - first
    assert other.losses == pytest.approx(one.losses[first:], abs=1e-5)
    assert other.skipped == one.skipped[first:]
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


def require_as_one(results: Results) -> None:
    for (_, case), result in results.items():
        alone = trained(case, ScaleConfig())
        skips = case.batches == SPARSE and case.table in ("modules", "parameters")
        assert [bool(skipped) for skipped in alone.skipped] == [False, skips] * (STEPS // 2)
        require_alike(alone, result)
        start = [p.detach() for p in model_of(case.model).parameters()]
        assert any(
            not torch.allclose(a, b, atol=1e-2) for a, b in zip(start, result.weights, strict=True)
        )


def test_two_processes_train_as_one(results: dict[str, Any]) -> None:
    require_as_one(results["cases"])


@pytest.mark.slow
def test_two_processes_train_as_one_in_every_case(tmp_path: Path) -> None:
    in_processes(cases, tmp_path, EVERY)
    require_as_one(torch.load(tmp_path / "result.pt", weights_only=False))


def test_as_many_processes_go_on_bit_for_bit(results: dict[str, Any]) -> None:
    whole, rest = results["cases"]["fsdp", RESUMED], results["two"]
    assert rest.losses == whole.losses[8:]
    assert all(map(torch.equal, rest.weights, whole.weights))


def test_one_process_goes_on_where_two_stopped(folder: Path, results: dict[str, Any]) -> None:
    alone = trained(RESUMED, ScaleConfig(), folder / "one.pt")
    require_alike(results["cases"]["fsdp", RESUMED], alone, first=8)
    assert not shards_of(folder / "one.pt").exists()
    assert (folder / "one.pt").exists()


def test_two_processes_go_on_where_one_stopped(results: dict[str, Any]) -> None:
    require_alike(trained(RESUMED, ScaleConfig()), results["from a file"], first=8)


def test_shards_train_the_same_in_less_memory(results: dict[str, Any]) -> None:
    require_alike(results["cases"]["fsdp", RESUMED], results["in less memory"])


def test_damaged_shards_and_those_of_another_training_are_refused(
    folder: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "training.pt"
    shutil.copytree(shards_of(folder / "two.pt"), shards_of(path))
    with pytest.raises(ValueError, match="belongs to another run, by its table and data"):
        trained(Case("gpt", "unrouted"), ScaleConfig(), path)
    (shards_of(path) / f"step-{STEPS + 4}").mkdir()  # what a kill leaves half written
    assert trained(RESUMED, ScaleConfig(), path).losses == []
    (shard, *_) = shards_of(path).glob(f"step-{STEPS}/*1-of-*")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="is not a whole checkpoint: remove"):
        trained(RESUMED, ScaleConfig(), path)
