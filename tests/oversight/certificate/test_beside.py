"""The certificate chooses checkpoints as the training command does, in a world tampered alike."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest

from envs import EpisodeCoin
from envs.wrappers import vector
from oversight.certificate import TAMPERS, Setup, around, certify
from oversight.certificate.certificate import train
from oversight.certificate.leaks import INNOCENTS, LEAKS
from oversight.certificate.leaks.starts import cart_next_step, grid
from oversight.certificate.tampering import unchanged
from oversight.rl import checkpoint_selection
from oversight.rl.checkpoint_selection import HeldOut

STARTS = {part.start.__name__: part.start for part in {**LEAKS, **INNOCENTS}.values()}


def short_pendulum() -> Setup:
    """Return an environment of continuous actions, whose episodes have ten steps."""
    return around(lambda: gym.make("Pendulum-v1", max_episode_steps=10))


def kept(setup: Setup) -> list[bytes]:
    """Return the digest of what a run kept, at every moment."""
    trial = train(replace(setup, steps=512), unchanged)
    assert trial.error is None
    return [each.digest for each in trial.trace.channels["checkpoints"] if each.name == "best"]


@pytest.mark.parametrize("name", [*STARTS, "short_pendulum"])
def test_a_trial_keeps_a_checkpoint(name: str) -> None:
    start = STARTS.get(name, short_pendulum)
    digests = kept(start())
    assert len(digests) == 3  # before each rollout and at the end
    assert len({*digests}) > 1


def test_a_checkpoint_is_kept_for_held_out_episodes_alone() -> None:
    assert len({*kept(replace(grid(), held_out=0.0))}) == 1


def test_continuous_actions_are_certified() -> None:
    assert certify(replace(short_pendulum(), steps=512)).passed


def test_the_rule_is_that_of_the_training_command(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    judge = HeldOut.score_policy

    def spy(self: HeldOut, policy: Any, weights: Any, step: int) -> None:  # noqa: ANN401
        judged.append((policy.module_names, step))
        judge(self, policy, weights, step)

    monkeypatch.setattr(checkpoint_selection.HeldOut, "score_policy", spy)
    train(replace(grid(), steps=512), unchanged)
    assert judged == [(("goal",), step) for step in (0, 256, 512)]


@pytest.mark.parametrize("start", [grid, cart_next_step])
def test_a_leak_in_held_out_episodes_alone_shows_in_checkpoints_alone(start: Any) -> None:  # noqa: ANN401
    healthy = start()

    def hide(env: Any) -> Any:  # noqa: ANN401
        if env.num_envs == healthy.num_envs:
            return healthy.hide(env)
        return vector.PartialOversight(env, observer=EpisodeCoin(1.0))  # watches all of it

    certificate = certify(replace(healthy, hide=hide, steps=512), {"1e9": TAMPERS["1e9"]})
    differing = [each.channel for each in certificate.findings if each.difference is not None]
    assert differing == ["checkpoints"]


def test_held_out_episodes_are_not_counted() -> None:
    certificate = certify(replace(grid(), steps=512, held_out=0.8))
    assert certificate.steps == 512 == certificate.observed + certificate.hidden
