"""Losses and log-likelihoods match closed forms and slow references."""

from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lm.corpus import Kind
from lm.data.task import StoryRows
from lm.evaluation import likelihoods
from lm.evaluation.likelihoods import (
    lay_out,
    log_likelihoods,
    losses,
    token_losses,
)
from lm.models.gpt import GPT
from lm.models.language_model import IGNORED
from tests.lm.evaluation.factories import knower, random_model, tiny_task, uniform
from tests.lm.factories import expanded_copy
from tests.lm.models.gpt_factories import SMALL, random_gpt

TASK = tiny_task()
ROWS = TASK.sample(11, [5])
BIAS = torch.linspace(-2, 2, TASK.vocab_size, dtype=torch.float64)


@torch.no_grad()
def slow(model: GPT, rows: StoryRows, bias: Tensor) -> tuple[float, float]:
    """Return both losses, computed token by token."""
    every: list[float] = []
    words: list[float] = []
    for tokens, kinds in zip(rows.tokens.tolist(), rows.kinds.tolist(), strict=True):
        story = [token for token in tokens if token != IGNORED]
        for place in range(1, len(story)):
            logits = (model(torch.tensor([story[:place]]))[0, -1] + bias).tolist()
            total = sum(torch.tensor(logits, dtype=torch.float64).exp().tolist())
            every.append(log(total) - logits[story[place]])
            if kinds[place - 1] == Kind.VALUE:
                if place == 1 or kinds[place - 2] != Kind.VALUE:
                    words.append(0.0)
                words[-1] += every[-1]
    return sum(every) / len(every), sum(words) / len(words)


def two_stories() -> StoryRows:
    """Return two stories, with values of one and two tokens in the first and one in the second."""
    frame, value, gone = int(Kind.FRAME), int(Kind.VALUE), -1
    return StoryRows(
        tokens=torch.tensor([[0, 3, 4, 5, 6, 2, 0], [0, 7, 3, 0, *[IGNORED] * 3]]).short(),
        kinds=torch.tensor(
            [
                [value, frame, value, value, frame, frame],
                [frame, value, frame, gone, gone, gone],
            ]
        ).short(),
        facts=torch.tensor([[1, -1, 2, 2, -1, -1], [-1, 1, -1, -1, -1, -1]]).int(),
        topics=torch.zeros(2, dtype=torch.int64),
    )


def test_uniform_model_has_the_log_of_the_vocabulary_size_as_loss() -> None:
    found = losses(uniform(TASK.vocab_size), ROWS)
    assert found.loss == pytest.approx(log(TASK.vocab_size), rel=1e-6)
    assert found.facts == pytest.approx(log(TASK.vocab_size), rel=1e-6)


def test_value_of_two_tokens_counts_once_with_summed_loss() -> None:
    found = losses(uniform(8), two_stories())
    assert found.loss == pytest.approx(log(8), rel=1e-6)
    assert found.facts == pytest.approx(4 / 3 * log(8), rel=1e-6)


def test_bias_shifts_the_logits() -> None:
    shares = torch.tensor([0.3, 0.1, 0.1, 0.2, 0.05, 0.1, 0.1, 0.05])
    found = losses(uniform(8), two_stories(), shares.log())
    values = [3, 5, 6, 3]  # the second word is two tokens
    assert found.facts == pytest.approx(-sum(log(shares[v]) for v in values) / 3, rel=1e-6)
    targets = [3, 4, 5, 6, 2, 0, 7, 3, 0]
    assert found.loss == pytest.approx(-sum(log(shares[token]) for token in targets) / 9, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_losses_match_a_slow_reference(batch_size: int) -> None:
    model = random_model(TASK)
    expected = slow(model, ROWS, BIAS)
    assert losses(model, ROWS, BIAS, batch_size) == pytest.approx(expected, rel=1e-6)


def test_logits_are_computed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(TASK)
    whole = token_losses(model, ROWS)
    sizes: list[int] = []
    log_probabilities = likelihoods.log_probabilities

    def counted(model: GPT, features: Tensor, bias: Tensor | None = None) -> Tensor:
        sizes.append(len(features))
        return log_probabilities(model, features, bias)

    monkeypatch.setattr(likelihoods, "CHUNK_LOGITS", 7 * TASK.vocab_size)
    monkeypatch.setattr(likelihoods, "log_probabilities", counted)
    torch.testing.assert_close(token_losses(model, ROWS), whole)
    assert max(sizes) == 7
    assert sum(sizes) == int((ROWS.kinds >= 0).sum())


def test_token_losses_are_zero_after_the_story() -> None:
    model = random_model(TASK)
    table = token_losses(model, ROWS)
    assert table.shape == ROWS.kinds.shape
    assert (table > 0).equal(ROWS.kinds >= 0)
    with torch.no_grad():
        expected = model.token_losses(ROWS.inputs, ROWS.targets).float()
    torch.testing.assert_close(table, expected, rtol=1e-5, atol=1e-5)


def test_knowing_facts_lowers_only_their_loss() -> None:
    forget = TASK.to_forget(ROWS.topics)
    mine, others = ROWS.take(forget), ROWS.take(~forget)
    model, nothing = knower(TASK, TASK.grammar.world.facts_of(["wood"])), uniform(TASK.vocab_size)
    # It hesitates between two values after the first entity, and three or four after the second.
    assert losses(model, mine).facts == pytest.approx(log(2) / 2 + log(4) / 2, abs=0.15)
    assert losses(model, others) == losses(nothing, others)


def test_losses_include_the_expansion_and_leave_no_gradients() -> None:
    model = expanded_copy(random_model(TASK, torch.float32), 3, [1])
    before = losses(model, ROWS)
    with torch.no_grad():
        model.layers()[1].mlp.added["expansion"].down.weight.normal_()  # type: ignore[union-attr, operator]
    assert losses(model, ROWS) != before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fact_loss_is_none_when_no_fact_is_stated() -> None:
    rows = two_stories()
    plain = replace(rows, kinds=rows.kinds.clamp(max=int(Kind.NOUN)))
    assert losses(uniform(8), plain).facts is None
    assert losses(uniform(8), plain).loss == losses(uniform(8), rows).loss


def test_losses_refuse_an_empty_set_of_stories() -> None:
    with pytest.raises(ValueError, match="no stories were given to read losses on"):
        losses(uniform(TASK.vocab_size), ROWS.take(torch.arange(0)))


TEXTS = [[1, 2], [3], [1, 2], [4, 5, 6]]
MORE = [
    [[7], [8, 9], [8, 9, 10]],
    [[8], [8, 1], [2]],
    [[7], [8, 9], [3]],
    [[6], [6, 6], [6, 6, 6]],
]


def test_lay_out_has_no_row_that_is_in_another() -> None:
    laid = lay_out(TEXTS, MORE)
    rows = zip(laid.rows.tolist(), laid.lengths.tolist(), strict=True)
    assert [tuple(row[:length]) for row, length in rows] == [(1, 2, 8, 9), (3, 8), (4, 5, 6, 6, 6)]
    assert laid.sources.tolist() == [0] * 6 + [1] * 4 + [0] * 4 + [2] * 6
    assert laid.positions.tolist()[:10] == [1, 1, 2, 1, 2, 3, 0, 0, 1, 0]


sequences = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@given(
    st.integers(1, 3).flatmap(
        lambda count: st.lists(
            st.tuples(sequences, st.lists(sequences, min_size=count, max_size=count)),
            min_size=1,
            max_size=4,
        )
    )
)
def test_predictions_of_a_layout_spell_the_texts_and_their_continuations(
    cases: list[tuple[list[int], list[list[int]]]],
) -> None:
    laid = lay_out([text for text, _ in cases], [several for _, several in cases])
    read = zip(laid.sources.tolist(), laid.positions.tolist(), laid.tokens.tolist(), strict=True)
    found = [(laid.rows[row, : end + 1].tolist(), token) for row, end, token in read]
    whole = [(text, tokens) for text, several in cases for tokens in several]
    expected = [
        ([*text, *tokens[:end]], token)
        for text, tokens in whole
        for end, token in enumerate(tokens)
    ]
    assert found == expected
    places = [number for number, (_, tokens) in enumerate(whole) for _ in tokens]
    assert laid.places.tolist() == places


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("biased", [False, True])
def test_log_likelihoods_match_a_slow_reference(batch_size: int, biased: bool) -> None:
    model = random_gpt(SMALL, torch.float64)
    bias = torch.linspace(-1, 3, SMALL.vocab_size, dtype=torch.float64) if biased else None
    found = log_likelihoods(model, lay_out(TEXTS, MORE), bias, batch_size)
    for row, (text, several) in enumerate(zip(TEXTS, MORE, strict=True)):
        for column, tokens in enumerate(several):
            expected = 0.0
            for end, token in enumerate(tokens):
                logits = model(torch.tensor([[*text, *tokens[:end]]]))[0, -1]
                shares = torch.softmax(logits if bias is None else logits + bias, 0)
                expected += float(shares[token].log())
            assert float(found[row, column]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        ([], []),
        ([[1]], [[]]),
        ([[]], [[[1]]]),
        ([[1]], [[[1], []]]),
        ([[1], [2]], [[[1]]]),
        ([[1], [2]], [[[1]], [[1], [2]]]),
    ],
)
def test_lay_out_refuses_empty_or_uneven_texts(
    texts: list[list[int]], more: list[list[list[int]]]
) -> None:
    with pytest.raises(ValueError, match="give one or more texts"):
        lay_out(texts, more)
