"""Observers err as often and as far as they say, and compositions err where a watcher does."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from envs import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    Noisy,
    NoisyFlag,
    Query,
    Region,
    Schedule,
    StepCoin,
)
from envs.observers import InformationLevel, Observer, StepContext
from envs.observers.noise import Side
from tests.envs.observers.contexts import PROBABILITY, SEED, make_context, near


def episodes(seed: int, size: int) -> StepContext:
    """Return the first steps of the first episodes of one lane."""
    lane = np.full(size, seed, dtype=np.uint64)
    zero = np.zeros(size, dtype=np.uint64)
    return StepContext(lane, np.arange(size, dtype=np.uint64), zero, zero)


@settings(max_examples=20, deadline=None)
@given(seed=SEED, flip=PROBABILITY, miss=PROBABILITY)
def test_reports_are_dropped_and_flipped_at_their_rates_independently(
    seed: int, flip: float, miss: float
) -> None:
    many = episodes(seed, 4000)
    truth = EpisodeCoin(0.5).decide(many).observed
    observed, flips, _ = Noisy(EpisodeCoin(0.5), flip, miss).decide(many)
    assert not np.any(observed & ~truth)
    assert near((truth & ~observed).sum(), truth.sum(), miss)
    if flips is None:
        assert flip == 0
        return
    np.testing.assert_array_equal(flips.rewards, flips.punishments)
    assert near(flips.rewards[observed].sum(), observed.sum(), flip)
    assert near(flips.rewards[truth & ~observed].sum(), (truth & ~observed).sum(), flip)


@settings(max_examples=20, deadline=None)
@given(seed=SEED, miss=PROBABILITY, alarm=PROBABILITY)
def test_noisy_flag_errs_at_its_rates(seed: int, miss: float, alarm: float) -> None:
    many = make_context(seed, 4000)._replace(episode=np.arange(4000, dtype=np.uint64))
    truth = EpisodeCoin(0.5).decide(many).observed
    cue = NoisyFlag(miss, alarm).show(truth, many, InformationLevel.EPISODE)
    for errs, chance in ((~cue[truth], miss), (cue[~truth], alarm)):
        assert near(errs.sum(), errs.size, chance)


def test_flag_errs_independently_of_reports() -> None:
    many, truth = episodes(1, 20_000), np.ones(20_000, dtype=np.bool_)
    observed, flips, _ = Noisy(EpisodeCoin(1.0), flip=0.5, miss=0.5).decide(many)
    assert flips is not None
    cues = [
        NoisyFlag(0.5, stream=stream).show(truth, many, InformationLevel.EPISODE)
        for stream in (0, 1, 2)
    ]
    errors = np.corrcoef([observed, flips.rewards, *cues])
    assert np.abs(errors - np.eye(5)).max() < 5 / np.sqrt(20_000)


def test_errors_hold_for_episodes_or_steps_like_the_observer() -> None:
    steps = np.arange(64, dtype=np.uint64)
    lane = episodes(7, 300)
    for coin, constant in ((EpisodeCoin(1.0), True), (StepCoin(1.0), False)):
        noisy = Noisy(coin, flip=0.5, miss=0.5)
        decisions = [noisy.decide(lane._replace(step=np.full(300, step))) for step in steps]
        for masks in zip(*((each.observed, each.flips[0]) for each in decisions if each.flips)):  # noqa: B905
            same = all(np.array_equal(mask, masks[0]) for mask in masks)
            assert same == constant
            assert near(np.sum(masks), np.size(masks), 0.5) or constant


@pytest.mark.parametrize("side", ["both", "rewards", "punishments"])
def test_only_the_chosen_side_is_flipped(side: Side) -> None:
    flips = Noisy(EpisodeCoin(1.0), flip=1.0, side=side).decide(episodes(0, 9)).flips
    assert flips is not None
    assert flips.rewards.tolist() == [side != "punishments"] * 9
    assert flips.punishments.tolist() == [side != "rewards"] * 9


def noise_of(observer: Observer, context: StepContext) -> np.ndarray:
    noise = observer.decide(context).noise
    assert noise is not None
    return noise


def test_noise_is_normal_of_the_given_deviation_and_new_at_every_step() -> None:
    size = 100_000
    many = episodes(3, size)
    later = many._replace(step=many.step + np.uint64(1))
    observer = GaussianNoise(EpisodeCoin(0.5), 3.0)
    noise = noise_of(observer, many)
    assert stats.kstest(noise / 3, "norm").pvalue > 0.01
    assert abs(noise.mean()) < 5 * 3 / np.sqrt(size)
    assert noise.std() == pytest.approx(3, abs=5 * 3 / np.sqrt(2 * size))
    others = [
        noise_of(observer, later),
        noise_of(GaussianNoise(EpisodeCoin(0.5), 3.0, stream=2), many),
        StepCoin(0.5, stream=1).decide(many).observed,  # of the same stream as the noise
        NoisyFlag(0.5, stream=1).show(many.step == 0, many, InformationLevel.STEP),
    ]
    correlations = np.corrcoef([noise, *others])
    assert np.abs(correlations - np.eye(5)).max() < 5 / np.sqrt(size)
    np.testing.assert_array_equal(noise, noise_of(observer, many))
    np.testing.assert_array_equal(noise_of(GaussianNoise(EpisodeCoin(0.5), 1.5), many), noise / 2)


@pytest.mark.parametrize(
    ("observer", "level"),
    [
        (EpisodeCoin(0.5), InformationLevel.STEP),
        (StepCoin(0.5), InformationLevel.STEP),
        (Region(lambda observation: observation > 0), InformationLevel.OBSERVATION),
        (Query(), InformationLevel.ACTION),
    ],
)
def test_noise_changes_no_decision_and_needs_no_more_than_the_step(
    observer: Observer, level: InformationLevel
) -> None:
    noisy, many = GaussianNoise(observer, 3.0), make_context(0, 500)
    assert noisy.information_level == level
    decided, (observed, flips, _) = observer.decide(many), noisy.decide(many)
    np.testing.assert_array_equal(observed, decided.observed)
    assert flips is None


def test_report_has_the_noise_of_all_parts_that_observe_the_step() -> None:
    many = make_context(1, 500)
    first = GaussianNoise(StepCoin(0.5), 3.0)
    second = GaussianNoise(StepCoin(0.5, stream=7), 2.0, stream=8)
    one, other = first.decide(many), second.decide(many)
    assert one.noise is not None
    assert other.noise is not None
    due = one.observed * one.noise + other.observed * other.noise
    for whole in (first & second, first | second):
        np.testing.assert_array_equal(noise_of(whole, many), due)
    np.testing.assert_array_equal(noise_of(StepCoin(0.1) | first, many), one.observed * one.noise)
    nested = GaussianNoise(first, 2.0, stream=8)
    np.testing.assert_array_equal(noise_of(nested, many), one.noise + other.noise)
    observed, flips, noise = Noisy(first, flip=0.5, miss=0.5).decide(many)
    assert flips is not None
    assert 0 < observed.sum() < one.observed.sum()
    np.testing.assert_array_equal(noise, one.noise)
    assert (~first).decide(many).noise is None


def errors_by_hand(observed: list[bool], budget: int, every: int) -> list[bool]:
    """Walk through the episodes as an adversary does who sees them one by one."""
    wrong, spent = [], set()
    for episode, is_observed in enumerate(observed):
        block = episode // every
        errs = is_observed and block < budget and block not in spent
        wrong.append(errs)
        if errs:
            spent.add(block)
    return wrong


@settings(max_examples=60, deadline=None)
@given(seed=SEED, budget=st.integers(0, 8), every=st.integers(1, 7), chance=PROBABILITY)
def test_adversary_equals_a_loop_over_episodes(
    seed: int, budget: int, every: int, chance: float
) -> None:
    for observer in (EpisodeCoin(chance), Budget(9, 2) | EpisodeCoin(chance / 2)):
        many = episodes(seed, 80)
        truth = observer.decide(many)
        observed, flips, _ = Adversarial(observer, budget, every).decide(many)
        np.testing.assert_array_equal(observed, truth.observed)
        assert flips is not None
        assert not flips.rewards.any()
        assert flips.punishments.tolist() == errors_by_hand(truth.observed.tolist(), budget, every)
        assert flips.punishments.sum() <= budget


def test_adversary_broadcasts_over_lanes_and_episodes() -> None:
    adversary = Adversarial(Schedule(lambda clock: np.minimum(clock / 60, 1.0)), 4, every=9)
    seeds = np.arange(5, dtype=np.uint64)[:, None]
    zero = np.zeros((1, 1), dtype=np.uint64)
    episode = np.add(np.zeros((5, 1), np.uint64), np.arange(60, dtype=np.uint64))
    flips = adversary.decide(StepContext(seeds, episode, zero, zero)).flips
    assert flips is not None
    for lane in range(5):
        alone = adversary.decide(episodes(lane, 60)).flips
        assert alone is not None
        np.testing.assert_array_equal(flips.punishments[lane], alone.punishments)
    assert flips.punishments.sum() > 5


ONE = Noisy(EpisodeCoin(0.6), flip=0.5)
OTHER = Noisy(EpisodeCoin(0.6, 5), flip=0.5, side="rewards", stream=6)


def test_composition_errs_where_an_observing_part_errs() -> None:
    many = episodes(3, 500)
    (one, first, _), (other, second, _) = ONE.decide(many), OTHER.decide(many)
    assert first is not None
    assert second is not None
    for whole in (ONE & OTHER, ONE | OTHER):
        observed, flips, _ = whole.decide(many)
        assert flips is not None
        due = (one & first.rewards) | (other & second.rewards)
        np.testing.assert_array_equal(flips.rewards & observed, due & observed)
        np.testing.assert_array_equal(flips.punishments & observed, one & first.rewards & observed)
    honest = ONE | EpisodeCoin(0.6, 5)
    observed, flips, _ = honest.decide(many)
    assert flips is not None
    assert not np.any(flips.rewards & ~one)
    np.testing.assert_array_equal((~ONE).decide(many).observed, ~one)
    assert (~ONE).decide(many).flips is None
    assert (EpisodeCoin(0.5) | StepCoin(0.5)).decide(many).flips is None


def test_several_errors_flip_a_report_once() -> None:
    many = episodes(3, 500)
    for twice in (
        Noisy(Noisy(EpisodeCoin(1.0), flip=1.0), flip=0.5, stream=2),
        Adversarial(Noisy(EpisodeCoin(1.0), flip=1.0), 500),
    ):
        flips = twice.decide(many).flips
        assert flips is not None
        assert flips.rewards.all()
        assert flips.punishments.all()


def coin() -> Observer:
    return EpisodeCoin(0.5)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Noisy(coin(), flip=-0.1), "flip must be a number from 0 to 1"),
    (lambda: Noisy(coin(), side="left"), "side must be one of"),  # type: ignore[arg-type]
    (lambda: GaussianNoise(0.5, 3), "observer must be one of"),  # type: ignore[arg-type]
    (lambda: GaussianNoise(coin(), -1), "deviation must be a finite number of at least 0"),
    (lambda: GaussianNoise(coin(), np.inf), "deviation must be a finite number of at least 0"),
    (lambda: GaussianNoise(coin(), np.nan), "deviation must be a finite number of at least 0"),
    (lambda: GaussianNoise(coin(), 3, stream=-1), "stream must be an integer of at least 0"),
    (lambda: Adversarial(coin(), 3, side="up"), "side must be one of"),  # type: ignore[arg-type]
    (lambda: Adversarial(0.5, 3), "observer must be one of"),  # type: ignore[arg-type]
    (lambda: Adversarial(coin(), -1), "episodes must be an integer of at least 0"),
    (lambda: Adversarial(coin(), 3, every=0), "every must be an integer of at least 1"),
    (lambda: Adversarial(StepCoin(0.5), 3), "an observer that decides by episode"),
    (lambda: Adversarial(coin() & Region(np.isfinite), 3), "an observer that decides by episode"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_observer_is_refused_when_an_argument_is_invalid(
    build: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()
