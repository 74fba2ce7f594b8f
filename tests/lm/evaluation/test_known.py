"""A model knows the facts whose answers it prefers by likelihood, also per character."""

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from lm.data.facts import questions_about
from lm.evaluation import known
from lm.evaluation.known import STATEMENTS, is_best, known_facts
from lm.models.hf import RoutedCausalLM
from tests.lm.data.fact_factories import CAPITALS
from tests.lm.evaluation.question_factories import random_plain_model, small_tokenizer

if TYPE_CHECKING:
    from lm.evaluation.likelihoods import Continuations


def test_answer_must_be_the_only_best_by_both_measures() -> None:
    choices = [["ab", "abcd"]] * 4
    nats = torch.tensor([[-1.0, -3.0], [-2.0, -3.0], [-4.0, -3.0], [-3.0, -3.0]])
    first, second = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    # per character: -.5 and -.75, -1 and -.75, -2 and -.75, -1.5 and -.75
    assert is_best(nats, choices, first).tolist() == [True, False, False, False]
    assert is_best(nats, choices, second).tolist() == [False, False, True, False]


def test_known_facts_are_those_of_a_model_that_prefers_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knows = {"Vienna", "Cairo", "Paris"}
    asked: list[list[int]] = []

    def likelihoods(model: object, encoded: "Continuations", batch_size: int) -> Tensor:
        number = len(asked)
        records = questions_about("capitals", CAPITALS, 5, number)
        assert encoded.shape == (len(CAPITALS), 4)
        asked.append([record["answer"] for record in records])
        found = torch.full(encoded.shape, -9.0)
        for row, record in enumerate(records):
            right = CAPITALS[row].answer
            # Paris is known in the first sentence only
            if right in knows and not (number and right == "Paris"):
                found[row, record["answer"]] = -1.0
        return found

    monkeypatch.setattr(known, "log_likelihoods", likelihoods)
    model = RoutedCausalLM(random_plain_model("llama"))
    found = known_facts(model, small_tokenizer(begins=True), 0, "capitals", CAPITALS, 5)
    assert [fact.answer for fact in found] == ["Vienna", "Cairo"]
    assert len(asked) == STATEMENTS
