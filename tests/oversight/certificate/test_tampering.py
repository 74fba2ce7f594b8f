"""Tampered environments replace hidden rewards, and change nothing else."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from envs import GridVectorEnv, partial_grid_vec
from envs.gridworld import OVERSEEN
from envs.gridworld_env import add_oversight
from oversight.certificate.tampering import (
    TAMPERS,
    Tampered,
    TamperedVector,
    unchanged,
)
from tests.oversight.certificate.numbered_rewards import OBSERVERS, NumberedRewards, length, pay
from tests.oversight.certificate.traces import differ

LANES, STEPS, SEED = 4, 40, 7
GRID: dict[str, Any] = {"num_envs": 16, "oversight_probability": 0.5}
ALL = {"unchanged": unchanged, **TAMPERS}
each_observer = pytest.mark.parametrize("observer", OBSERVERS, ids=lambda each: type(each).__name__)
each_tamper = pytest.mark.parametrize("name", ALL)


def steps_of(lane: int, mode: AutoresetMode) -> list[tuple[int, int] | None]:
    """Return the episode and step of each step of a lane, and None for steps that only reset it."""
    gap = [None] if mode is AutoresetMode.NEXT_STEP else []
    steps: list[tuple[int, int] | None] = []
    for episode in range(STEPS):
        steps += [(episode, step) for step in range(length(lane))]
        steps += gap
    return steps[:STEPS]


def expected_rewards(
    observer: Any,  # noqa: ANN401
    name: str,
    lanes: list[list[tuple[int, int] | None]],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return what is observed and what is paid, [steps, lanes], by a loop over both."""
    generator = np.random.default_rng(SEED)
    observed, paid = np.zeros((STEPS, len(lanes)), dtype=bool), np.zeros((STEPS, len(lanes)))
    for step in range(STEPS):
        places = [lane[step] for lane in lanes]
        true = [0.0 if at is None else pay(lane, *at) for lane, at in enumerate(places)]
        tampered = ALL[name](np.array(true), generator)
        for lane, at in enumerate(places):
            observed[step, lane] = at is not None and observer.observes(*at)
            paid[step, lane] = true[lane] if observed[step, lane] else tampered[lane]
    return observed, paid


class RewardLog(list[tuple[NDArray[Any], ...]]):
    """What a tampered environment reports of its steps."""

    def __call__(self, *arrays: NDArray[Any]) -> None:
        """Store copies."""
        self.append(tuple(array.copy() for array in arrays))

    def stacked(self) -> tuple[NDArray[Any], ...]:
        """Return each array for all steps, [steps, lanes]."""
        return tuple(np.stack(arrays) for arrays in zip(*self, strict=True))


def assert_same(one: object, other: object) -> None:
    assert not differ(one, other)


@each_tamper
@each_observer
@pytest.mark.parametrize("mode", AutoresetMode)
def test_vector_rewards_are_replaced_when_steps_are_hidden(
    mode: AutoresetMode,
    observer: Any,  # noqa: ANN401
    name: str,
) -> None:
    plain = SyncVectorEnv([NumberedRewards] * LANES, autoreset_mode=mode)
    inner, log = SyncVectorEnv([NumberedRewards] * LANES, autoreset_mode=mode), RewardLog()
    env = TamperedVector(inner, {"observer": observer}, ALL[name], log, SEED)
    assert_same(env.reset(seed=0), plain.reset(seed=0))
    observed, paid = expected_rewards(
        observer, name, [steps_of(lane, mode) for lane in range(LANES)]
    )
    for step in range(STEPS):
        actions = np.zeros(LANES, dtype=np.int64)
        observations, rewards, *rest = env.step(actions)
        others, _, *expected = plain.step(actions)
        assert_same((observations, rest), (others, expected))
        assert_same(rewards, paid[step])
        ended = rest[0] | rest[1]
        if mode is AutoresetMode.DISABLED and ended.any():
            resets = [each.reset(options={"reset_mask": ended.copy()}) for each in (env, plain)]
            assert_same(*resets)
    assert_same(log.stacked(), (observed, ~observed, paid))


@each_tamper
@each_observer
def test_single_rewards_are_replaced_when_steps_are_hidden(
    observer: Any,  # noqa: ANN401
    name: str,
) -> None:
    plain, log = NumberedRewards(), RewardLog()
    env = Tampered(NumberedRewards(), {"observer": observer}, ALL[name], log, SEED)
    assert_same(env.reset(seed=0), plain.reset(seed=0))
    observed, paid = expected_rewards(observer, name, [steps_of(0, AutoresetMode.DISABLED)])
    for step in range(STEPS):
        observation, reward, *rest = env.step(0)
        other, _, *expected = plain.step(0)
        assert_same((observation, rest), (other, expected))
        assert_same(reward, float(paid[step, 0]))
        if rest[0]:
            assert_same(env.reset(), plain.reset())
    assert_same(log.stacked(), (observed, ~observed, paid))


def moves(seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(4, size=(300, 16))


def tampered_grid(name: str, log: RewardLog, reward: str) -> Any:  # noqa: ANN401
    game = GridVectorEnv(**GRID)
    tampered = TamperedVector(game, {"observer": OVERSEEN}, ALL[name], log, SEED, pays_at_ends=True)
    return add_oversight(tampered, reward=reward)  # type: ignore[arg-type]


@each_tamper
def test_grid_rewards_are_replaced_when_squares_are_not_overseen(name: str) -> None:
    log, generator = RewardLog(), np.random.default_rng(SEED)
    plain, env = partial_grid_vec(**GRID, reward="true"), tampered_grid(name, log, "true")
    assert_same(env.reset(seed=3), plain.reset(seed=3))
    ends = np.zeros(2, dtype=int)
    for actions in moves(0):
        observations, rewards, *rest = env.step(actions)
        others, true, terminated, truncated, infos = plain.step(actions)
        assert_same((observations, rest), (others, [terminated, truncated, infos]))
        observed = infos.get("final_info", infos)["observed"]
        hidden = terminated & ~observed
        assert_same(rewards, np.where(hidden, ALL[name](true, generator), true))
        assert_same(log[-1], (observed, hidden, rewards))
        ends += observed.sum(), hidden.sum()
    assert ends.min() > 50


@pytest.mark.parametrize("reward", ["observed", "proxy"])
@each_tamper
def test_paid_rewards_are_unchanged_when_hidden_ones_are_replaced(name: str, reward: str) -> None:
    plain = partial_grid_vec(**GRID, reward=reward)  # type: ignore[arg-type]
    env = tampered_grid(name, RewardLog(), reward)
    assert_same(env.reset(seed=3), plain.reset(seed=3))
    for actions in moves(1):
        assert_same(env.step(actions), plain.step(actions))
