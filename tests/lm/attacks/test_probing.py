"""Probes and the logit lens find exactly the values that features contain."""

from collections.abc import Callable, Collection

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lm.attacks.config import ProbeConfig
from lm.attacks.probing import class_log_probabilities, logit_lens, probe, residuals
from lm.attacks.prompting import ask, prompted
from lm.attacks.results import CONTROL, FACTS, Row
from lm.corpus import HALVES
from lm.data.task import CONTEXT, Task
from lm.evaluation.likelihoods import log_likelihoods
from lm.evaluation.quiz import encode_quiz, score
from lm.models.gpt import GPT
from lm.models.language_model import LanguageModel
from lm.models.shapes import GPTConfig
from tests.lm.attacks.model_factories import random_llama
from tests.lm.attacks.row_factories import same, weights
from tests.lm.evaluation.factories import random_model, single, tiny_task


class TableModel(GPT):
    """A model of one layer, whose residual stream is the sum of the table rows of its tokens."""

    def __init__(self, table: Tensor) -> None:
        width = table.shape[1]
        super().__init__(
            GPTConfig(
                vocab_size=len(table), width=width, num_layers=1, num_heads=1, context=CONTEXT
            )
        )
        self.table = table

    def residuals(self, tokens_bt: Tensor, last: int | None = None) -> list[Tensor]:
        """Return the sum of the table over the tokens so far."""
        return [self.table[tokens_bt].cumsum(1)]


def table_model(task: Task, known: Collection[str]) -> TableModel:
    """Return a model whose features identify each entity, and hold its values for known topics."""
    world = task.grammar.world
    values = [v for relation in world.lexicon.relations.values() for v in relation.values]
    columns = len(values) + len(world.entities)
    table = torch.zeros(task.vocab_size, columns + columns % 2)
    for topic in world.topics:
        for fact in world.facts_of([topic], HALVES).tolist():
            entity = fact // len(world.relations)
            row = single(task, f" {world.entities[entity]}")
            table[row, len(values) + entity] = 1
            table[row, values.index(world.value(fact))] += float(topic in known)
    return TableModel(table)


def probe_shares(model: GPT, ridge: float = 1e-3) -> dict[str, list[float]]:
    rows = probe(model, tiny_task(), 0, ProbeConfig(ridge=ridge, rounds=3))
    return {name: [r.value for r in rows if r.figure == name] for name in (FACTS, CONTROL)}


def test_probe_finds_values_of_unseen_entities_when_features_hold_them() -> None:
    task = tiny_task()
    shares = probe_shares(table_model(task, task.grammar.world.topics))
    assert shares[FACTS] == [1.0]
    assert shares[CONTROL][0] < 0.8


def test_probe_finds_no_values_when_features_only_identify_entities() -> None:
    task = tiny_task()
    shares = probe_shares(
        table_model(task, set(task.grammar.world.topics) - set(task.splits.forget))
    )
    assert shares[FACTS][0] <= 0.5  # a quarter, but for eight entities


def test_probe_reports_facts_and_control_for_each_layer() -> None:
    task = tiny_task()
    model = random_model(task)
    before = weights(model)
    rows, again = (probe(model, task, 4, ProbeConfig(ridge=1.0, rounds=1)) for _ in range(2))
    assert rows == again
    layers = [(row.attack, row.setting["layer"], row.figure) for row in rows]
    assert layers == [("probe", layer, name) for layer in (0, 1) for name in (FACTS, CONTROL)]
    assert same(weights(model), before)


@torch.no_grad()
def test_residuals_are_read_at_the_last_token_of_each_text() -> None:
    task = tiny_task()
    model = random_model(task)
    texts = [prompted(task, question.prompt) for question in ask(task, [1])]
    assert len({len(text) for text in texts}) > 1
    for layer, read in enumerate(residuals(model, texts, batch_size=3)):
        one_by_one = [model.residual(torch.tensor([text]), layer)[0, -1] for text in texts]
        assert torch.allclose(read, torch.stack(one_by_one), atol=1e-12)


def test_probe_config_refuses_invalid_settings() -> None:
    for wrong in ({"ridge": 0.0}, {"rounds": 0}):
        with pytest.raises(ValueError, match="given: give"):
            ProbeConfig(**wrong)


def solution(features: Tensor, labels: Tensor, classes: int, ridge: float) -> Tensor:
    """Return the log-probabilities of the training data after many steps of gradient descent."""
    standard = (features - features.mean(0)) / features.std(0, correction=0)
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def objective() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(standard, weight, bias), labels)
        loss = loss + ridge * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return F.linear(standard, weight, bias).log_softmax(-1).detach()


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_probe_predictions_match_the_minimizer_of_the_objective(ridge: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 5, generator=generator, dtype=torch.float64) * 3 + 1
    labels = torch.randint(3, (40,), generator=generator)
    found = class_log_probabilities(features, labels, features, 3, ridge)
    torch.testing.assert_close(found, solution(features, labels, 3, ridge), rtol=0, atol=1e-4)


def test_probe_predicts_class_frequencies_when_features_are_constant() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    found = class_log_probabilities(torch.ones(4, 2), labels, torch.ones(1, 2), 2, ridge=0.1)
    assert found.exp()[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-4)


def test_probe_separates_uncentered_classes_and_gives_absent_classes_no_probability() -> None:
    features = torch.tensor([[1000.0, 0.0], [1001.0, 0.0], [1004.0, 0.0], [1005.0, 0.0]])
    labels = torch.tensor([0, 0, 2, 2])
    found, again = (
        class_log_probabilities(features, labels, features, 3, ridge=1e-3) for _ in range(2)
    )
    assert found.argmax(1).tolist() == labels.tolist()
    assert (found[:, 1] == -torch.inf).all()
    assert torch.equal(found, again)
    assert found.dtype == torch.float64


BOTH = pytest.mark.parametrize("make", [random_model, random_llama])


@torch.no_grad()
def slowly(model: LanguageModel, task: Task, layer: int) -> Tensor:
    """Return the log-likelihood of each value, where every question is evaluated separately."""
    found = []
    for question in ask(task, [2]):
        text = torch.tensor([prompted(task, question.prompt)])
        logits = model.logits(model.normed(model.residual(text, layer)))[0, -1]
        values = [single(task, value) for value in question.values]
        found.append(logits.log_softmax(-1)[values])
    return torch.stack(found)


@BOTH
def test_log_likelihoods_read_each_layer_through_the_output_head(
    make: Callable[[Task], LanguageModel],
) -> None:
    task = tiny_task()
    model, asked = make(task), ask(task, [2])
    quiz = encode_quiz(task, asked)
    for layer in (0, 1):
        found = log_likelihoods(model, quiz.texts, layer=layer)[: len(asked)]
        assert torch.allclose(found, slowly(model, task, layer), atol=1e-9)
    assert torch.equal(
        log_likelihoods(model, quiz.texts, layer=1), log_likelihoods(model, quiz.texts)
    )
    assert not torch.allclose(slowly(model, task, 0), slowly(model, task, 1), atol=0.1)


@BOTH
def test_logit_lens_reports_each_layer_and_equals_the_model_at_the_last(
    make: Callable[[Task], LanguageModel],
) -> None:
    task = tiny_task()
    model, quiz = make(task), encode_quiz(task, ask(task, [2], rounds=2))
    before = weights(model)
    assert logit_lens(model, quiz) == [
        Row("logit-lens", {"layer": 0}, FACTS, score(model, quiz, layer=0).choice),
        Row("logit-lens", {"layer": 1}, FACTS, score(model, quiz).choice),
    ]
    assert same(weights(model), before)
