"""LoRA matches peft, and leaves the adapted model unchanged."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lm.attacks.config import AttackConfig, LoRAConfig
from lm.attacks.lora import LowRank, adapt, linear_maps
from lm.attacks.relearning import relearn
from lm.models.hf import RoutedCausalLM
from lm.models.language_model import LanguageModel
from lm.models.shapes import GPTConfig
from lm.training.route_tables import RETAIN, UNROUTED
from oversight.routing import routing
from tests.lm.attacks.row_factories import Weights, loss_of, same, stories, weights
from tests.lm.models.gpt_factories import EXPANDED, SMALL, random_gpt, tokens
from tests.lm.models.hf_factories import plain_model, plain_name

peft = pytest.importorskip("peft")
Conv1D = pytest.importorskip("transformers.pytorch_utils").Conv1D

CONFIG = LoRAConfig(rank=2, alpha=5.0)
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def backward(model: LanguageModel, inputs: Tensor, targets: Tensor) -> float:
    with routing(model, UNROUTED, torch.full_like(inputs, RETAIN)):
        loss = model.loss(inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def updates(model: nn.Module) -> dict[str, LowRank]:
    """Return the updates of a routed model by the names of their maps in the plain model."""
    return {
        plain_name(name).removesuffix(".parametrizations.weight.0"): module
        for name, module in model.named_modules()
        if isinstance(module, LowRank)
    }


# peft 0.21 asks what transformers 5.23 has renamed
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_outputs_and_gradients_equal_those_of_peft() -> None:
    plain = plain_model("llama", torch.float64)
    ours = RoutedCausalLM(copy.deepcopy(plain))
    adapt(ours, CONFIG)
    settings = peft.LoraConfig(r=2, lora_alpha=5.0, target_modules=MAPS, lora_dropout=0.0)
    theirs = peft.get_peft_model(plain, settings)
    generator = torch.Generator().manual_seed(3)
    mine = updates(ours)
    layers = {name: theirs.get_submodule(f"base_model.model.{name}") for name in mine}
    assert len(mine) == 2 * len(MAPS)
    with torch.no_grad():
        for name, update in mine.items():
            update.b.copy_(torch.randn(update.b.shape, generator=generator))
            layers[name].lora_A["default"].weight.copy_(update.a)
            layers[name].lora_B["default"].weight.copy_(update.b)
    inputs, targets = (part[:, :5] for part in tokens())
    own = backward(ours, inputs, targets)
    logits = theirs(input_ids=inputs).logits
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    assert own == pytest.approx(float(loss.detach()), rel=1e-12)
    for name, update in mine.items():
        for one, other in ((update.a, "lora_A"), (update.b, "lora_B")):
            grad = getattr(layers[name], other)["default"].weight.grad
            assert one.grad is not None
            assert torch.allclose(one.grad, grad, rtol=1e-9, atol=1e-12)
            assert float(grad.abs().max()) > 0


@pytest.mark.parametrize("shape", [SMALL, EXPANDED])
def test_adapt_keeps_the_outputs_and_trains_only_the_updates(shape: GPTConfig) -> None:
    model = random_gpt(shape)
    before, inputs = weights(model), tokens()[0]
    with torch.no_grad():
        logits = model(inputs)
    trained = adapt(model, CONFIG, seed=1)
    with torch.no_grad():
        assert torch.equal(model(inputs), logits)
    assert [p for p in model.parameters() if p.requires_grad] == trained
    assert len(trained) == 2 * len(list(linear_maps(model)))
    for update in updates(model).values():
        bound = update.a.shape[1] ** -0.5
        assert 0 < float(update.a.detach().abs().max()) <= bound
    after = {
        name.replace("parametrizations.weight.original", "weight"): tensor
        for name, tensor in weights(model).items()
        if not name.endswith((".a", ".b"))
    }
    assert same(after, before)


@pytest.mark.parametrize("transposed", [False, True])
def test_update_adds_b_times_a_scaled_by_alpha_over_rank(transposed: bool) -> None:
    weight = torch.arange(6.0).view(3, 2)
    linear = Conv1D(3, 2) if transposed else nn.Linear(2, 3)
    update = LowRank(linear, LoRAConfig(rank=1, alpha=2.0), torch.Generator())
    with torch.no_grad():
        update.a.copy_(torch.tensor([[1.0, 2.0]]))
        update.b.copy_(torch.tensor([[1.0], [0.0], [-1.0]]))
    expected = weight + 2 * torch.tensor([[1.0, 2.0], [0.0, 0.0], [-1.0, -2.0]])
    updated = update(weight.T).T if transposed else update(weight)
    assert torch.equal(updated, expected)


def test_relearning_with_lora_changes_only_the_updates() -> None:
    model, seen = random_gpt(), Weights()
    before = weights(model)
    config = AttackConfig(steps=3, evaluate_at=(0,))
    relearn(model, stories(), seen, 0.05, config, LoRAConfig(rank=1))
    assert same(weights(model), before)
    first, last = seen.seen
    assert {name for name in first if not torch.equal(first[name], last[name])} == {
        name for name in first if name.endswith((".a", ".b"))
    }
    one, again = (
        relearn(model, stories(), loss_of(stories()), 0.05, config, CONFIG) for _ in range(2)
    )
    assert one == again
    assert one.values["loss"][-1] < one.values["loss"][0]


@pytest.mark.parametrize(
    "wrong",
    [{"rank": 0}, {"alpha": 0.0}, {"learning_rates": ()}, {"learning_rates": (0.1, 0.1)}],
)
def test_lora_config_refuses_invalid_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="given: give"):
        LoRAConfig(**wrong)  # type: ignore[arg-type]
