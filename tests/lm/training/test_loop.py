"""The training loop respects the route table, resumes with equal bits and trains each family."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.training import checkpoints
from lm.training.batches import Rows
from lm.training.loop import LoopConfig, Progress, learning_rate, make_optimizer, train, update
from lm.training.route_tables import ERA, MODULES, PARAMETERS, UNROUTED
from oversight.routing import RouteTable
from tests.lm.factories import TABLES, TensorRows
from tests.lm.models.gpt_factories import EXPANDED
from tests.lm.models.hf_factories import FAMILIES, expanded_model, plain_model

CONFIG = LoopConfig(steps=12, warmup=3, learning_rate=1e-2, checkpoint_every=4)


def rows(label: int | None = None) -> Rows:
    """Return batches of random tokens, with one label or with random ones."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(13, (20, 7), generator=generator)
    mixed = torch.randint(3, (20, 6), generator=generator)
    routes = mixed if label is None else torch.full_like(mixed, label)
    return Rows(TensorRows(tokens, routes), batch_size=4)


def bits(model: GPT, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    state = [value for entry in optimizer.state.values() for value in entry.values()]
    return [*model.state_dict().values(), *state]


def run(path: Path | None = None, config: LoopConfig = CONFIG) -> list[Tensor]:
    model = GPT(EXPANDED, seed=1)
    return bits(model, train(model, PARAMETERS, rows(), config, path))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize(("label", "still"), [(0, "expansion"), (2, "original")])
def test_parameters_and_moments_stay_unchanged_when_their_target_is_masked(
    label: int, still: str
) -> None:
    model = GPT(EXPANDED, seed=1)
    optimizer = make_optimizer(model, CONFIG)
    for step in range(3):  # all targets gain momentum first
        update(model, PARAMETERS, rows()(step), optimizer, 1e-2, 1.0)

    def parts() -> dict[str, list[Tensor]]:
        found = model.parameter_targets().items()
        return {
            target: [t.clone() for p in part for t in (p.detach(), *optimizer.state[p].values())]
            for target, part in found
        }

    before = parts()
    for step in range(5):
        _, skipped = update(model, PARAMETERS, rows(label)(step), optimizer, 1e-2, 1.0)
        assert skipped == (f"{still}_parameters",)
    after = parts()
    for target in before:
        assert same(before[target], after[target]) == target.startswith(still)


def test_training_is_deterministic_given_the_seed() -> None:
    assert same(run(), run())


def test_learning_lowers_the_loss() -> None:
    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(float(progress.loss))

    counting = (torch.arange(20)[:, None] + torch.arange(7)) % 13
    batches = Rows(TensorRows(counting, torch.zeros(20, 6)), batch_size=4)
    config = LoopConfig(steps=60, warmup=5, learning_rate=2e-2)
    train(GPT(EXPANDED), UNROUTED, batches, config, report=note)
    assert len(losses) == 60
    assert losses[0] > 2.4
    assert losses[-1] < 1.0


def test_killed_run_resumes_with_equal_bits(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    code = (
        "import os, signal, sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from lm.models.gpt import GPT; from lm.training.loop import train\n"
        "from lm.training.route_tables import PARAMETERS\n"
        "from tests.lm.training.test_loop import CONFIG, EXPANDED, rows\n"
        "def stop(progress):\n"
        "    if progress.step == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(GPT(EXPANDED, seed=1), PARAMETERS, rows(), CONFIG, Path(sys.argv[1]), stop)\n"
    )
    root = Path(__file__).parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert killed.returncode == -signal.SIGKILL
    assert checkpoints.read(path)["step"] == 8
    assert same(run(path), run())
    assert checkpoints.read(path)["step"] == 12


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first = run(path)
    steps: list[int] = []
    model = GPT(EXPANDED, seed=5)
    optimizer = train(
        model, PARAMETERS, rows(), CONFIG, path, report=lambda progress: steps.append(progress.step)
    )
    assert steps == []
    assert same(bits(model, optimizer), first)


@pytest.mark.parametrize(
    ("table", "config", "message"),
    [
        (UNROUTED, CONFIG, "by its table"),
        (PARAMETERS, LoopConfig(steps=13), "by its config"),
    ],
)
def test_checkpoint_is_refused_when_settings_differ(
    tmp_path: Path, table: RouteTable, config: LoopConfig, message: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    run(path)
    with pytest.raises(ValueError, match=message):
        train(GPT(EXPANDED), table, rows(), config, path)


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:600] + b"\xff" * 9 + whole[609:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a whole checkpoint"):
            run(path)
    torch.save({"weights": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="no checkpoint of this training loop"):
        run(path)


def test_each_epoch_reads_every_row_once() -> None:
    batches = Rows(
        TensorRows(torch.arange(20)[:, None].expand(20, 7), torch.zeros(20, 6)), batch_size=4
    )
    epochs = [torch.cat([batches(5 * e + s).inputs[:, 0] for s in range(5)]) for e in range(2)]
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(20))] * 2
    assert not torch.equal(*epochs)
    assert torch.equal(batches(0).inputs[:, 0], epochs[0][:4])
    tokens = torch.arange(21).view(3, 7)
    inputs, targets, _ = Rows(TensorRows(tokens, torch.zeros(3, 6)), batch_size=3)(0)
    assert torch.equal(inputs + 1, targets)


def test_learning_rate_warms_up_and_decays() -> None:
    config = LoopConfig(steps=103, warmup=2, learning_rate=1.0, final_share=0.2)
    rates = [learning_rate(step, config) for step in (0, 1, 2, 102)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.2], abs=1e-3)


def test_loop_config_and_rows_refuse_invalid_settings() -> None:
    with pytest.raises(ValueError, match="steps -1 was given: give 0 or more"):
        LoopConfig(steps=-1)
    with pytest.raises(ValueError, match="clip_norm 0 was given: give a number above 0"):
        LoopConfig(clip_norm=0)
    with pytest.raises(ValueError, match="between 1 and 4"):
        Rows(TensorRows(torch.zeros(4, 7), torch.zeros(4, 6)), 5)


HF_CONFIG = LoopConfig(steps=4, warmup=1, learning_rate=1e-2, checkpoint_every=2)


@FAMILIES
@pytest.mark.parametrize(
    ("table", "label", "still"),
    [(PARAMETERS, 0, "expansion"), (PARAMETERS, 2, "original"), (MODULES, 1, "original")],
)
def test_parameters_of_each_family_stay_unchanged_when_their_target_is_masked(
    family: str, table: RouteTable, label: int, still: str
) -> None:
    model = expanded_model(family)
    optimizer = make_optimizer(model, HF_CONFIG)
    update(model, PARAMETERS, rows()(0), optimizer, 1e-2, 1.0)  # all targets gain momentum
    targets = model.parameter_targets()
    before = {name: [p.detach().clone() for p in part] for name, part in targets.items()}
    _, skipped = update(model, table, rows(label)(1), optimizer, 1e-2, 1.0)
    assert skipped == (f"{still}_parameters",)
    for name, part in targets.items():
        assert same(before[name], list(part)) == name.startswith(still)


@pytest.mark.parametrize("method", TABLES)
def test_every_table_trains_a_hugging_face_model(method: str) -> None:
    loss, skipped = update(
        (model := expanded_model("qwen2")),
        TABLES[method],
        rows()(0),
        make_optimizer(model, HF_CONFIG),
        1e-2,
        1.0,
    )
    assert loss.isfinite()
    assert skipped == ()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@FAMILIES
def test_learning_lowers_the_loss_of_each_family(family: str) -> None:
    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(float(progress.loss))

    counting = (torch.arange(20)[:, None] + torch.arange(7)) % 13
    batches = Rows(TensorRows(counting, torch.zeros(20, 6)), batch_size=4)
    model = RoutedCausalLM(plain_model(family), 4, [0, 1])
    config = LoopConfig(steps=60, warmup=5, learning_rate=2e-2)
    train(model, UNROUTED, batches, config, report=note)
    assert losses[0] > 2.4
    assert losses[-1] < 1.5


def test_stopped_run_resumes_with_equal_bits_only_when_the_expansion_is_the_same(
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint.pt"
    whole, stopped, resumed = (expanded_model("llama") for _ in range(3))
    train(whole, ERA, rows(), HF_CONFIG)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stopped, ERA, rows(), HF_CONFIG, path, stop)
    train(resumed, ERA, rows(), HF_CONFIG, path)
    assert same(list(whole.state_dict().values()), list(resumed.state_dict().values()))
    with pytest.raises(ValueError, match=r"belongs to another .*model"):
        train(RoutedCausalLM(plain_model("llama"), 2, [1]), ERA, rows(), HF_CONFIG, path)
