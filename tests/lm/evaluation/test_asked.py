"""Tests of questions of files, asked of a model, against a slow reference and the harness."""

import math

import pytest
import torch
from torch import Tensor, nn

from lm.evaluation.asked import chance, checked, drawn, encode_records, prompt_of
from lm.evaluation.harness import Source
from lm.evaluation.quiz import score
from lm.models.hf import RoutedCausalLM
from tests.lm.data.factories import make_tokenizer
from tests.lm.models.hf_factories import LLAMA, transformers

TOKENIZER = make_tokenizer()
START = 7
GIVEN = [
    {
        "question": f"What was old in story {n}? ",
        "choices": ["the forest", "the sea", "a virus", "RNA"][: 2 + n % 3],
        "answer": n % 2,
        "subject": "old_things" if n % 4 else "",
    }
    for n in range(12)
]
RECORDS = checked(GIVEN, "questions")


def make_model() -> RoutedCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        sizes = {"hidden_size": 8, "vocab_size": 330, "max_position_embeddings": 128}
        return RoutedCausalLM(
            transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA, **sizes))
        )


def log_likelihood(model: nn.Module, prompt: str, choice: str) -> float:
    """Return the log-likelihood of a choice after a prompt, token by token."""
    before = TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    whole = TOKENIZER(f"{prompt} {choice}", add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([[START, *whole]])
    table: Tensor = torch.log_softmax(model(tokens).double(), -1)[0]
    return math.fsum(float(table[n, whole[n]]) for n in range(len(before), len(whole)))


@torch.no_grad()
def share_right(model: nn.Module, with_question: bool) -> float:
    """Return the share of questions whose right choice is the most likely one."""
    right = []
    for record in RECORDS:
        prompt = prompt_of(record) if with_question else "Answer:"
        found = [log_likelihood(model, prompt, choice) for choice in record["choices"]]
        right.append(found.index(max(found)) == record["answer"])
    return float(sum(right) / len(right))


def test_scores_equal_those_of_a_slow_reference() -> None:
    model = make_model()
    found = score(model, encode_records(RECORDS, TOKENIZER, START))
    assert found.choice == share_right(model, with_question=True)
    assert found.control == share_right(model, with_question=False)
    assert found.cloze is None


def test_prompt_is_that_of_the_harness() -> None:
    task = Source(RECORDS).task("cloze")
    for record, doc in zip(RECORDS[:5], task.task_docs, strict=False):
        assert task.fewshot_context(doc, num_fewshot=0) == prompt_of(record)


def test_questions_are_drawn_by_the_seed_and_kept_in_order() -> None:
    assert drawn(RECORDS, None, 0) == drawn(RECORDS, 50, 0) == RECORDS
    some = drawn(RECORDS, 4, 0)
    assert some == drawn(RECORDS, 4, 0) != drawn(RECORDS, 4, 1)
    places = [RECORDS.index(record) for record in some]
    assert places == sorted(set(places))
    assert chance(RECORDS) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"questions are \[\]: give a list of one question or more"),
        ("what?", "questions are 'what\\?': give a list"),
        (["what?"], "questions, record 0 holds str: give an object with question, choices, answer"),
        ([GIVEN[0], {"question": "a"}], "questions, record 1 lacks choices, answer"),
        ([{**GIVEN[0], "answer": 5}], "record 0: its answer is 5"),
    ],
)
def test_malformed_questions_are_refused(given: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked(given, "questions")


def test_no_questions_and_choices_without_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="0 texts"):
        encode_records([], TOKENIZER, START)
    with pytest.raises(ValueError, match="the choice 'the forest' has no tokens of its own"):
        encode_records(RECORDS, lambda text, **_: {"input_ids": [1]}, START)
