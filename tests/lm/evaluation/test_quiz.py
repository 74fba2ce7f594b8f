"""Questions asked of models with known answers, and the calibration of an output bias."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lm.corpus import HALVES, Question, StoryDistribution, make_questions
from lm.data.task import StoryRows, Task
from lm.evaluation.harness import Source, check_records
from lm.evaluation.likelihoods import losses
from lm.evaluation.quiz import (
    CalibrationConfig,
    Quiz,
    calibrate,
    credit,
    draw_records,
    encode_quiz,
    encode_records,
    guessing_share,
    prompt_of,
    score,
)
from lm.models.gpt import GPT
from lm.models.hf import RoutedCausalLM
from tests.lm.data.factories import make_tokenizer
from tests.lm.evaluation.factories import Scripted, knower, random_model, single, tiny_task, uniform
from tests.lm.models.hf_factories import LLAMA, transformers

TASK = tiny_task()
WORLD = TASK.grammar.world
WOOD = WORLD.facts_of(["wood"]).tolist()


def ask(*topics: str, task: Task = TASK, parts: tuple[str, ...] = HALVES) -> list[Question]:
    distribution = StoryDistribution(topics=topics or None, parts=parts)
    return make_questions(task.grammar, np.random.default_rng(4), distribution)


def quiz(*topics: str) -> Quiz:
    return encode_quiz(TASK, ask(*topics))


def test_uniform_model_scores_chance() -> None:
    assert len(quiz()) == len(WORLD.facts_of(WORLD.topics))
    assert score(uniform(TASK.vocab_size), quiz()) == pytest.approx((1 / 4, 1 / 4, 1 / 5))


def test_model_that_knows_the_facts_scores_one_except_on_controls() -> None:
    assert score(knower(TASK, WOOD), quiz("wood")) == (1, 1 / 4, 1)
    assert score(knower(TASK, WOOD), quiz("lake")) == pytest.approx((1 / 4, 1 / 4, 1 / 5))


def test_model_that_knows_some_facts_scores_chance_on_the_rest() -> None:
    found = score(knower(TASK, WOOD[:6]), quiz("wood"))
    known = 6 / len(WOOD)
    assert found.choice == pytest.approx(known + (1 - known) / 4)
    assert found.control == 1 / 4
    assert found.cloze == pytest.approx(known + (1 - known) / 5)


def test_favored_value_outside_the_choices_affects_only_cloze() -> None:
    bias = torch.zeros(TASK.vocab_size)
    favored = f" {WORLD.lexicon.relations['color'].values[0]}"
    bias[single(TASK, favored)] = 100
    asked = [question for question in ask("wood") if question.relation == "color"]
    absent = [q for q in asked if favored not in q.choices]
    assert 0 < len(absent) < len(asked)
    model = knower(TASK, WOOD)
    assert score(model, encode_quiz(TASK, absent), bias) == (1, 1 / 4, 0)
    present = encode_quiz(TASK, [q for q in asked if q not in absent])
    assert score(model, present, bias) == (1 / 4, 1 / 4, 1 / 4)


def test_score_does_not_depend_on_the_order_of_choices() -> None:
    for model in (uniform(TASK.vocab_size), knower(TASK, WOOD[:5])):
        expected = score(model, quiz("wood"))
        for shift in range(4):
            turned = quiz("wood")
            rolled = Quiz(
                turned.texts,
                turned.choices.roll(shift, 1),
                (turned.answers + shift) % 4,
                turned.cloze_answers,
            )
            assert score(model, rolled) == expected


@torch.no_grad()
def slow(model: GPT, task: Task, asked: Sequence[Question], bias: Tensor) -> list[float]:
    """Return the three scores, where every continuation is evaluated separately."""

    def likelihood(text: str, more: str) -> float:
        first = [0, *task.tokenizer.encode(text).ids]
        tokens = [0, *task.tokenizer.encode(text + more).ids]
        logs = torch.log_softmax(model(torch.tensor([tokens]))[0] + bias, -1)
        return sum(
            float(logs[place - 1, tokens[place]]) for place in range(len(first), len(tokens))
        )

    right = np.zeros(3)
    for q in asked:
        for column, (text, choices, answer) in enumerate(
            [
                (q.prompt, q.choices, q.answer),
                (q.control, q.choices, q.answer),
                (q.prompt, q.values, q.cloze_answer),
            ]
        ):
            found = [likelihood(text, choice) for choice in choices]
            right[column] += found.index(max(found)) == answer
    return [float(share) for share in right / len(asked)]


@pytest.mark.parametrize("batch_size", [5, 256])
def test_score_matches_a_slow_reference_when_values_have_several_tokens(batch_size: int) -> None:
    task = tiny_task(vocab_size=272)
    asked = ask("wood", task=task)
    values = {value for question in asked for value in question.values}
    assert {len(task.tokenizer.encode(value).ids) for value in values} == {4, 5, 6}
    bias = torch.linspace(-1, 1, task.vocab_size, dtype=torch.float64)
    model = random_model(task)
    found = score(model, encode_quiz(task, asked), bias, batch_size)
    assert found == pytest.approx(slow(model, task, asked, bias))
    assert found.control == 1 / 4


def test_random_model_scores_chance_on_controls() -> None:
    assert score(random_model(TASK), quiz()).control == 1 / 4


def test_equal_prompts_are_read_once() -> None:
    asked = ask("wood")
    different = {q.prompt for q in asked} | {q.control for q in asked}
    assert len(quiz("wood").texts.lengths) == len(different) == len(asked) * 5 // 4


def test_prompts_start_after_an_end_token() -> None:
    beginnings = quiz().texts.rows
    assert (beginnings[:, 0] == 0).all()
    assert (beginnings[:, 1] != 0).all()


def test_tied_choices_share_the_credit() -> None:
    scores = torch.tensor(
        [[1.0, 2, 2, 2], [2, 2, 2, 2], [1, 3, 2, 0], [3, 1, 3, 0], [float("nan"), 1, 0, 0]]
    )
    right = torch.tensor([3, 0, 1, 1, 1])
    assert credit(scores, right).tolist() == pytest.approx([1 / 3, 1 / 4, 1, 0, 0])


def test_model_with_nan_logits_scores_zero() -> None:
    size = TASK.vocab_size
    model = Scripted(size, lambda tokens: torch.full((*tokens.shape, size), torch.nan))
    assert score(model, quiz("wood")) == (0, 0, 0)


def test_encode_quiz_refuses_an_empty_list() -> None:
    with pytest.raises(ValueError, match="without questions"):
        encode_quiz(TASK, [])


ROWS = TASK.sample(24, [8])
FORGET, ADJACENT, RETAIN = (ROWS.take(ROWS.topics == topic) for topic in range(3))
LONG = CalibrationConfig(learning_rate=0.2, batch_tokens=100_000)


def frequencies(rows: StoryRows) -> Tensor:
    counts = torch.bincount(rows.targets[rows.kinds >= 0], minlength=TASK.vocab_size)
    return counts.double() / counts.sum()


@torch.no_grad()
def predicted(model: GPT, rows: StoryRows, bias: Tensor) -> Tensor:
    """Return the mean probability of each token."""
    shares = torch.softmax(model(rows.inputs) + bias, -1)
    return shares[rows.kinds >= 0].double().mean(0)


def objective(model: GPT, bias: Tensor, weight: float = 100.0) -> float:
    parts = [losses(model, rows, bias).loss for rows in (FORGET, RETAIN, ADJACENT)]
    return (parts[0] + weight * sum(parts[1:])) / (1 + 2 * weight)


@pytest.mark.parametrize("weight", [0.0, 1.0, 100.0])
def test_calibration_finds_token_frequencies_when_features_are_zero(weight: float) -> None:
    model = GPT(uniform(TASK.vocab_size).config)
    with torch.no_grad():
        model.embedding.zero_()
    bias = calibrate(model, FORGET, RETAIN, ADJACENT, replace(LONG, retain_weight=weight))
    expected = frequencies(FORGET) + weight * (frequencies(RETAIN) + frequencies(ADJACENT))
    expected /= 1 + 2 * weight
    torch.testing.assert_close(torch.softmax(bias.double(), 0), expected, rtol=0, atol=2e-3)


def test_calibrated_mean_predictions_match_token_frequencies() -> None:
    model = random_model(TASK, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bias = calibrate(model, FORGET, RETAIN, config=replace(LONG, retain_weight=3.0))
    found = predicted(model, FORGET, bias) + 3 * predicted(model, RETAIN, bias)
    expected = frequencies(FORGET) + 3 * frequencies(RETAIN)
    torch.testing.assert_close(found / 4, expected / 4, rtol=0, atol=2e-3)
    assert not bias.requires_grad
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_calibration_recovers_tokens_that_are_only_suppressed() -> None:
    rule = torch.randn(TASK.vocab_size, TASK.vocab_size, generator=torch.Generator().manual_seed(1))
    muted = torch.zeros(TASK.vocab_size)
    muted[FORGET.targets[FORGET.kinds >= 0]] = -4
    plain = Scripted(TASK.vocab_size, lambda tokens: rule[tokens])
    shallow = Scripted(TASK.vocab_size, lambda tokens: rule[tokens] + muted)
    assert losses(shallow, FORGET).loss > losses(plain, FORGET).loss + 1
    found = [
        losses(model, FORGET, calibrate(model, FORGET, RETAIN, ADJACENT, LONG)).loss
        for model in (plain, shallow)
    ]
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_default_calibration_is_near_optimal_and_deterministic() -> None:
    model = random_model(TASK, torch.float32)
    config = CalibrationConfig(batch_tokens=100)
    assert min(int((rows.kinds >= 0).sum()) for rows in (FORGET, RETAIN, ADJACENT)) > 100
    bias = calibrate(model, FORGET, RETAIN, ADJACENT, config)
    assert bias.equal(calibrate(model, FORGET, RETAIN, ADJACENT, config))
    other = CalibrationConfig(batch_tokens=100, seed=1)
    assert not bias.equal(calibrate(model, FORGET, RETAIN, ADJACENT, other))
    before = objective(model, torch.zeros_like(bias))
    best = objective(model, calibrate(model, FORGET, RETAIN, ADJACENT, LONG))
    assert objective(model, bias) - best < 0.05 * (before - best)


def test_calibration_weighs_sets_independently_of_their_size() -> None:
    model = random_model(TASK, torch.float32)
    twice = FORGET.take(torch.arange(len(FORGET)).repeat(2))
    once, repeated = (calibrate(model, rows, RETAIN, config=LONG) for rows in (FORGET, twice))
    probabilities = [predicted(model, FORGET, bias) for bias in (once, repeated)]
    torch.testing.assert_close(*probabilities, rtol=0, atol=1e-3)


def test_calibration_returns_zero_bias_when_steps_are_zero() -> None:
    bias = calibrate(random_model(TASK), FORGET, RETAIN, config=CalibrationConfig(steps=0))
    assert bias.equal(torch.zeros(TASK.vocab_size))


def test_calibration_refuses_invalid_settings_and_empty_sets() -> None:
    with pytest.raises(ValueError, match="without stories"):
        calibrate(random_model(TASK), FORGET.take(torch.arange(0)), RETAIN)
    with pytest.raises(ValueError, match="steps -1"):
        CalibrationConfig(steps=-1)
    with pytest.raises(ValueError, match="batch_tokens 0"):
        CalibrationConfig(batch_tokens=0)
    with pytest.raises(ValueError, match="learning_rate 0"):
        CalibrationConfig(learning_rate=0)
    with pytest.raises(ValueError, match="retain_weight -1"):
        CalibrationConfig(retain_weight=-1)


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
RECORDS = check_records(GIVEN, "questions")


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


def test_scores_of_records_equal_those_of_a_slow_reference() -> None:
    model = make_model()
    found = score(model, encode_records(RECORDS, TOKENIZER, START))
    assert found.choice == share_right(model, with_question=True)
    assert found.control == share_right(model, with_question=False)
    assert found.cloze is None


def test_prompt_of_a_record_is_that_of_the_harness() -> None:
    task = Source(RECORDS).task("cloze")
    for record, doc in zip(RECORDS[:5], task.task_docs, strict=False):
        assert task.fewshot_context(doc, num_fewshot=0) == prompt_of(record)


def test_records_are_drawn_by_the_seed_and_kept_in_order() -> None:
    assert draw_records(RECORDS, None, 0) == draw_records(RECORDS, 50, 0) == RECORDS
    some = draw_records(RECORDS, 4, 0)
    assert some == draw_records(RECORDS, 4, 0) != draw_records(RECORDS, 4, 1)
    places = [RECORDS.index(record) for record in some]
    assert places == sorted(set(places))
    assert guessing_share([len(record["choices"]) for record in RECORDS]) == pytest.approx(
        (1 / 2 + 1 / 3 + 1 / 4) / 3
    )


def test_no_records_and_choices_without_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="0 texts"):
        encode_records([], TOKENIZER, START)
    with pytest.raises(ValueError, match="the choice 'the forest' has no tokens of its own"):
        encode_records(RECORDS, lambda text, **_: {"input_ids": [1]}, START)
