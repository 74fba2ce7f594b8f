"""Several processes train like one, and batches that do not divide are refused."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.language_model import LanguageModel
from lm.training.batches import Rows, count_targets
from lm.training.distributed import Parallel, ScaleConfig, compile_and_checkpoint, local_pieces
from lm.training.loop import LoopConfig, accumulate_gradients, enough_memory, train
from lm.training.route_tables import UNROUTED
from tests.lm.factories import TABLES, TensorRows
from tests.lm.models.gpt_factories import EXPANDED
from tests.lm.training.processes import (
    CONFIG,
    MIXED,
    ONE_SIDED,
    SPARSE,
    STEPS,
    Case,
    Trained,
    Uneven,
    model_of,
    trained,
)
from tests.processes import in_processes

MODELS = pytest.mark.parametrize("model", ["gpt", "llama"])


def gradients(model: LanguageModel, table: str, scale: ScaleConfig) -> list[Tensor]:
    """Return the gradients of a batch under settings of scale."""
    batch = Uneven("mixed")(0)
    with compile_and_checkpoint(model, scale):
        accumulate_gradients(model, TABLES[table], local_pieces(batch, scale), count_targets(batch))
    found = [parameter.grad for parameter in model.parameters()]
    assert all(grad is not None and grad.any() for grad in found)
    return [grad for grad in found if grad is not None]


@MODELS
@pytest.mark.parametrize("table", TABLES)
def test_gradients_equal_those_of_the_whole_batch_when_accumulated(model: str, table: str) -> None:
    whole = gradients(model_of(model), table, ScaleConfig())
    for accumulate in (2, 4):
        pieces = gradients(model_of(model), table, ScaleConfig(accumulate=accumulate))
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-6)


@MODELS
@pytest.mark.parametrize("table", TABLES)
def test_gradients_keep_their_bits_when_activations_are_recomputed(model: str, table: str) -> None:
    kept = gradients(model_of(model), table, ScaleConfig())
    again = gradients(model_of(model), table, ScaleConfig(checkpoint_activations=True))
    assert all(map(torch.equal, kept, again))


@MODELS
def test_blocks_run_twice_and_are_restored_when_activations_are_recomputed(model: str) -> None:
    computed: list[nn.Module] = []
    net, scale = model_of(model), ScaleConfig(checkpoint_activations=True)
    for layer in net.layers():
        (first, *_) = layer.children()
        first.register_forward_hook(lambda module, *_: computed.append(module))
    gradients(net, "era", scale)
    assert len(computed) == 2 * len(net.layers())
    assert not any("forward" in vars(layer) for layer in net.layers())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
@pytest.mark.parametrize("checkpoint_activations", [False, True])
@MODELS
def test_losses_stay_equal_without_graph_breaks_when_blocks_are_compiled(
    model: str, checkpoint_activations: bool
) -> None:
    torch.compiler.reset()
    scale = ScaleConfig(compile=True, checkpoint_activations=checkpoint_activations)
    for table in ("era", "modules", "parameters"):
        plain = trained(Case(model, table), ScaleConfig())
        compiled = trained(Case(model, table), scale)
        assert compiled.losses == pytest.approx(plain.losses, abs=1e-5)
    assert not torch._dynamo.utils.counters["graph_break"]
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_several_modules_are_compiled_once_for_all_numbers_of_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.compiler.reset()
    # the same graphs as with the default compiler, which takes minutes
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    case, layers = Case("several", "profiles"), len(model_of("several").layers())
    plain, compiled = trained(case, ScaleConfig()), trained(case, ScaleConfig(compile=True))
    assert compiled.losses == pytest.approx(plain.losses, abs=1e-5)
    assert not torch._dynamo.utils.counters["graph_break"]
    # batches have two lengths
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2 * layers
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (ScaleConfig(parallel="fsdp"), "this one is alone: start it by `torchrun"),
        (ScaleConfig(parallel="ddp"), "this one is alone: start it by `torchrun"),
        (ScaleConfig(accumulate=3), "4 rows does not divide into 1 processes times accumulate 3"),
    ],
)
def test_parallel_training_is_refused_when_alone_or_when_batches_do_not_divide(
    scale: ScaleConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(Case("gpt", "era"), scale)
    with pytest.raises(ValueError, match="give 1 or more"):
        ScaleConfig(accumulate=0)


@MODELS
@pytest.mark.parametrize("place", [0, 6])
def test_training_refuses_tokens_outside_the_vocabulary(model: str, place: int) -> None:
    tokens = torch.zeros(4, 7, dtype=torch.int64)
    tokens[2, place] = 13
    batches = Rows(TensorRows(tokens, torch.zeros(4, 6)), batch_size=4)
    with pytest.raises(ValueError, match=r"tokens from 0 to 13, .* a vocabulary of 13: train on"):
        train(model_of(model), UNROUTED, batches, LoopConfig(steps=1))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(2**46),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")),
    ],
)
def test_out_of_memory_error_explains_what_to_do(ask: Callable[[], object]) -> None:
    with (
        pytest.raises(ValueError, match=r"lower batch_size, raise accumulate, checkpoint act"),
        enough_memory(),
    ):
        ask()


def test_other_errors_are_not_reported_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError, match="must match"), enough_memory():
        torch.ones(2) + torch.ones(3)


def test_checkpoint_can_be_resumed_with_accumulation(tmp_path: Path) -> None:
    case, path = Case("gpt", "parameters"), tmp_path / "training.pt"
    whole = trained(case, ScaleConfig())
    trained(case, ScaleConfig(), path, stop=10)
    rest = trained(case, ScaleConfig(accumulate=2), path)
    assert rest.losses == pytest.approx(whole.losses[8:], abs=1e-5)
    other = replace(CONFIG, learning_rate=1.0)
    with pytest.raises(ValueError, match="by its config"):
        train(GPT(EXPANDED, seed=1), TABLES["parameters"], Uneven("mixed"), other, path)


PARALLEL: tuple[Parallel, ...] = ("ddp", "fsdp")
QUICK: tuple[tuple[Parallel, Case], ...] = (
    ("ddp", Case("gpt", "parameters", ONE_SIDED)),
    ("ddp", Case("llama", "modules")),
    ("fsdp", Case("gpt", "era")),
    ("fsdp", Case("gpt", "parameters", SPARSE)),
    ("fsdp", Case("llama", "modules", ONE_SIDED)),
    ("fsdp", Case("adapters", "modules", ONE_SIDED)),
    ("ddp", Case("several", "profiles", ONE_SIDED)),
    ("fsdp", Case("several", "profiles", ONE_SIDED)),
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
"""The case that is stopped after step 10, and resumes from its checkpoint of step 8."""

Results = dict[tuple[str, Case], Trained]


def cases(folder: Path, chosen: Sequence[tuple[Parallel, Case]]) -> Results:
    """Train every case in each process."""
    return {
        (parallel, case): trained(case, ScaleConfig(parallel=parallel)) for parallel, case in chosen
    }


def resumed(folder: Path, chosen: Sequence[tuple[Parallel, Case]]) -> dict[str, Any]:
    """Train cases in each process, and resume stopped training in several ways."""
    results = cases(folder, chosen)
    trained(RESUMED, SHARDED, folder / "two.pt", STOPPED)
    if dist.get_rank() == 0:
        shutil.copy(folder / "two.pt", folder / "one.pt")
    dist.barrier()
    return {
        "cases": results,
        "two": trained(RESUMED, SHARDED, folder / "two.pt"),
        "from a file": trained(RESUMED, SHARDED, folder / "file.pt"),
        "in less memory": trained(RESUMED, SMALL),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the checkpoint of training that was stopped in one process."""
    folder = tmp_path_factory.mktemp("processes")
    trained(RESUMED, ScaleConfig(), folder / "file.pt", STOPPED)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = in_processes(resumed, folder, QUICK)
    return results


def require_close(one: Trained, other: Trained, first: int = 0) -> None:
    """Require equal training up to rounding, from step `first` on."""
    assert len(other.losses) == STEPS - first
    assert other.losses == pytest.approx(one.losses[first:], abs=1e-5)
    assert other.skipped == one.skipped[first:]
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


def require_like_one_process(results: Results) -> None:
    for (_, case), result in results.items():
        alone = trained(case, ScaleConfig())
        skips = case.batches == SPARSE and case.table in ("modules", "parameters")
        assert [bool(skipped) for skipped in alone.skipped] == [False, skips] * (STEPS // 2)
        require_close(alone, result)
        start = [p.detach() for p in model_of(case.model).parameters()]
        assert any(
            not torch.allclose(a, b, atol=1e-2) for a, b in zip(start, result.weights, strict=True)
        )


def test_two_processes_train_like_one(results: dict[str, Any]) -> None:
    require_like_one_process(results["cases"])


@pytest.mark.slow
def test_two_processes_train_like_one_in_every_case(tmp_path: Path) -> None:
    require_like_one_process(in_processes(cases, tmp_path, EVERY))


def test_weights_keep_their_bits_when_two_processes_resume_their_own_checkpoint(
    results: dict[str, Any],
) -> None:
    whole, rest = results["cases"]["fsdp", RESUMED], results["two"]
    assert rest.losses == whole.losses[8:]
    assert all(map(torch.equal, rest.weights, whole.weights))


def test_one_process_resumes_the_checkpoint_of_two(folder: Path, results: dict[str, Any]) -> None:
    alone = trained(RESUMED, ScaleConfig(), folder / "one.pt")
    require_close(results["cases"]["fsdp", RESUMED], alone, first=8)


def test_two_processes_resume_the_checkpoint_of_one(results: dict[str, Any]) -> None:
    require_close(trained(RESUMED, ScaleConfig()), results["from a file"], first=8)


def test_sharded_training_stays_equal_when_accumulating_and_recomputing(
    results: dict[str, Any],
) -> None:
    require_close(results["cases"]["fsdp", RESUMED], results["in less memory"])


def test_checkpoint_of_two_processes_is_refused_when_damaged_or_of_another_run(
    folder: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "training.pt"
    shutil.copy(folder / "two.pt", path)
    with pytest.raises(ValueError, match="belongs to another run, by its table and data"):
        trained(Case("gpt", "unrouted"), ScaleConfig(), path)
    assert trained(RESUMED, ScaleConfig(), path).losses == []
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a whole checkpoint"):
        trained(RESUMED, ScaleConfig(), path)
