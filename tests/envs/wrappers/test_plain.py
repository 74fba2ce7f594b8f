"""The compiled kernel and NumPy take the same steps, to the bit, and go on from the same state."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from envs.observers import EpisodeCoin
from envs.wrappers.vector import PartialOversight, kernel, partial_oversight, plain
from tests.envs.wrappers.games import frozen

MODES = list(AutoresetMode)
FINITE = st.floats(-8, 8, width=16)  # -0.0 too
HIDDEN = st.sampled_from([np.nan, np.inf, -np.inf, 1e9, -1e9, -0.0, 1.0])


class Scripted(VectorEnv[Any, Any, Any]):
    """Gives out what a test says."""

    said: tuple[Any, Any, Any]

    def __init__(self, num_envs: int, mode: AutoresetMode) -> None:
        self.num_envs, self.metadata = num_envs, {"autoreset_mode": mode}
        self.single_action_space, self.single_observation_space = (
            spaces.Discrete(2),
            spaces.Box(0, 1),
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(self, **_: Any) -> Any:  # noqa: ANN401
        """Start."""
        return np.zeros((self.num_envs, 1), dtype=np.float32), {}

    def step(self, _: Any) -> Any:  # noqa: ANN401
        """Give out what was said."""
        final = np.ones((self.num_envs, 1), dtype=np.float32)
        return np.zeros_like(final), *self.said, {"final_obs": final, "truth": self.said[0]}


def pair(
    lanes: int, mode: AutoresetMode, chance: float = 0.5
) -> tuple[PartialOversight, PartialOversight]:
    """Return a wrapper that has the kernel and one that has NumPy alone, both reset."""
    with pytest.MonkeyPatch.context() as patch:
        short = PartialOversight(Scripted(lanes, mode), observed_probability=chance)
        short.reset(seed=3)
        patch.setattr(partial_oversight, "shortcut", lambda *_: None)
        whole = PartialOversight(Scripted(lanes, mode), observed_probability=chance)
        whole.reset(seed=3)
    assert short._short is not None
    assert whole._short is None
    return short, whole


def step(env: PartialOversight, *said: Any) -> Any:  # noqa: ANN401
    """Let the environment say this."""
    env.env.said = tuple(np.copy(each) for each in said)  # type: ignore[attr-defined]
    return env.step(np.zeros(env.num_envs, dtype=np.intp))


def reset_ended(env: PartialOversight, ended: Any) -> None:  # noqa: ANN401
    if env._mode is AutoresetMode.DISABLED and ended.any():
        env.reset(options={"reset_mask": ended.copy()})


def watched(env: PartialOversight) -> Any:  # noqa: ANN401
    """Return which rewards the next step reads."""
    return env._clock.watched & ~env._resetting


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    lanes=st.integers(1, 9),
    mode=st.sampled_from(MODES),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_they_take_the_same_steps(data: Any, lanes: int, mode: AutoresetMode, dtype: Any) -> None:  # noqa: ANN401
    short, whole = pair(lanes, mode)
    flags = arrays.arrays(np.bool_, lanes)
    for _ in range(8):
        seen = data.draw(arrays.arrays(dtype, lanes, elements=FINITE.map(dtype)))
        hidden = data.draw(arrays.arrays(dtype, lanes, elements=HIDDEN.map(dtype)))
        said = np.where(watched(whole), seen, hidden), data.draw(flags), data.draw(flags)
        assert frozen(step(short, *said)) == frozen(step(whole, *said))
        assert frozen(short._state()) == frozen(whole._state())
        assert frozen(watched(short)) == frozen(watched(whole))
        for env in (short, whole):
            reset_ended(env, said[1] | said[2])
    assert short._short is not None
    assert short._short.fits


@pytest.mark.parametrize("mode", MODES)
def test_they_stay_together_for_hundreds_of_episodes(mode: AutoresetMode) -> None:
    short, whole = pair(37, mode, 0.3)
    generator, silence = np.random.default_rng(0), np.zeros(37, dtype=np.bool_)
    for _ in range(400):
        said = generator.normal(size=37), generator.random(37) < 0.8, silence
        assert frozen(step(short, *said)) == frozen(step(whole, *said))
        for env in (short, whole):
            reset_ended(env, said[1])
    state = short._state()
    assert frozen(state) == frozen(whole._state())
    assert state["oversight_episode"].max() > 150  # past several words of decisions


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_observed_reward_that_is_not_finite_is_refused_alike(
    mode: AutoresetMode, wrong: float
) -> None:
    ended = np.array([True, False, False])
    said = np.array([1.0, wrong, 2.0]), ended, ended
    told = []
    for env in pair(3, mode, 1.0):
        before = frozen(env._state())
        with pytest.raises(ValueError, match="needs finite rewards, the environment gave") as error:
            step(env, *said)
        assert frozen(env._state()) == before
        told.append(str(error.value))
    assert told[0] == told[1]


def odd() -> dict[str, Any]:
    """Return rewards that the kernel is not compiled for, or that are not one a lane."""
    plain_rewards = np.array([1.0, -2.0, 3.0])
    fixed = plain_rewards.copy()
    fixed.flags.writeable = False
    return {
        "list": plain_rewards.tolist(),
        "integers": plain_rewards.astype(np.int64),
        "half": plain_rewards.astype(np.float16),
        "long": plain_rewards.astype(np.longdouble),
        "swapped": plain_rewards.astype(">f8"),
        "strided": np.repeat(plain_rewards, 2)[::2],
        "read-only": fixed,
    }


@pytest.mark.parametrize("case", odd())
def test_what_the_kernel_does_not_fit_is_left_to_numpy(case: str) -> None:
    short, whole = pair(3, AutoresetMode.SAME_STEP, 1.0)
    ended = np.array([True, False, False])
    for _ in range(3):
        given = []
        for env in (short, whole):
            env.env.said = (odd()[case], ended.copy(), ended.copy())  # type: ignore[attr-defined]
            given.append(frozen(env.step(np.zeros(3))))
        assert given[0] == given[1]
    assert short._short is not None
    assert not short._short.fits


@pytest.mark.parametrize("mode", MODES)
def test_flags_may_be_integers(mode: AutoresetMode) -> None:
    flags = np.array([1, 0, 0], dtype=np.int8), np.array([0, 0, 1], dtype=np.int8)
    short, whole = pair(3, mode, 1.0)
    for env in (short, whole):
        env.env.said = (np.ones(3), *flags)  # type: ignore[attr-defined]
    for _ in range(3):
        given, expected = (env.step(np.zeros(3)) for env in (short, whole))
        assert frozen(given) == frozen(expected)
        assert frozen(short._state()) == frozen(whole._state())
    resting = mode is AutoresetMode.NEXT_STEP
    assert given[1].tolist() == ([0.0, 1.0, 0.0] if resting else [1.0, 1.0, 1.0])


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("lanes", [2, 4])
def test_arrays_of_another_length_are_never_read(which: int, lanes: int) -> None:
    said: list[Any] = [np.ones(3), *np.zeros((2, 3), dtype=np.bool_)]
    said[which] = np.resize(said[which], lanes)
    for env in pair(3, AutoresetMode.NEXT_STEP, 1.0):
        with pytest.raises(ValueError, match=r"one scalar reward a lane|broadcast"):
            step(env, *said)


@pytest.mark.parametrize("mode", MODES)
def test_what_it_gives_out_may_be_kept_and_written_to(mode: AutoresetMode) -> None:
    short, whole = pair(3, mode, 1.0)
    ended = np.array([True, False, False])
    kept: list[Any] = []
    for number in range(4):
        said = np.full(3, float(number)), ended, ended
        given, expected = step(short, *said), step(whole, *said)
        assert frozen(given) == frozen(expected)
        infos = given[4] | given[4].get("final_info", {})
        fresh = [
            given[1],
            *(infos[name] for name in infos if name not in ("final_info", "final_obs")),
        ]
        kept += fresh
        for array in fresh:
            array[:] = True
    for number, array in enumerate(kept):
        assert not any(np.shares_memory(array, other) for other in kept[:number])


def test_a_step_is_taken_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    short, _ = pair(3, AutoresetMode.SAME_STEP)
    monkeypatch.setattr(partial_oversight, "check_rewards", None)  # NumPy's way would call it
    assert step(short, np.ones(3), *np.zeros((2, 3), dtype=np.bool_))[1].shape == (3,)


def test_without_numba_numpy_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envs.wrappers.vector.kernel", None)
    monkeypatch.setattr(plain, "load", plain.load.__wrapped__)
    assert plain.load() is None
    env = PartialOversight(Scripted(3, AutoresetMode.SAME_STEP), observer=EpisodeCoin(1.0))
    env.reset(seed=0)
    assert env._short is None
    assert step(env, np.ones(3), *np.zeros((2, 3), dtype=np.bool_))[1].tolist() == [1.0, 1.0, 1.0]


def test_without_a_place_for_a_cache_it_compiles_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def njit(_: object, *, nogil: bool, cache: bool = False) -> Any:  # noqa: ANN401
        assert nogil
        if cache:
            raise RuntimeError("no locator available")
        return lambda function: function

    monkeypatch.setattr(kernel, "njit", njit)
    assert kernel._compile(len) is len


def test_numba_is_imported_when_a_step_needs_it() -> None:
    program = "import sys, envs.wrappers.vector; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
