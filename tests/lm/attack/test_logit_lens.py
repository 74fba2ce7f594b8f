"""The logit lens reads what each layer leaves by the model's own head."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lm.attacks.probing import logit_lens
from lm.attacks.prompting import ask, prompted
from lm.attacks.results import FACTS, Row
from lm.data.task import Task
from lm.evaluation.likelihoods import log_likelihoods
from lm.evaluation.quiz import encode_quiz, score
from lm.models.language_model import LanguageModel
from tests.lm.attack.routed import random_llama
from tests.lm.attack.rows import same, weights
from tests.lm.evaluation import random_model, single, tiny_task

BOTH = pytest.mark.parametrize("make", [random_model, random_llama])


@torch.no_grad()
def slowly(model: LanguageModel, task: Task, layer: int) -> Tensor:
    """Return the log-likelihood of each value, each question read by itself, one token a value."""
    found = []
    for question in ask(task, [2]):
        text = torch.tensor([prompted(task, question.prompt)])
        logits = model.logits(model.normed(model.residual(text, layer)))[0, -1]
        values = [single(task, value) for value in question.values]
        found.append(logits.log_softmax(-1)[values])
    return torch.stack(found)


@BOTH
def test_each_layer_is_read_by_the_head(make: Callable[[Task], LanguageModel]) -> None:
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
def test_each_layer_has_a_row_and_the_last_is_the_model(
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
