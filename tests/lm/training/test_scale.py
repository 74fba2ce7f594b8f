"""Ways to spread a batch change nothing, and what cannot be spread is refused in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.language_model import LanguageModel
from lm.training.batches import Rows, count_targets
from lm.training.distributed import ScaleConfig, compile_and_checkpoint, local_pieces
from lm.training.loop import LoopConfig, accumulate_gradients, enough_memory, train
from lm.training.route_tables import TABLES, UNROUTED
from tests.lm.factories import TensorRows
from tests.lm.small import EXPANDED
from tests.lm.training.spread import CONFIG, Case, Uneven, model_of, trained

MODELS = pytest.mark.parametrize("model", ["gpt", "llama"])


def gradients(model: LanguageModel, table: str, scale: ScaleConfig) -> list[Tensor]:
    """Return the gradients of a batch, computed as the settings say."""
    batch = Uneven("mixed")(0)
    with compile_and_checkpoint(model, scale):
        accumulate_gradients(model, TABLES[table], local_pieces(batch, scale), count_targets(batch))
    found = [parameter.grad for parameter in model.parameters()]
    assert all(grad is not None and grad.any() for grad in found)
    return [grad for grad in found if grad is not None]


@MODELS
@pytest.mark.parametrize("table", TABLES)
def test_pieces_add_up_to_the_whole(model: str, table: str) -> None:
    whole = gradients(model_of(model), table, ScaleConfig())
    for accumulate in (2, 4):
        pieces = gradients(model_of(model), table, ScaleConfig(accumulate=accumulate))
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-6)


@MODELS
@pytest.mark.parametrize("table", TABLES)
def test_activations_that_are_computed_again_teach_the_same_bits(model: str, table: str) -> None:
    kept = gradients(model_of(model), table, ScaleConfig())
    again = gradients(model_of(model), table, ScaleConfig(checkpoint_activations=True))
    assert all(map(torch.equal, kept, again))


@MODELS
def test_blocks_are_computed_again_and_left_as_they_were(model: str) -> None:
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
def test_compiled_blocks_train_alike_without_a_graph_break(
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


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (ScaleConfig(parallel="fsdp"), "this one is alone: start it by `torchrun"),
        (ScaleConfig(parallel="ddp"), "this one is alone: start it by `torchrun"),
        (ScaleConfig(accumulate=3), "4 rows does not divide into 1 processes times accumulate 3"),
    ],
)
def test_what_cannot_be_spread_is_refused(scale: ScaleConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(Case("gpt", "era"), scale)
    with pytest.raises(ValueError, match="give 1 or more"):
        ScaleConfig(accumulate=0)


@MODELS
@pytest.mark.parametrize("place", [0, 6])
def test_a_token_beyond_the_vocabulary_is_refused(model: str, place: int) -> None:
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
def test_a_lack_of_memory_is_told_with_what_to_do(ask: Callable[[], object]) -> None:
    with (
        pytest.raises(ValueError, match=r"lower batch_size, raise accumulate, checkpoint act"),
        enough_memory(),
    ):
        ask()


def test_other_errors_of_a_step_are_not_told_as_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="must match"), enough_memory():
        torch.ones(2) + torch.ones(3)


def test_a_checkpoint_may_be_gone_on_with_in_pieces(tmp_path: Path) -> None:
    case, path = Case("gpt", "parameters"), tmp_path / "training.pt"
    whole = trained(case, ScaleConfig())
    trained(case, ScaleConfig(), path, stop=10)
    rest = trained(case, ScaleConfig(accumulate=2), path)
    assert rest.losses == pytest.approx(whole.losses[8:], abs=1e-5)
    other = replace(CONFIG, learning_rate=1.0)
    with pytest.raises(ValueError, match="by its config"):
        train(GPT(EXPANDED, seed=1), TABLES["parameters"], Uneven("mixed"), other, path)
