"""Tests of the measures: ranks and crossings by hand, rates by a slow loop, samples by seed."""

from math import isnan

import pytest
import torch

from lm.models.language_model import IGNORED
from lm.steering.corpus import Concept
from lm.steering.evaluation import (
    Point,
    absorption,
    alignments,
    at_budget,
    curve,
    measure,
    percentiles,
    ranked,
    sample,
)
from lm.steering.vectors import steered
from tests.lm.steering.factories import CONCEPT, VOCABULARY, tiny_corpus, tiny_gpt

U = torch.tensor([[-4.0, 3.0], [-1.0, 0.0], [-3.0, 4.0], [0.0, 2.0], [5.0, 0.0]])
ALL = torch.ones(5, dtype=torch.bool)


def test_alignment_has_the_sign_of_the_concept() -> None:
    assert alignments(U, 0, [0]).tolist() == pytest.approx([0.8, 1.0, 0.6, 0.0, -1.0])
    assert alignments(-U, 0, [0]).tolist() == pytest.approx([0.8, 1.0, 0.6, 0.0, -1.0])


def test_ranks_of_a_hand_made_matrix() -> None:
    values = alignments(U, 0, [0])
    assert percentiles(values, [1, 0, 4], ALL) == [0.0, 25.0, 100.0]
    without = ALL & torch.tensor([True, False, True, True, True])
    assert percentiles(values, [2], without) == pytest.approx([100 / 3])
    assert [row["token"] for row in ranked(values, "abcde", ALL, 3)] == [1, 0, 2]
    assert [row["text"] for row in ranked(values, "abcde", without, 2)] == ["a", "c"]


def test_related_tokens_are_ranked_with_what_was_never_routed() -> None:
    concept = Concept((1,), {"near": (0, 2), "far": (4,)})
    found = absorption(U, 0, concept, ALL)
    assert found == {"concept": 0.0, "near": pytest.approx(100 / 6), "far": 100.0}


def points(*values: tuple[float, float]) -> list[Point]:
    return [Point(float(k), loss, rate, 0.0) for k, (loss, rate) in enumerate(values)]


def test_rate_at_a_budget_is_interpolated() -> None:
    found = at_budget(points((1.0, 0.1), (1.1, 0.2), (1.3, 0.6)), 0.2)
    assert found == pytest.approx((1.5, 0.4))


def test_rate_at_a_budget_is_the_best_before_the_crossing() -> None:
    found = at_budget(points((1.0, 0.1), (1.05, 0.5), (1.3, 0.0), (1.2, 0.9)), 0.1)
    assert found == pytest.approx((1.0, 0.5))


def test_vector_that_only_lowers_the_rate_gives_its_start() -> None:
    assert at_budget(points((1.0, 0.1), (2.0, 0.0)), 0.5) == pytest.approx((0.0, 0.1))


def test_curve_that_ends_below_a_budget_gives_no_rate() -> None:
    assert all(map(isnan, at_budget(points((1.0, 0.1), (1.1, 0.2)), 0.2)))


def test_measures_equal_a_slow_loop() -> None:
    corpus, model = tiny_corpus(), tiny_gpt()
    losses, rates, related = [], [], []
    for row in corpus.held_out:
        length = int((row[1:] != IGNORED).sum())
        with torch.no_grad():
            shares = model(row[None, :length])[0].double().softmax(-1)
        for place, share in enumerate(shares):
            losses.append(-float(share[row[place + 1]].log()))
            rates.append(float(share[3]))
            related.append(float(share[4] + share[5]))
    count = len(losses)
    expected = (0.0, sum(losses) / count, sum(rates) / count, sum(related) / count)
    assert measure(model, corpus.held_out, CONCEPT) == pytest.approx(expected, rel=1e-5)


def test_curve_steers_by_multiples_of_the_step() -> None:
    corpus, model, step = tiny_corpus(), tiny_gpt(), torch.ones(8)
    found = curve(model, corpus.held_out, CONCEPT, step, 1, (0.0, 0.5))
    assert found[0] == measure(model, corpus.held_out, CONCEPT)
    with steered(model, 1, 0.5 * step):
        assert found[1] == measure(model, corpus.held_out, CONCEPT, 0.5)


def test_samples_are_those_of_the_seed() -> None:
    corpus, model = tiny_corpus(), tiny_gpt()
    one, same, other = (sample(model, corpus, 32, 8, seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert len(one.texts) == 5


def test_rate_of_samples_counts_tokens_before_the_end() -> None:
    """A model that always says the concept does so at once; one that ends at once says nothing."""
    corpus, model, axis = tiny_corpus(), tiny_gpt(), torch.eye(8)[0]
    with torch.no_grad():
        model.embedding.zero_()
        model.embedding[3], model.embedding[0] = 100 * axis, -100 * axis
    with steered(model, 2, 1e4 * axis):
        found = sample(model, corpus, 8, 5, 0)
    assert (found.rate, found.related, found.tokens) == (1.0, 0.0, 40)
    assert found.texts[0] == VOCABULARY[3] * 5
    with steered(model, 2, -1e4 * axis):
        found = sample(model, corpus, 8, 5, 0)
    assert (found.rate, found.texts[0]) == (0.0, "")
