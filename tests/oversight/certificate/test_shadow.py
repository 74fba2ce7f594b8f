"""A shadow pays what wrappers compute from the steps of an environment, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorWrapper

from oversight.certificate import Setup, certify, make_setup
from oversight.certificate.recording import PAYMENT, record_training
from oversight.certificate.setup import Wrapper
from oversight.certificate.shadow import Replay, Source
from oversight.certificate.tampering import TAMPERS, unchanged
from tests.oversight.certificate.setups import quick

SIZE = 7
TWO = {name: TAMPERS[name] for name in ("1e9", "NaN")}  # together they show every known leak


class Counter(gym.Env[Any, Any]):
    """Pays 1, 2, 3 and so on, and keeps what it paid in many places."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's type)
    kind = "counter"
    last_of_all = 0.0

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.size, self.last_reward, self.history = SIZE, 0.0, [0.0]
        self.elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start from zero."""
        super().reset(seed=seed)
        self.elapsed = 0
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Count, pay, and keep."""
        self.elapsed += 1
        self.last_reward = float(self.elapsed)
        self.history.append(self.last_reward)
        type(self).last_of_all = self.last_reward
        seen = self.np_random.random(2, dtype=np.float32)
        return seen, self.last_reward, self.elapsed == SIZE, False, {}

    def paid(self) -> float:
        """Return the last reward."""
        return self.last_reward


Pay = Callable[[Any, Any], Any]


class Pays(gym.Wrapper[Any, Any, Any, Any]):
    """Pays what a function computes from the reward and the unwrapped environment."""

    def __init__(self, env: Any, pay: Pay) -> None:  # noqa: ANN401
        super().__init__(env)
        self.pay = pay

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and pay."""
        observation, reward, *rest = self.env.step(action)
        return observation, self.pay(reward, self.env.unwrapped), *rest


class PaysLanes(VectorWrapper[Any, Any, Any, Any, Any]):
    """Pays the same for each of the lanes inside."""

    def __init__(self, env: Any, pay: Pay) -> None:  # noqa: ANN401
        super().__init__(env)
        self.pay = pay

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and pay."""
        observations, rewards, *rest = self.env.step(actions)
        inside: Any = self.env.unwrapped
        paid = [
            self.pay(reward, lane.unwrapped)
            for reward, lane in zip(rewards, inside.envs, strict=True)
        ]
        return observations, np.array(paid), *rest


def setup_of(pay: Pay, wrapper: Wrapper, mode: AutoresetMode) -> Setup:
    oversight = {"observed_probability": 0.5}
    setup = make_setup(Counter, oversight=oversight, wrapper=wrapper, mode=mode)
    setup = replace(setup, ppo=quick().ppo, num_envs=4, steps=64)
    if wrapper == "vector":
        return replace(setup, outside=lambda env: PaysLanes(env, pay))
    hide = setup.hide
    return replace(setup, hide=lambda env: Pays(hide(env), pay))


LEAKS: dict[str, Pay] = {
    "the attribute": lambda paid, inside: inside.last_reward,
    "a part of it": lambda paid, inside: paid + 0.5 * inside.last_reward,
    "its sign": lambda paid, inside: np.sign(inside.last_reward),
    "an attribute of the class": lambda paid, inside: inside.last_of_all,
    "a method": lambda paid, inside: inside.paid(),
    "a list": lambda paid, inside: inside.history[-1],
    "all attributes": lambda paid, inside: vars(inside)["last_reward"],
    "by its name": lambda paid, inside: getattr(inside, "last_reward", 0.0),
    "a deviation": lambda paid, inside: paid / (1.0 + np.std(inside.history)),
}
MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


@pytest.mark.parametrize("wrapper", ["vector", "single"])
@pytest.mark.parametrize("name", LEAKS)
def test_a_wrapper_is_not_certified_when_it_pays_what_the_environment_keeps(
    name: str, wrapper: Wrapper
) -> None:
    certificate = certify(setup_of(LEAKS[name], wrapper, AutoresetMode.SAME_STEP), TWO)
    assert not certificate.passed
    assert certificate.first is not None
    assert certificate.first.channel == PAYMENT
    assert [each.channel for each in certificate.differing] == [PAYMENT]
    assert "from what the oversight pays" in certificate.first.result


INNOCENT: dict[str, Pay] = {
    "the same": lambda paid, inside: paid,
    "a part": lambda paid, inside: 0.5 * paid - 0.125,
    "by a constant": lambda paid, inside: paid / inside.size if inside.kind == "counter" else None,
    "with noise": lambda paid, inside: paid + inside.np_random.normal(),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", INNOCENT)
def test_a_wrapper_is_certified_when_it_computes_with_what_is_paid(
    name: str, mode: AutoresetMode
) -> None:
    setup = setup_of(INNOCENT[name], "single", mode)
    recording = record_training(setup, unchanged, shadowed=True)
    assert recording.error is None
    assert recording.trace.count(PAYMENT) == 16 == recording.shadow.count(PAYMENT)
    assert recording.trace.difference(recording.shadow, PAYMENT) is None


def test_a_run_is_the_same_when_it_has_a_shadow() -> None:
    setup = setup_of(INNOCENT["with noise"], "single", AutoresetMode.SAME_STEP)
    one, other = (record_training(setup, unchanged, shadowed=each) for each in (True, False))
    assert other.trace.count(PAYMENT) == 0
    for channel in one.trace.channels:
        if channel != PAYMENT:
            assert one.trace.difference(other.trace, channel) is None


def test_a_replay_returns_what_was_returned_and_knows_constants_only() -> None:
    env = Source(Counter())
    replay = Replay(env)
    start, first = env.reset(seed=0), env.step(0)
    assert replay.size == SIZE
    assert np.array_equal(replay.reset(seed=1)[0], start[0])
    with pytest.raises(RuntimeError, match="the wrappers call reset where they did not call it"):
        replay.reset()
    assert replay.step(1)[1] == first[1] == 1.0
    assert replay.np_random.random() == env.np_random.random()
    with pytest.raises(RuntimeError, match="call step"):
        replay.step(0)
    for name in ("last_reward", "last_of_all", "history", "elapsed", "paid"):
        with pytest.raises(AttributeError, match=f"{name} is not what step or reset returned"):
            getattr(replay, name)
