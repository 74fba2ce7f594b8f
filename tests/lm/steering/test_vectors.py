"""Tests of vectors: means against slow loops, and steering that adds what it says."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lm.models.language_model import IGNORED, LanguageModel
from lm.steering.vectors import (
    METHODS,
    Source,
    concept_places,
    concept_sign,
    likely_others,
    make_vectors,
    mean_residuals,
    output_embeddings,
    residual_norms,
    steered,
)
from tests.lm.steering.factories import tiny_corpus, tiny_gpt

BLOCKS = (0, 2)


def source(seed: int = 0) -> Source:
    return Source(tiny_gpt(), tiny_corpus(), BLOCKS, pairs=50, dimension=0, seed=seed)


@torch.no_grad()
def stream(model: LanguageModel, row: Tensor, block: int) -> Tensor:
    """Return the residual stream of one row after a block, [t, d], without its padding."""
    length = int((row[1:] != IGNORED).sum())
    found: Tensor = model.residual(row[None, :length], block)[0].double()
    return found


def unit(vector: Tensor) -> Tensor:
    scaled: Tensor = (vector / vector.norm()).float()
    return scaled


@pytest.mark.parametrize("block", BLOCKS)
def test_mean_difference_equals_a_slow_loop(block: int) -> None:
    made = source()
    with_it: list[Tensor] = []
    without: list[Tensor] = []
    for row in made.corpus.train:
        side = with_it if 3 in row[1:] else without
        side += [*stream(made.model, row, block)]
    expected = torch.stack(with_it).mean(0) - torch.stack(without).mean(0)
    found = make_vectors("mean-difference", made)[block]
    torch.testing.assert_close(found, unit(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", BLOCKS)
def test_next_token_difference_equals_a_slow_loop(block: int) -> None:
    made = source()
    before: list[Tensor] = []
    other: list[Tensor] = []
    for row in made.corpus.train:
        for place, x in enumerate(stream(made.model, row, block)):
            (before if row[place + 1] == 3 else other).append(x)
    expected = torch.stack(before).mean(0) - torch.stack(other).mean(0)
    found = make_vectors("next-token", made)[block]
    torch.testing.assert_close(found, unit(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", BLOCKS)
def test_contrastive_activation_addition_equals_a_slow_loop(block: int) -> None:
    made = source()
    rows, at = concept_places(made.corpus)
    others = likely_others(made, rows, at)
    differences = []
    for row, place, other in zip(rows, at.tolist(), others.tolist(), strict=True):
        negative = row.clone()
        negative[place] = other
        one, two = (stream(made.model, each[: place + 2], block)[place] for each in (row, negative))
        differences.append(one - two)
    expected = torch.stack(differences).mean(0)
    torch.testing.assert_close(make_vectors("caa", made)[block], unit(expected), rtol=0, atol=1e-5)


def test_other_words_of_pairs_are_never_of_the_concept_and_drawn_by_the_seed() -> None:
    rows, at = concept_places(source().corpus)
    drawn = [likely_others(source(seed), rows, at) for seed in (0, 0, 1)]
    assert not (drawn[0] == 3).any()
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert (rows[torch.arange(len(rows)), at] == 3).all()


def test_vectors_have_length_1_for_each_block() -> None:
    for methods in METHODS.values():
        for method in methods:
            vectors = make_vectors(method, source())
            assert set(vectors) == set(BLOCKS)
            for vector in vectors.values():
                assert vector.norm() == pytest.approx(1)


def test_output_embeddings_are_the_matrix_of_the_head() -> None:
    model = tiny_gpt()
    torch.testing.assert_close(output_embeddings(model), model.embedding.detach())


def test_scalar_is_the_dimension_with_the_sign_of_the_concept() -> None:
    made = source()
    for sign in (1.0, -1.0):
        with torch.no_grad():
            made.model.output_matrix()[3, 0] = sign
        vector = make_vectors("scalar", made)[0]
        assert vector.tolist() == [sign, *[0.0] * 7]
        assert concept_sign(output_embeddings(made.model), 0, [3]) == sign


def test_coefficient_0_leaves_the_model_as_it_is_to_the_bit() -> None:
    model, tokens = tiny_gpt(), tiny_corpus().train[:, :-1].clamp(min=0)
    with torch.no_grad():
        plain = model(tokens)
        for block in range(3):
            with steered(model, block, 0 * torch.ones(8)):
                assert torch.equal(model(tokens), plain)
        with steered(model, 1, torch.ones(8)):
            assert not torch.equal(model(tokens), plain)
        assert torch.equal(model(tokens), plain)


def test_steering_adds_the_vector_after_its_block() -> None:
    model, tokens = tiny_gpt(), tiny_corpus().train[:, :-1].clamp(min=0)
    vector = torch.arange(8.0)
    with torch.no_grad():
        plain = model.residuals(tokens)
        with steered(model, 1, vector):
            found = model.residuals(tokens)
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found[1], plain[1] + vector)


def test_means_and_lengths_leave_out_the_padding() -> None:
    made = source()
    rows = made.corpus.train
    longer = torch.cat([rows, torch.full((len(rows), 2), IGNORED)], 1)
    mask = torch.ones(longer[:, 1:].shape, dtype=torch.bool) & (longer[:, 1:] != IGNORED)
    found = mean_residuals(made.model, longer, mask, [1])[1]
    torch.testing.assert_close(
        found, mean_residuals(made.model, rows, rows[:, 1:] != IGNORED, [1])[1]
    )
    lengths = [x.norm() for row in rows for x in stream(made.model, row, 1)]
    expected = float(torch.stack(lengths).mean())
    assert residual_norms(made.model, longer, [1])[1] == pytest.approx(expected, rel=1e-5)


def test_concept_that_no_text_shows_is_refused() -> None:
    made = source()
    corpus = replace(made.corpus, train=made.corpus.train[1::2])
    with pytest.raises(ValueError, match="no text shows the concept"):
        make_vectors("next-token", made._replace(corpus=corpus))
