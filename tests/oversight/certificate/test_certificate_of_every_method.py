"""Every wrapper, every method and every autoreset mode is certified, on short runs.

Each wrapper meets each method and each way of stepping in the quick suite, and each way of
stepping each method; all three of them in every combination are slow.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode

from agents import METHODS
from agents.ppo import PPOConfig
from envs import FixedHorizon, Noisy, NoisyFlag, Query, StepCoin, partial_grid_vec
from envs.wrappers import DelayedOversight, NormalizeObservedReward, vector
from oversight.certificate import Setup, certify
from oversight.certificate.setup import VectorEnvFactory, Wrapper, make_setup
from oversight.certificate.tampering import TAMPERS

HONEST = [name for name, method in METHODS.items() if method.reward != "true"]
CORE = ("routed", "reward-map", "pessimistic")
Stepped = tuple[Wrapper, AutoresetMode]
STEPPED: list[Stepped] = list(product(("vector", "single"), AutoresetMode))
SINGLE = STEPPED[len(AutoresetMode) :]
OUTSIDE = "FixedHorizon outside"
TWO = {name: TAMPERS[name] for name in ("1e9", "NaN")}  # together they show every known leak
ONE = {"1e9": TAMPERS["1e9"]}
HALF: dict[str, Any] = {"observed_probability": 0.5}
Make = Callable[[Wrapper, str, AutoresetMode], Setup]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit reward models by a few steps, and wait for no disk: neither is what is looked at here."""
    monkeypatch.setattr("agents.reward_model.STEPS", 4)
    monkeypatch.setattr("agents.score_maps.STEPS", 4)
    monkeypatch.setattr("os.fsync", lambda _: None)


def lake() -> gym.Env[Any, Any]:
    """Short episodes that end in both ways."""
    return gym.make("FrozenLake-v1", max_episode_steps=6, disable_env_checker=True)


def board() -> gym.Env[Any, Any]:
    """Short episodes on a board, which score maps need."""
    return gym.make(
        "PartialGrid-v0", horizon=6, flag="hidden", reward="true", disable_env_checker=True
    )


def game_of(method: str) -> Callable[[], gym.Env[Any, Any]]:
    return board if METHODS[method].network.score_maps else lake


def coin(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    return make_setup(game_of(method), method, HALF, wrapper, mode)


def visible(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    oversight = {"observer": StepCoin(0.5), "flag": "visible"}
    return make_setup(game_of(method), method, oversight, wrapper, mode)


def fixed_horizon_inside(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    return make_setup(lambda: FixedHorizon(game_of(method)(), 8), method, HALF, wrapper, mode)


def query(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    return make_setup(game_of(method), method, {"observer": Query(0.25)}, wrapper, mode)


def erring(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    oversight = {"observer": Noisy(StepCoin(0.7), flip=0.3, miss=0.2), "flag": NoisyFlag(0.2)}
    return make_setup(game_of(method), method, oversight, wrapper, mode)


def delayed(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    setup = make_setup(game_of(method), method, HALF, wrapper, mode)
    if wrapper == "vector":
        return replace(setup, outside=partial(vector.DelayedOversight, episodes=2))
    hide = setup.hide
    return replace(setup, hide=lambda env: DelayedOversight(hide(env), episodes=2))


def scaled(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    setup = make_setup(game_of(method), method, HALF, wrapper, mode)
    if wrapper == "vector":
        return replace(setup, outside=vector.NormalizeObservedReward)
    hide = setup.hide
    return replace(setup, hide=lambda env: NormalizeObservedReward(hide(env)))


def fixed_horizon_outside(wrapper: Wrapper, method: str, mode: AutoresetMode) -> Setup:
    setup = make_setup(game_of(method), method, HALF, "single", mode)
    hide = setup.hide
    keep = ("observed", "observed_reward")
    return replace(setup, hide=lambda env: FixedHorizon(hide(env), 8, keep=keep))


WRAPPERS: dict[str, Make] = {
    "PartialOversight": coin,
    "PartialOversight, visible": visible,
    "PartialOversight, queried": query,
    "PartialOversight, erring": erring,
    "DelayedOversight": delayed,
    "NormalizeObservedReward": scaled,
    "FixedHorizon inside": fixed_horizon_inside,
    OUTSIDE: fixed_horizon_outside,
}
EVERY = [
    each for each in product(WRAPPERS, STEPPED, HONEST) if each[0] != OUTSIDE or each[1] in SINGLE
]


def check(setup: Setup) -> None:
    """Certify on a run of two rollouts; checkpoints are chosen alike whatever the method."""
    ppo = PPOConfig(hidden_sizes=(8,), n_steps=8, batch_size=8, propensity=0.5)
    core = setup.method.name in CORE
    short = replace(setup, ppo=ppo, num_envs=2, steps=32, held_out=0.25 if core else 0.0)
    certificate = certify(short, TWO if core else ONE)
    assert certificate.passed, certificate.findings
    assert certificate.hidden
    assert certificate.observed


def is_quick(wrapper: str, stepped: Stepped, method: str) -> bool:
    """Whether a combination is in the quick suite: one of six, and of the core's one of three."""
    place = STEPPED.index(stepped) + list(WRAPPERS).index(wrapper) + HONEST.index(method)
    return place % (3 if wrapper == OUTSIDE or method in CORE else 6) == 0


def case(wrapper: str, stepped: Stepped, method: str) -> Any:  # noqa: ANN401
    """Return the arguments of a test, marked as slow unless the combination is quick."""
    marks = () if is_quick(wrapper, stepped, method) else (pytest.mark.slow,)
    kind, mode = stepped
    return pytest.param(
        wrapper, kind, mode, method, marks=marks, id=f"{wrapper}-{kind}-{mode.name}-{method}"
    )


def test_all_pairs_are_covered_when_the_slow_cases_are_skipped() -> None:
    quick = [each for each in EVERY if is_quick(*each)]
    assert {(wrapper, method) for wrapper, _, method in quick} == set(product(WRAPPERS, HONEST))
    assert {(stepped, method) for _, stepped, method in quick} == set(product(STEPPED, HONEST))
    core = {(wrapper, stepped) for wrapper, stepped, method in quick if method in CORE}
    assert core == {(wrapper, stepped) for wrapper, stepped, _ in EVERY}


@pytest.mark.parametrize(("wrapper", "kind", "mode", "method"), [case(*each) for each in EVERY])
def test_certify_passes_when_a_method_learns_inside_a_wrapper(
    wrapper: str, kind: Wrapper, mode: AutoresetMode, method: str
) -> None:
    check(WRAPPERS[wrapper](kind, method, mode))


@pytest.mark.parametrize("method", HONEST)
def test_certify_passes_when_a_native_vector_environment_has_a_fixed_horizon(method: str) -> None:
    def native(num_envs: int) -> Any:  # noqa: ANN401
        return vector.FixedHorizon(partial_grid_vec(num_envs, reward="true", horizon=6), 8)

    hide = partial(vector.PartialOversight, reward=METHODS[method].reward, **HALF)
    setup = make_setup(game_of(method), method, HALF)
    check(replace(setup, make_env=VectorEnvFactory(native, HALF), hide=hide))
