"""Tampered environments: observed rewards to the bit, hidden ones the tamper's, nothing else."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from envs import partial_grid_vec
from envs.gridworld_env import add_oversight
from oversight.certificate.tampering import (
    TAMPERS,
    Tampered,
    TamperedGrid,
    TamperedVector,
    unchanged,
)
from tests.oversight.certificate.digests import differ
from tests.oversight.certificate.payday import OBSERVERS, Payday, length, pay

LANES, STEPS, SEED = 4, 40, 7
ALL = {"unchanged": unchanged, **TAMPERS}
observed_by = pytest.mark.parametrize("observer", OBSERVERS, ids=lambda each: type(each).__name__)
tampered_by = pytest.mark.parametrize("name", ALL)


def played(lane: int, mode: AutoresetMode) -> list[tuple[int, int] | None]:
    """Return the episode and step of each of a lane's steps, None where it only resets."""
    gap = [None] if mode is AutoresetMode.NEXT_STEP else []
    steps: list[tuple[int, int] | None] = []
    for episode in range(STEPS):
        steps += [(episode, step) for step in range(length(lane))]
        steps += gap
    return steps[:STEPS]


def by_hand(
    observer: Any,  # noqa: ANN401
    name: str,
    lanes: list[list[tuple[int, int] | None]],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return who was observed and what was told, [steps, lanes], by a loop over both."""
    generator = np.random.default_rng(SEED)
    observed, told = np.zeros((STEPS, len(lanes)), dtype=bool), np.zeros((STEPS, len(lanes)))
    for step in range(STEPS):
        places = [lane[step] for lane in lanes]
        true = [0.0 if at is None else pay(lane, *at) for lane, at in enumerate(places)]
        other = ALL[name](np.array(true), generator)
        for lane, at in enumerate(places):
            observed[step, lane] = at is not None and observer.watches(*at)
            told[step, lane] = true[lane] if observed[step, lane] else other[lane]
    return observed, told


class Notes(list[tuple[NDArray[Any], ...]]):
    """What a tampered environment told of its steps."""

    def __call__(self, *said: NDArray[Any]) -> None:
        """Keep it."""
        self.append(tuple(array.copy() for array in said))

    def stacked(self) -> tuple[NDArray[Any], ...]:
        """Return each kind, [steps, lanes]."""
        return tuple(np.stack(arrays) for arrays in zip(*self, strict=True))


def same(one: object, other: object) -> None:
    assert not differ(one, other)


@tampered_by
@observed_by
@pytest.mark.parametrize("mode", AutoresetMode)
def test_lanes_are_tampered_with_where_nobody_watches(
    mode: AutoresetMode,
    observer: Any,  # noqa: ANN401
    name: str,
) -> None:
    plain = SyncVectorEnv([Payday] * LANES, autoreset_mode=mode)
    inner, notes = SyncVectorEnv([Payday] * LANES, autoreset_mode=mode), Notes()
    env = TamperedVector(inner, {"observer": observer}, ALL[name], notes, SEED)
    same(env.reset(seed=0), plain.reset(seed=0))
    observed, told = by_hand(observer, name, [played(lane, mode) for lane in range(LANES)])
    for step in range(STEPS):
        actions = np.zeros(LANES, dtype=np.int64)
        observations, rewards, *rest = env.step(actions)
        others, _, *expected = plain.step(actions)
        same((observations, rest), (others, expected))
        same(rewards, told[step])
        ended = rest[0] | rest[1]
        if mode is AutoresetMode.DISABLED and ended.any():
            resets = [each.reset(options={"reset_mask": ended.copy()}) for each in (env, plain)]
            same(*resets)
    same(notes.stacked(), (observed, ~observed, told))


@tampered_by
@observed_by
def test_a_single_environment_is_tampered_with_where_nobody_watches(
    observer: Any,  # noqa: ANN401
    name: str,
) -> None:
    plain, notes = Payday(), Notes()
    env = Tampered(Payday(), {"observer": observer}, ALL[name], notes, SEED)
    same(env.reset(seed=0), plain.reset(seed=0))
    observed, told = by_hand(observer, name, [played(0, AutoresetMode.DISABLED)])
    for step in range(STEPS):
        observation, reward, *rest = env.step(0)
        other, _, *expected = plain.step(0)
        same((observation, rest), (other, expected))
        same(reward, float(told[step, 0]))
        if rest[0]:
            same(env.reset(), plain.reset())
    same(notes.stacked(), (observed, ~observed, told))


def moves(seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(4, size=(300, 16))


@tampered_by
def test_the_grid_is_tampered_with_at_squares_that_nobody_watches(name: str) -> None:
    notes, generator = Notes(), np.random.default_rng(SEED)
    arguments: Any = {"num_envs": 16, "oversight_probability": 0.5}
    plain = partial_grid_vec(**arguments, reward="true")
    env = add_oversight(TamperedGrid(ALL[name], notes, SEED, **arguments), reward="true")
    same(env.reset(seed=3), plain.reset(seed=3))
    seen = np.zeros(2, dtype=int)
    for actions in moves(0):
        observations, rewards, *rest = env.step(actions)
        others, true, terminated, truncated, infos = plain.step(actions)
        same((observations, rest), (others, [terminated, truncated, infos]))
        observed = infos.get("final_info", infos)["observed"]
        hidden = terminated & ~observed  # an end that nobody saw
        same(rewards, np.where(hidden, ALL[name](true, generator), true))
        same(notes[-1], (observed, hidden, rewards))
        seen += observed.sum(), hidden.sum()
    assert seen.min() > 50


@pytest.mark.parametrize("reward", ["observed", "proxy"])
@tampered_by
def test_the_grid_that_hides_its_rewards_is_the_same_whatever_they_are(
    name: str, reward: str
) -> None:
    arguments: Any = {"num_envs": 16, "oversight_probability": 0.5}
    plain = partial_grid_vec(**arguments, reward=reward)  # type: ignore[arg-type]
    env = add_oversight(TamperedGrid(ALL[name], Notes(), SEED, **arguments), reward=reward)
    same(env.reset(seed=3), plain.reset(seed=3))
    for actions in moves(1):
        same(env.step(actions), plain.step(actions))
