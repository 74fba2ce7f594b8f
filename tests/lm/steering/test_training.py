"""Tests of routing to a dimension: what a position teaches, by its next token."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from lm.steering.config import RouteConfig, RunConfig
from lm.steering.training import (
    CONCEPT,
    OTHER,
    ConceptRows,
    Kind,
    concept_table,
    confine_embeddings,
    gate_residual,
    train_model,
)
from lm.training.loop import LoopConfig
from oversight.routing import routing
from tests.lm.steering.factories import CONCEPT as WORDS
from tests.lm.steering.factories import tiny_corpus, tiny_gpt
from tests.lm.text_factories import tiny_model


def gradients(model: GPT, tokens: Tensor, next_bt: Tensor, kind: Kind | None) -> list[Tensor]:
    """Return the gradient of the residual stream below each block's gate, [b, t, d] each.

    The first block has a gate as well, so that what is read is the stream before it.
    """
    found: dict[int, Tensor] = {}
    for number, block in enumerate(model.layers()):

        def read(_m: object, _i: object, y: Tensor, number: int = number) -> None:
            y.register_hook(lambda grad: found.__setitem__(number, grad.clone()))  # type: ignore[no-untyped-call]

        block.register_forward_hook(read, prepend=True)
    table = concept_table("routed" if kind is None else kind)
    route = torch.zeros_like(next_bt) if kind is None else WORDS.mask(next_bt).long()
    with routing(model, table, route):
        model.total_loss(tokens, next_bt).backward()  # type: ignore[no-untyped-call]
    return [found[number] for number in range(len(model.layers()))]


def test_gradient_at_concept_positions_reaches_only_the_dimension() -> None:
    """Of a single position, the closed form is the plain gradient in one dimension, 0 elsewhere."""
    tokens, next_bt = torch.tensor([[1]]), torch.tensor([[3]])
    plain = tiny_gpt(layers=1)
    gate_residual(plain, [0], 2)
    (expected,) = gradients(plain, tokens, next_bt, None)
    model = tiny_gpt(layers=1)
    gate_residual(model, [0], 2)
    (found,) = gradients(model, tokens, next_bt, "routed")
    only = torch.zeros_like(expected)
    only[..., 2] = expected[..., 2]
    assert expected.count_nonzero() == 8
    assert torch.equal(found, only)


def test_gates_mask_every_gated_block_and_no_other() -> None:
    corpus = tiny_corpus()
    tokens, next_bt = corpus.train[:8, :-1].clamp(min=0), corpus.train[:8, 1:]
    model = tiny_gpt(layers=4)
    gate_residual(model, [1, 2], 0)
    below = gradients(model, tokens, next_bt, "routed")
    here = WORDS.mask(next_bt)
    assert here.any()
    for number in (1, 2):
        assert not below[number][here][:, 1:].any()
        assert below[number][here][:, 0].all()
        assert below[number][~here & (next_bt >= 0)][:, 1:].any(1).all()
    assert below[3][here].all(1).all()


def test_unrouted_model_learns_as_without_gates() -> None:
    corpus = tiny_corpus()
    tokens, next_bt = corpus.train[:8, :-1].clamp(min=0), corpus.train[:8, 1:]
    models = [tiny_gpt(), tiny_gpt()]
    gate_residual(models[1], [1], 0)
    for model in models:
        with routing(model, concept_table("unrouted"), WORDS.mask(next_bt).long()):
            model.total_loss(tokens, next_bt).backward()  # type: ignore[no-untyped-call]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("dimension", [0, 3, 7])
def test_gate_changes_no_output(dimension: int) -> None:
    tokens = tiny_corpus().train[:, :-1].clamp(min=0)
    model, gated = tiny_gpt(), tiny_gpt()
    gate_residual(gated, [0, 1], dimension)
    with torch.no_grad():
        assert torch.equal(model(tokens), gated(tokens))


@pytest.mark.parametrize("kind", ["gpt", "hugging face"])
def test_confined_embeddings_learn_in_the_dimension_alone(kind: str) -> None:
    """The other entries of the matrix get the gradient that they get without the mask."""
    models = [tiny_gpt() if kind == "gpt" else RoutedCausalLM(tiny_model()) for _ in range(2)]
    confine_embeddings(models[1], WORDS, 2, new=False)
    tokens, next_bt = torch.tensor([[1, 3, 5]]), torch.tensor([[3, 5, 3]])
    grads = []
    for model in models:
        with routing(model, concept_table(), WORDS.mask(next_bt).long()):
            model.total_loss(tokens, next_bt).backward()  # type: ignore[no-untyped-call]
        grad = model.output_matrix().grad
        assert grad is not None
        grads.append(grad)
    assert grads[0][3].all()
    expected = grads[0].clone()
    expected[3] = 0
    expected[3, 2] = grads[0][3, 2]
    assert torch.equal(grads[1], expected)


def test_confined_embeddings_of_new_models_lie_in_the_dimension() -> None:
    model = tiny_gpt()
    before = model.embedding.detach().clone()
    confine_embeddings(model, WORDS, 2)
    assert model.embedding[3].tolist() == [0, 0, pytest.approx(float(before[3].norm())), *[0] * 5]
    others = torch.arange(len(before)) != 3
    assert torch.equal(model.embedding[others], before[others])


def test_dimension_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 7"):
        gate_residual(tiny_gpt(), [0], 8)


def test_layers_of_hugging_face_are_gated() -> None:
    model = RoutedCausalLM(tiny_model())
    gate_residual(model, [0], 1)
    tokens = torch.tensor([[1, 2, 3]])
    found: list[Tensor] = []
    table = concept_table()
    with routing(model, table, torch.full_like(tokens, CONCEPT)):
        model.layers()[0].register_forward_hook(
            lambda _m, _i, y: (
                (y if isinstance(y, Tensor) else y[0]).register_hook(found.append) and None
            ),
            prepend=True,
        )
        model.total_loss(tokens, tokens).backward()  # type: ignore[no-untyped-call]
    assert found[0][..., 1].all()
    assert found[0].count_nonzero() == 3


def test_route_is_that_of_the_next_token() -> None:
    corpus = tiny_corpus()
    tokens, route = ConceptRows(corpus.train, corpus.concept).read(torch.tensor([0, 1]))
    assert (route == CONCEPT).nonzero().tolist() == [[0, 3]]
    assert (route == OTHER).sum() == 17
    assert tokens[0, 4] == 3


def test_resumed_training_gives_the_same_bits(tmp_path: Path) -> None:
    config = RunConfig(
        batch_size=4,
        route=RouteConfig(first_block=0.4),
        loop=LoopConfig(steps=6, warmup=1, checkpoint_every=3),
    )
    corpus = tiny_corpus()

    class Killed(Exception):  # noqa: N818 (not an error)
        pass

    def kill(share: float) -> None:
        if share > 0.9:
            raise Killed

    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    whole = train_model(config, corpus, "routed", 0, folders[0], lambda share: None)
    with pytest.raises(Killed):
        train_model(config, corpus, "routed", 0, folders[1], kill)
    resumed = train_model(config, corpus, "routed", 0, folders[1], lambda share: None)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
