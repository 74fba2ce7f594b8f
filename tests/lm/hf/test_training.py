"""The loop trains a model of Hugging Face as it trains our own."""

from pathlib import Path

import pytest
import torch

from lm.models.hf import RoutedCausalLM
from lm.training.batches import Rows
from lm.training.loop import LoopConfig, Progress, make_optimizer, train, update
from lm.training.route_tables import ERA, MODULES, PARAMETERS, TABLES, UNROUTED
from oversight.routing import RouteTable
from tests.lm.factories import TensorRows
from tests.lm.hf.small import FAMILIES, expanded_model, plain_model
from tests.lm.training.test_loop import rows, same

CONFIG = LoopConfig(steps=4, warmup=1, learning_rate=1e-2, checkpoint_every=2)


@FAMILIES
@pytest.mark.parametrize(
    ("table", "label", "still"),
    [(PARAMETERS, 0, "expansion"), (PARAMETERS, 2, "original"), (MODULES, 1, "original")],
)
def test_a_masked_target_does_not_move_by_a_bit(
    family: str, table: RouteTable, label: int, still: str
) -> None:
    model = expanded_model(family)
    optimizer = make_optimizer(model, CONFIG)
    update(model, PARAMETERS, rows()(0), optimizer, 1e-2, 1.0)  # all targets gain momentum
    targets = model.parameter_targets()
    before = {name: [p.detach().clone() for p in part] for name, part in targets.items()}
    _, skipped = update(model, table, rows(label)(1), optimizer, 1e-2, 1.0)
    assert skipped == (f"{still}_parameters",)
    for name, part in targets.items():
        assert same(before[name], list(part)) == name.startswith(still)


@pytest.mark.parametrize("method", TABLES)
def test_every_table_trains_it(method: str) -> None:
    loss, skipped = update(
        (model := expanded_model("qwen2")),
        TABLES[method],
        rows()(0),
        make_optimizer(model, CONFIG),
        1e-2,
        1.0,
    )
    assert loss.isfinite()
    assert skipped == ()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@FAMILIES
def test_learning_lowers_the_loss(family: str) -> None:
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


def test_a_stopped_run_resumes_bit_for_bit_and_only_with_its_expansion(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    whole, stopped, resumed = (expanded_model("llama") for _ in range(3))
    train(whole, ERA, rows(), CONFIG)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stopped, ERA, rows(), CONFIG, path, stop)
    train(resumed, ERA, rows(), CONFIG, path)
    assert same(list(whole.state_dict().values()), list(resumed.state_dict().values()))
    with pytest.raises(ValueError, match=r"belongs to another .*model"):
        train(RoutedCausalLM(plain_model("llama"), 2, [1]), ERA, rows(), CONFIG, path)
