"""Tests of layered unlearning: folds, what each stage is given, and texts of two kinds."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lm.data.task import StoryRows, Texts
from lm.models.language_model import LanguageModel
from lm.posthoc import NPO, RMU, LayeredRMU
from lm.posthoc.layered import Joined, fold_numbers, unlearn_in_layers
from tests.lm.attacks.row_factories import same, stories, weights
from tests.lm.models.gpt_factories import SMALL, random_gpt


def numbered(first: int, count: int, facts: list[int] | None = None) -> StoryRows:
    """Return stories of one token, with their numbers as topics and a fact each, or none."""
    tokens = torch.arange(2 * count, dtype=torch.int16).view(count, 2) % 13
    stated = torch.tensor(facts or [-1] * count, dtype=torch.int32)[:, None]
    kinds = torch.zeros(count, 1, dtype=torch.int16)
    return StoryRows(tokens, kinds, stated, torch.arange(first, first + count))


def topics(texts: Texts) -> list[int]:
    return texts.topics.tolist()


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 1000))
def test_folds_partition_the_texts_evenly(count: int, folds: int, seed: int) -> None:
    texts = numbered(0, count)
    if folds > count:
        with pytest.raises(ValueError, match=f"{folds} folds of {count} texts or facts"):
            fold_numbers(texts, folds, seed)
        return
    found = fold_numbers(texts, folds, seed)
    assert found.equal(fold_numbers(texts, folds, seed))
    sizes = torch.bincount(found, minlength=folds)
    assert sizes.shape == (folds,)
    assert int(sizes.sum()) == count
    assert int(sizes.max() - sizes.min()) <= 1


def test_stories_that_state_the_same_fact_are_in_the_same_fold() -> None:
    facts = [7, 3, 7, 9, 3, 5, 9, 7]
    found = fold_numbers(numbered(0, 8, facts), 2, seed=0)
    by_fact = {fact: set() for fact in facts}  # type: dict[int, set[int]]
    for fact, fold in zip(facts, found.tolist(), strict=True):
        by_fact[fact].add(fold)
    assert all(len(each) == 1 for each in by_fact.values())
    assert sorted(fold for each in by_fact.values() for fold in each) == [0, 0, 1, 1]


def test_each_stage_unlearns_one_more_fold_and_retains_those_to_come() -> None:
    forget, others = numbered(0, 9), numbered(100, 4)
    numbers = fold_numbers(forget, 3, seed=5)
    models = [random_gpt(SMALL) for _ in range(4)]
    given_to: list[tuple[LanguageModel, list[int], list[int], int, int]] = []

    def unlearn(
        model: LanguageModel, so_far: Texts, rest: Texts, size: int, seed: int
    ) -> LanguageModel:
        given_to.append((model, topics(so_far), topics(rest), size, seed))
        return models[len(given_to)]

    last = unlearn_in_layers(unlearn, 3, (models[0], forget, others), 2, seed=5)
    assert last is models[3]
    for stage, (model, so_far, rest, size, _) in enumerate(given_to):
        assert model is models[stage]
        assert so_far == (numbers <= stage).nonzero()[:, 0].tolist()
        assert rest == [100, 101, 102, 103, *(numbers > stage).nonzero()[:, 0].tolist()]
        assert size == 2
    assert len({seed for *_, seed in given_to}) == 3


def test_one_fold_is_the_plain_method() -> None:
    model, forget, others = random_gpt(SMALL), stories(1), stories(2)
    plain = RMU(layer=1, steps=3)
    layered = LayeredRMU(layer=1, steps=3, folds=1)
    one, other = (each.unlearn(model, forget, others, 2, 3) for each in (plain, layered))
    assert same(weights(one), weights(other))
    more = replace(layered, folds=3)
    assert more.total_steps == 9
    assert not same(weights(more.unlearn(model, forget, others, 2, 3)), weights(one))


def test_any_method_can_be_layered() -> None:
    model, npo = random_gpt(SMALL), NPO(steps=2)
    layered = unlearn_in_layers(npo.unlearn, 2, (model, stories(1), stories(2)), 2, 0)
    assert not same(weights(layered), weights(model))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_joined_texts_are_taken_and_read_in_order(chosen: list[int]) -> None:
    parts = numbered(0, 3), numbered(10, 4)
    whole = [*topics(parts[0]), *topics(parts[1])]
    joined = Joined(parts).take(torch.tensor(chosen))
    rows = joined.read()
    assert len(joined) == len(chosen)
    assert topics(joined) == topics(rows) == [whole[number] for number in chosen]
    tokens = torch.cat([part.tokens for part in parts])
    assert rows.tokens.equal(tokens[torch.tensor(chosen)])
    mask: Tensor = torch.tensor(chosen) > 2
    assert topics(joined.take(mask)) == [whole[number] for number in chosen if number > 2]


def test_joined_texts_have_a_digest_of_their_own() -> None:
    parts = numbered(0, 3), numbered(10, 4)
    digests = {
        Joined(parts).digest,
        Joined((parts[1], parts[0])).digest,
        Joined(parts).take(torch.tensor([0, 4])).digest,
        Joined(parts).take(torch.tensor([4, 0])).digest,
    }
    assert len(digests) == 4
