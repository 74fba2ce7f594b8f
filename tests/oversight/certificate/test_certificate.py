"""Certificates: what they count, which channel and tamper they name, and what they refuse."""

import json
import re
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import VectorWrapper

from oversight.certificate import TAMPERS, certify
from oversight.certificate.certificate import (
    Certificate,
    Finding,
    as_data,
    comparison,
    verdict,
)
from oversight.certificate.recording import CHANNELS, Difference
from oversight.certificate.tampering import Numbers, unchanged
from tests.oversight.certificate.setups import Fails, quick


def test_all_channels_are_counted_when_a_setup_is_certified() -> None:
    ended: list[str] = []
    certificate = certify(quick(), on_run_end=ended.append)
    assert certificate.passed
    assert ended == ["reference", *TAMPERS]
    assert certificate.tampers == tuple(TAMPERS)
    assert certificate.steps == 64 == certificate.observed + certificate.hidden
    assert min(certificate.observed, certificate.hidden) > 0
    entries = {finding.channel: finding.entries for finding in certificate.findings}
    assert tuple(entries) == CHANNELS
    assert entries["experience"] == 2 + 4 * 16  # the reset, and four things at each step
    assert all(entries.values())
    for finding in certificate.findings:
        assert finding.tamper is None
        assert finding.difference is None
    assert json.loads(json.dumps(as_data(certificate)))["findings"]["errors"]["compared"] == 1
    hidden = f"{certificate.hidden} hidden rewards"
    assert comparison(certificate).endswith(f"{hidden}; replacements: 1e9, NaN, random, negated")
    assert verdict(certificate).startswith(f"certified: {hidden} were replaced")


def test_a_finding_names_the_first_tamper_when_several_would_show_it() -> None:
    class ShowsNegative(VectorWrapper[Any, Any, Any, Any, Any]):
        """Adds 1 to the observations after negative true rewards."""

        def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
            observations, rewards, *rest = self.env.step(actions)
            negative = (np.asarray(rewards) < 0)[:, None].astype(np.float32)
            return observations + negative, rewards, *rest

    certificate = certify(replace(quick(), inside=ShowsNegative))
    experience = certificate.findings[0]
    assert not certificate.passed
    assert experience.channel == "experience"
    assert experience.tamper == "random"  # 1e9 and NaN are not negative
    assert experience.difference is not None
    assert experience.difference.name == "observations"
    assert experience.difference.step % 4 == 0
    assert verdict(certificate).startswith("NOT certified: hidden rewards reached the learner")


def test_a_setup_is_refused_when_two_equal_runs_differ() -> None:
    numbers = count()

    class ShowsClock(VectorWrapper[Any, Any, Any, Any, Any]):
        """Adds a number to the observations that no two steps share."""

        def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
            observations, *rest = self.env.step(actions)
            return observations + np.float32(next(numbers)), *rest

    words = r"two runs with one seed differ even without tampering, first in experience at step 4"
    with pytest.raises(ValueError, match=words):
        certify(replace(quick(), inside=ShowsClock))


@pytest.mark.parametrize(
    ("probability", "missing", "advice"), [(1.0, "hidden", "lower"), (0.0, "observed", "raise")]
)
def test_a_certificate_is_inconclusive_when_rewards_of_one_kind_are_missing(
    probability: float, missing: str, advice: str
) -> None:
    certificate = certify(quick(observed_probability=probability))
    assert certificate.missing == missing
    assert not certificate.differing
    assert not certificate.passed
    words = f"inconclusive: no reward of 64 steps was {missing}, so that nothing is shown"
    assert verdict(certificate).startswith(words)
    assert f"{advice} the probability of oversight" in verdict(certificate)


def test_a_leak_is_named_when_no_reward_is_observed() -> None:
    class ShowsReward(VectorWrapper[Any, Any, Any, Any, Any]):
        """Adds true rewards to observations."""

        def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
            observations, rewards, *rest = self.env.step(actions)
            return observations + np.asarray(rewards, np.float32)[:, None], rewards, *rest

    certificate = certify(replace(quick(observed_probability=0.0), inside=ShowsReward))
    assert certificate.missing == "observed"
    assert verdict(certificate).startswith("NOT certified")


def test_every_verdict_says_what_a_certificate_cannot_see() -> None:
    fine = Certificate((), 8, 4, 4, ())
    found = Finding("experience", 1, "1e9", Difference(0, "rewards"))
    for each in (fine, replace(fine, hidden=0), replace(fine, findings=(found,))):
        assert "A certificate cannot see a true reward that the environment shows" in verdict(each)
        assert as_data(each)["verdict"] == verdict(each)
    starts = [verdict(each).split(":")[0] for each in (fine, replace(fine, observed=0))]
    assert starts == ["certified", "inconclusive"]


def test_a_setup_is_refused_when_training_fails() -> None:
    words = "training fails before any reward is replaced: it broke"
    with pytest.raises(ValueError, match=words) as caught:
        certify(replace(quick(), outside=Fails))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_setup_is_refused_when_its_environment_cannot_be_made() -> None:
    def refuse(env: object) -> object:
        raise ValueError("no such wrapper")

    with pytest.raises(ValueError, match=r"before any reward is replaced: no such wrapper"):
        certify(replace(quick(), outside=refuse))


def test_a_tamper_is_refused_when_it_changes_nothing() -> None:
    words = re.escape("the tamper 'none' changed no reward, so that it shows nothing")
    with pytest.raises(ValueError, match=words):
        certify(quick(), {"1e9": TAMPERS["1e9"], "none": unchanged})


def test_a_tamper_is_refused_when_it_gives_the_true_rewards() -> None:
    def ones(rewards: Numbers, generator: np.random.Generator) -> Numbers:
        return np.ones_like(rewards)  # as CartPole pays

    with pytest.raises(ValueError, match=r"the tamper 'ones' changed no reward"):
        certify(quick(), {"ones": ones})
