"""The verdict on one setup: what it counts, where it points, and what it refuses to judge."""

import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorWrapper

from agents.config import PPOConfig
from envs.registration import truthful
from oversight.certificate import TAMPERS, Setup, around, certify
from oversight.certificate.certificate import CHANNELS, train
from oversight.certificate.tampering import Numbers, unchanged

QUICK = PPOConfig(hidden_sizes=(8,), n_steps=8, batch_size=16)


def quick(**oversight: Any) -> Setup:  # noqa: ANN401
    """Return CartPole for two rollouts of two lanes, half of its steps hidden."""
    chosen = oversight or {"observed_probability": 0.5}
    setup = around(truthful("CartPole-v1"), oversight=chosen)
    return replace(setup, ppo=QUICK, num_envs=4, steps=64)


class Breaks(VectorWrapper[Any, Any, Any, Any, Any]):
    """Fails at the third step, and warns before."""

    steps = 0

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Count, and fail."""
        self.steps += 1
        if self.steps == 2:
            warnings.warn("it creaks", stacklevel=1)
        if self.steps == 3:
            raise RuntimeError("it broke")
        return self.env.step(actions)


class Closes(VectorWrapper[Any, Any, Any, Any, Any]):
    """Notes which lie open."""

    open: list[object] = []  # noqa: RUF012 (of the class, so that a test can read it)
    built = 0

    def __init__(self, env: Any) -> None:  # noqa: ANN401
        super().__init__(env)
        self.open.append(self)
        Closes.built += 1

    def close(self, **arguments: Any) -> None:  # noqa: ANN401
        """Close."""
        self.open.remove(self)
        super().close(**arguments)


def test_a_certificate_counts_what_was_compared() -> None:
    told: list[str] = []
    certificate = certify(quick(), told=told.append)
    assert certificate.passed
    assert told == ["reference", *TAMPERS]
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


def test_a_leak_is_blamed_on_the_first_tamper_that_shows_it() -> None:
    class Sees(VectorWrapper[Any, Any, Any, Any, Any]):
        """Adds what is negative in truth to the observation."""

        def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
            observations, rewards, *taken = self.env.step(actions)
            seen = observations + (np.asarray(rewards) < 0)[:, None].astype(np.float32)
            return seen, rewards, *taken

    certificate = certify(replace(quick(), inside=Sees))
    experience = certificate.findings[0]
    assert not certificate.passed
    assert experience.channel == "experience"
    assert experience.tamper == "random"  # 1e9 and NaN are not negative
    assert experience.difference is not None
    assert experience.difference.name == "observations"
    assert experience.difference.step % 4 == 0


def test_where_nothing_is_hidden_there_is_nothing_to_certify() -> None:
    with pytest.raises(ValueError, match=r"no reward of 64 steps was hidden.*lower the prob"):
        certify(quick(observed_probability=1.0))


def test_a_run_that_fails_by_itself_is_not_certified() -> None:
    words = "the run fails before anything is tampered with: it broke"
    with pytest.raises(ValueError, match=words) as caught:
        certify(replace(quick(), outside=Breaks))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_environment_that_cannot_be_built_is_not_certified() -> None:
    def refuse(env: object) -> object:
        raise ValueError("no such wrapper")

    with pytest.raises(ValueError, match=r"before anything is tampered with: no such wrapper"):
        certify(replace(quick(), outside=refuse))


def test_a_tamper_that_changes_nothing_shows_nothing() -> None:
    words = re.escape("the tamper 'none' changed no reward, so that it shows nothing")
    with pytest.raises(ValueError, match=words):
        certify(quick(), {"1e9": TAMPERS["1e9"], "none": unchanged})


def test_a_tamper_that_rewrites_what_is_the_case_shows_nothing() -> None:
    def ones(rewards: Numbers, generator: np.random.Generator) -> Numbers:
        return np.ones_like(rewards)  # what CartPole pays anyhow

    with pytest.raises(ValueError, match=r"the tamper 'ones' changed no reward"):
        certify(quick(), {"ones": ones})


def test_a_trial_keeps_errors_warnings_and_generators_to_itself() -> None:
    before = torch.get_rng_state()
    trial = train(replace(quick(), outside=Breaks), unchanged)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(trial.error) == "it broke"
    assert [entry.name for entry in trial.trace.channels["errors"]] == ["RuntimeError: it broke"]
    assert trial.trace.channels["warnings"][0].name == "UserWarning: it creaks"
    assert trial.steps == 8


@pytest.mark.parametrize("fails", [False, True])
def test_environments_are_closed_whatever_happens(fails: bool) -> None:
    Closes.open.clear()
    Closes.built = 0

    def outside(env: Any) -> Any:  # noqa: ANN401
        return Closes(Breaks(env) if fails else env)

    trial = train(replace(quick(), outside=outside, steps=256, held_out=0.5), unchanged)
    assert (trial.error is not None) == fails
    assert Closes.open == []
    assert (Closes.built == 1) == fails  # one to train in, and some for held-out episodes


def test_the_same_setup_gives_the_same_trace() -> None:
    one, other = (train(quick(), TAMPERS["random"]) for _ in range(2))
    for channel in (*CHANNELS, "truth"):
        assert one.trace.difference(other.trace, channel) is None
    assert train(replace(quick(), seed=1), unchanged).trace.difference(one.trace, "parameters")
