"""Every planted leak is found in its channel, and healthy setups and harmless parts pass."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from oversight.certificate import TAMPERS, Setup, certify
from oversight.certificate.leaks import HARMLESS, LEAKS, Planted
from oversight.certificate.leaks.callbacks_and_checkpoints import Auditor
from oversight.certificate.leaks.planted import STARTS, LaneTruth, Step, Truth
from oversight.certificate.recording import CHANNELS, PAYMENT

ALL = {**LEAKS, **HARMLESS}
PLANTED_AS_THEY_ARE = [
    part.start for part in HARMLESS.values() if part.plant(part.start) is part.start
]

PAID_TRUTH = ("oracle-environment", "method-asks-for-the-truth")  # by design of their environment
OWN_SUM = ("score-on-screen", "ends-when-solved")  # add up rewards themselves
KEPT_BY_ENVIRONMENT = [name for name, part in LEAKS.items() if part.shows == PAYMENT]
NO_READERS = {*PAID_TRUTH, *OWN_SUM, *KEPT_BY_ENVIRONMENT}
READ_TRUTH = [name for name in LEAKS if name not in NO_READERS]
NEED_TWO_ROLLOUTS = (  # besides those that show in parameters
    *("optimizer-reset-by-true-return", "running-deviation-inside"),
    *("scaled-by-the-largest", "scales-by-kept-rewards"),
)
NEED_32_STEPS = (
    *("timeout-without-reward", "stops-at-true-return", "rolls-back-by-true-return"),
    *("noise-drawn-per-reward", "normalizer-of-true-returns"),
)
TWO = {name: TAMPERS[name] for name in ("1e9", "NaN")}  # together they show every known leak
CHANGE_NO_TRAINING = (
    *("logs-true-return", "warns-of-outliers"),
    *("selects-by-true-return", "scored-by-true-return"),
)


def short(planted: Planted) -> Setup:
    """Return the setup with the part, in one rollout of 16 steps if a leak shows by then.

    A harmless part gets two rollouts. So do leaks into parameters, since the learning rate of a
    single rollout ends at zero. What takes longer gets two rollouts of 32 steps.
    """
    setup = replace(planted.start, steps=512)
    if planted.name not in NEED_32_STEPS:
        once = planted.shows not in (None, "parameters") and planted.name not in NEED_TWO_ROLLOUTS
        ppo = replace(setup.ppo, n_steps=16, batch_size=64)
        setup = replace(setup, ppo=ppo, steps=128 if once else 256)
    return planted.plant(setup)


class EmptyTruth(Truth):
    """Stores and adds zeros instead of true rewards."""

    def step(self, actions: Any) -> Step:  # noqa: ANN401
        """Step, and add zeros wherever `Truth` adds true rewards."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self.steps.append(np.zeros(self.num_envs))
        added = {"score": self.rewards, "_score": terminated | truncated}
        infos.get("final_info", infos).update(added)
        self.infos = infos
        return observations, rewards, terminated, truncated, infos


class EmptyLaneTruth(LaneTruth):
    """Stores a return of zero."""

    def step(self, action: Any) -> Step:  # noqa: ANN401
        """Step, and store nothing."""
        return self.env.step(action)


EMPTY: dict[Any, Any] = {Truth: EmptyTruth, LaneTruth: EmptyLaneTruth}


@pytest.mark.parametrize("name", LEAKS)
def test_certify_names_the_first_channel_when_a_leak_is_planted(name: str) -> None:
    leak = LEAKS[name]
    alone = name in CHANGE_NO_TRAINING
    certificate = certify(short(leak), until_failure=not alone)
    assert not certificate.passed
    assert certificate.first is not None
    assert certificate.first.channel == leak.shows
    differences = {each.channel: each.difference for each in certificate.differing}
    error = differences.get("errors")
    assert (error is not None and error.name != "none") == (leak.shows == "errors")
    if alone:
        assert list(differences) == [leak.shows]


@pytest.mark.parametrize("name", READ_TRUTH)
def test_certify_passes_when_the_truth_that_a_leak_reads_is_empty(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "returns", lambda self: np.zeros(0))
    setup = short(LEAKS[name])
    setup = replace(setup, inside=EMPTY[setup.inside])
    assert certify(setup, {"1e9": TAMPERS["1e9"]}).passed


@pytest.mark.parametrize(
    "name", [name for name in STARTS if STARTS[name] not in PLANTED_AS_THEY_ARE]
)
def test_certify_passes_when_a_setup_is_healthy(name: str) -> None:
    ppo = replace(STARTS[name].ppo, n_steps=16, batch_size=64)
    certificate = certify(replace(STARTS[name], ppo=ppo, steps=256))
    assert certificate.passed
    assert certificate.observed > 0


@pytest.mark.parametrize("name", HARMLESS)
def test_certify_passes_when_a_part_is_harmless(name: str) -> None:
    certificate = certify(short(HARMLESS[name]), TWO)
    assert certificate.passed
    assert certificate.observed > 0


def exchanged_fields(planted: Planted) -> set[str]:
    """Return the names of the fields of the setup that the planted part changes."""
    healthy = planted.start
    setup = planted.plant(healthy)
    return {
        field.name
        for field in fields(Setup)
        if getattr(setup, field.name) != getattr(healthy, field.name)
    }


def test_leaks_cover_all_channels_and_fields_when_all_are_registered() -> None:
    assert len(LEAKS) == 132
    assert len(HARMLESS) == 33
    assert {leak.shows for leak in LEAKS.values()} == set(CHANNELS)
    parts = [exchanged_fields(leak) for leak in LEAKS.values()]
    assert all(parts)
    numbers = {"held_out", "ppo", "num_envs", "steps", "seed"}
    assert set().union(*parts) == {field.name for field in fields(Setup)} - numbers


def test_names_and_descriptions_are_unique_when_all_parts_are_registered() -> None:
    assert len(ALL) == len(LEAKS) + len(HARMLESS)
    assert len({planted.description for planted in ALL.values()}) == len(ALL)
    for name, planted in ALL.items():
        assert planted.name == name == name.lower()
        assert " " not in name
        assert planted.description.endswith(".")
        assert (planted.shows is None) == (name in HARMLESS)
