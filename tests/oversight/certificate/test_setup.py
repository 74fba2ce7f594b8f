"""Checkpoint selection in a setup is that of the training command, in tampered environments."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest

from envs import EpisodeCoin
from envs.wrappers import vector
from oversight.certificate import TAMPERS, Setup, certify, make_setup
from oversight.certificate.leaks.planted import STARTS
from oversight.certificate.recording import record_training
from oversight.certificate.tampering import unchanged
from oversight.rl import checkpoint_selection
from oversight.rl.checkpoint_selection import HeldOut


def short_pendulum() -> Setup:
    """Return an environment with continuous actions and episodes of ten steps."""
    return make_setup(lambda: gym.make("Pendulum-v1", max_episode_steps=10))


def best_checkpoints(setup: Setup) -> list[bytes]:
    """Return the digest of the best checkpoint after each update."""
    recording = record_training(replace(setup, steps=512), unchanged)
    assert recording.error is None
    entries = recording.trace.channels["checkpoints"]
    return [each.digest for each in entries if each.name == "best"]


@pytest.mark.parametrize("name", [*STARTS, "short pendulum"])
def test_a_checkpoint_is_selected_when_a_setup_is_trained(name: str) -> None:
    setup = STARTS[name] if name in STARTS else short_pendulum()
    digests = best_checkpoints(setup)
    assert len(digests) == 3  # before each rollout and at the end
    assert len({*digests}) > 1


def test_no_checkpoint_is_selected_when_no_episodes_are_held_out() -> None:
    assert len({*best_checkpoints(replace(STARTS["grid"], held_out=0.0))}) == 1


def test_certify_passes_when_actions_are_continuous() -> None:
    assert certify(replace(short_pendulum(), steps=512)).passed


def test_the_deployed_module_is_scored_when_a_rollout_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    score = HeldOut.score_policy

    def spy(self: HeldOut, policy: Any, weights: Any, step: int) -> None:  # noqa: ANN401
        scored.append((policy.module_names, step))
        score(self, policy, weights, step)

    monkeypatch.setattr(checkpoint_selection.HeldOut, "score_policy", spy)
    record_training(replace(STARTS["grid"], steps=512), unchanged)
    assert scored == [(("goal",), step) for step in (0, 256, 512)]


@pytest.mark.parametrize("start", ["grid", "cart, next step"])
def test_only_checkpoints_differ_when_held_out_episodes_leak(start: str) -> None:
    healthy = STARTS[start]

    def hide(env: Any) -> Any:  # noqa: ANN401
        if env.num_envs == healthy.num_envs:
            return healthy.hide(env)
        return vector.PartialOversight(env, observer=EpisodeCoin(1.0))  # hides nothing

    certificate = certify(replace(healthy, hide=hide, steps=512), {"1e9": TAMPERS["1e9"]})
    assert [each.channel for each in certificate.differing] == ["checkpoints"]


def test_steps_are_those_of_training_when_episodes_are_held_out() -> None:
    certificate = certify(replace(STARTS["grid"], steps=512, held_out=0.8))
    assert certificate.steps == 512 == certificate.observed + certificate.hidden
