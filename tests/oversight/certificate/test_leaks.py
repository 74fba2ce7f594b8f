"""Every planted leak is caught where it should be, and every innocent part passes."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from oversight.certificate import TAMPERS, Setup, certify
from oversight.certificate.certificate import CHANNELS
from oversight.certificate.leaks import INNOCENTS, KINDS, LEAKS, Planted, innocents, overseers
from oversight.certificate.leaks.callbacks import Auditor
from oversight.certificate.leaks.planted import Part
from tests.oversight.certificate.planting import BLOTTED, caught, failed

ALL = {**LEAKS, **INNOCENTS}
STARTS = {planted.start.__name__: planted for planted in ALL.values()}
BY_DESIGN = ("oracle-environment", "method-asks-for-the-truth")  # paid the truth by their world
OWN_SUM = ("score-on-screen", "ends-when-solved")  # add up rewards themselves
LATE = ("timeout-without-reward", "stops-at-true-return", "rolls-back-in-truth")  # need 32 steps
READING = [name for name in LEAKS if name not in (*BY_DESIGN, *OWN_SUM)]


def healthy(planted: Planted) -> Setup:
    """Return the setup that a part is planted in, trained for two rollouts of 32 steps a lane."""
    return replace(planted.start(), steps=512)


def start(leak: Planted) -> Setup:
    """Return the healthy setup for a leak, in rollouts of half the length if it shows by then."""
    setup = healthy(leak)
    if leak.name in LATE:
        return setup
    return replace(setup, ppo=replace(setup.ppo, n_steps=16, batch_size=64), steps=256)


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_caught_where_it_shows_first(name: str) -> None:
    leak = LEAKS[name]
    certificate = caught(leak.plant(start(leak)))
    if leak.shows == "errors":
        assert failed(certificate)
    else:
        assert not failed(certificate)
        assert certificate.first is not None
        assert certificate.first.channel == leak.shows


@pytest.mark.parametrize(
    "name",
    ["logs-true-return", "warns-of-outliers", "keeps-best-in-truth", "checkpoint-named-by-truth"],
)
def test_a_leak_that_changes_no_training_shows_in_its_channel_alone(name: str) -> None:
    leak = LEAKS[name]
    certificate = certify(leak.plant(start(leak)))
    differing = [each.channel for each in certificate.findings if each.difference is not None]
    assert differing == [leak.shows]


@pytest.mark.parametrize("name", READING)
def test_a_leak_passes_once_the_truth_that_it_reads_is_blotted_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "returns", lambda self: np.zeros(0))
    setup = LEAKS[name].plant(start(LEAKS[name]))
    blind = replace(setup, inside=BLOTTED[setup.inside])
    assert certify(blind, {"1e9": TAMPERS["1e9"]}).passed


@pytest.mark.parametrize("name", STARTS)
def test_what_leaks_are_planted_in_is_healthy(name: str) -> None:
    certificate = certify(healthy(STARTS[name]))
    assert certificate.passed
    assert certificate.observed > 0


@pytest.mark.parametrize("name", INNOCENTS)
def test_an_innocent_part_passes(name: str) -> None:
    assert certify(INNOCENTS[name].plant(healthy(INNOCENTS[name]))).passed


def test_the_library_is_large_and_says_what_it_holds() -> None:
    assert len(LEAKS) >= 28
    assert len(INNOCENTS) >= 7
    assert len(ALL) == len(LEAKS) + len(INNOCENTS)
    assert len({planted.says for planted in ALL.values()}) == len(ALL)
    assert {leak.part for leak in LEAKS.values()} == set(get_args(Part))
    assert {leak.shows for leak in LEAKS.values()} == set(CHANNELS)
    for name, planted in ALL.items():
        assert planted.name == name == name.lower()
        assert " " not in name
        assert planted.says.endswith(".")
        assert (planted.shows is None) == (name in INNOCENTS)


def test_no_two_leaks_share_a_name() -> None:
    assert sum(len(kind.LEAKS) for kind in KINDS) == len(LEAKS)
    assert len(overseers.INNOCENTS) + len(innocents.INNOCENTS) == len(INNOCENTS)


def test_each_leak_changes_its_setup() -> None:
    for leak in LEAKS.values():
        setup = leak.start()
        assert leak.plant(setup) != setup
