"""The adapter equals SB3's DummyVecEnv, in every autoreset mode."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401 (registers its ids)
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

import envs
from agents import VectorEnvAdapter
from agents.vec_env import fill, observed_lanes
from envs import GridVectorEnv, partial_grid, partial_grid_vec
from envs.observers import StepCoin
from envs.wrappers import vector
from tests.agents.factories import Fused

LANES, STEPS = 16, 200

RULES: dict[str, Any] = {"oversight_probability": 0.4, "horizon": 12}

RUNNING_INFO = {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": False}


def native(**rules: Any) -> VectorEnvAdapter:  # noqa: ANN401
    return VectorEnvAdapter(partial_grid_vec(LANES, **{**RULES, **rules}))


def dummy(**rules: Any) -> DummyVecEnv:  # noqa: ANN401
    return DummyVecEnv([lambda: Monitor(partial_grid(**{**RULES, **rules}))] * LANES)


def actions(seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(4, size=(STEPS, LANES))


def seeded(env: VecEnv, seed: int) -> Any:  # noqa: ANN401
    env.seed(seed)
    return env.reset()


def assert_same_infos(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], dones: Any) -> None:  # noqa: ANN401
    for one, other, done in zip(ours, theirs, dones, strict=True):
        if done:
            del other["episode"]["t"]
            np.testing.assert_equal(one, other)
        else:
            assert one == {}
            assert other == RUNNING_INFO


@pytest.mark.parametrize("rules", [{}, {"reward": "proxy"}, {"flag": "hidden", "reward": "true"}])
def test_adapter_equals_dummy_vec_env(rules: dict[str, Any]) -> None:
    ours, theirs = native(**rules), dummy(**rules)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    np.testing.assert_array_equal(seeded(ours, 5), seeded(theirs, 5))
    assert [set(info) for info in ours.reset_infos] == [set(info) for info in theirs.reset_infos]
    endings = 0
    for row in actions():
        (obs, rewards, dones, infos), expected = ours.step(row), theirs.step(row)
        np.testing.assert_array_equal(obs, expected[0])
        np.testing.assert_array_equal(rewards, expected[1])
        assert rewards.dtype == expected[1].dtype
        np.testing.assert_array_equal(dones, expected[2])
        assert_same_infos(infos, expected[3], dones)
        endings += int(dones.sum())
    assert endings > 100


def test_seed_serves_one_reset() -> None:
    env = native()
    first = seeded(env, 3)
    assert (env.reset() != first).any()
    np.testing.assert_array_equal(seeded(env, 3), first)


def test_reset_forgets_running_episodes() -> None:
    env = native(reward="proxy")
    env.reset()
    for row in actions()[:5]:
        env.step(row)
    env.reset()
    lengths = [info["episode"]["l"] for row in actions()[:12] for info in env.step(row)[3] if info]
    assert max(lengths) <= 12


def test_adapter_resumes_from_its_state_bit_for_bit() -> None:
    env, other = native(), native()
    seeded(env, 1)
    for row in actions()[:50]:
        env.step(row)
    state = env.get_state()
    copies = {name: array.copy() for name, array in state.items()}
    going_on = [env.step(row) for row in actions(1)[:60]]
    other.reset()
    other.set_state(state)
    for row, (obs, rewards, dones, infos) in zip(actions(1)[:60], going_on, strict=True):
        resumed = other.step(row)
        np.testing.assert_array_equal(obs, resumed[0])
        np.testing.assert_array_equal(rewards, resumed[1])
        np.testing.assert_array_equal(dones, resumed[2])
        np.testing.assert_equal(infos, resumed[3])
    for name, array in copies.items():
        np.testing.assert_array_equal(state[name], array)


def test_adapter_equals_dummy_vec_env_on_cart_pole() -> None:
    venv = SyncVectorEnv(
        [lambda: gym.make("CartPole-v1")] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours, theirs = VectorEnvAdapter(venv), DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3)
    np.testing.assert_array_equal(seeded(ours, 2), seeded(theirs, 2))
    for row in actions()[:, :3] % 2:
        one, other = ours.step(row), theirs.step(row)
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[2], other[2])
        for lane in np.flatnonzero(one[2]):
            last = one[3][lane]["terminal_observation"]
            np.testing.assert_array_equal(last, other[3][lane]["terminal_observation"])


class SameRewards(GridVectorEnv):
    """Returns the same array of rewards from every step, and writes into it."""

    rewards = np.zeros(LANES, np.float32)

    def step(self, actions: ArrayLike) -> Any:  # noqa: ANN401
        """Step, and overwrite the array of rewards."""
        observations, rewards, *rest = super().step(actions)
        self.rewards[:] = rewards
        return observations, self.rewards, *rest


def test_rewards_are_copies() -> None:
    env = VectorEnvAdapter(SameRewards(LANES))
    env.reset()
    rewards = env.step(actions()[0])[1]
    rewards += 1
    assert (SameRewards.rewards == rewards - 1).all()


def test_images_come_one_per_lane() -> None:
    env = VectorEnvAdapter(partial_grid_vec(2, render_mode="rgb_array"))
    env.reset()
    images = env.get_images()
    assert [image.shape for image in images if image is not None] == [(161, 161, 3)] * 2
    assert native().get_images() == [None] * LANES
    env.close()


INFOS: list[dict[str, Any]] = [
    {"flag": np.True_, "number": 1.5, "word": "left", "vector": np.array([1, 2])},
    {},
    {"number": 2, "inside": {"depth": 3, "further": {"name": "x"}}, "_private": 7},
]


class FixedInfo(gym.Env[Any, Any]):
    """Returns the same info from every reset."""

    observation_space = action_space = gym.spaces.Discrete(2)

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the first observation and the info."""
        return 0, self.info


def test_fill_inverts_the_batching_of_gymnasium() -> None:
    def make(info: dict[str, Any]) -> Any:  # noqa: ANN401
        return lambda: FixedInfo(info)

    _, infos = SyncVectorEnv([make(info) for info in INFOS]).reset()
    listed: list[dict[str, Any]] = [{} for _ in INFOS]
    fill(listed, infos, [0, 1, 2])
    np.testing.assert_equal(listed, INFOS)


def test_fill_leaves_other_lanes_alone() -> None:
    listed: list[dict[str, Any]] = [{}, {}]
    fill(listed, {"a": np.array([1, 2]), "_a": np.array([True, True])}, [1])
    assert listed == [{}, {"a": 2}]


def test_fill_gives_a_key_to_every_lane_when_it_has_no_mask() -> None:
    listed: list[dict[str, Any]] = [{}, {}]
    fill(listed, {"rows": np.array([1, 2]), "list": [3, 4], "word": "ab", "one": 5.0}, [0, 1])
    shared = {"word": "ab", "one": 5.0}
    assert listed == [{"rows": 1, "list": 3, **shared}, {"rows": 2, "list": 4, **shared}]


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ({}, None),
        ({"observed": np.zeros(3, dtype=np.bool_)}, None),
        ({"observed": np.array([True, True, False])}, [True, True, False]),
        (
            {"observed": np.ones(3, dtype=np.bool_), "_observed": np.array([False, True, False])},
            [False, True, False],
        ),
        ({"observed": np.array([None, True, False], dtype=object)}, [False, True, False]),
        ({"observed": True}, [True, True, True]),
    ],
)
def test_observed_lanes_respects_masks(infos: dict[str, Any], expected: list[bool] | None) -> None:
    flags = observed_lanes(infos, 3)
    assert (None if flags is None else flags.tolist()) == expected


FEW, SOME_STEPS = 4, 150

SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED

Make = Callable[[AutoresetMode], VectorEnv[Any, Any, Any]]

Transition = tuple[Any, float, bool, dict[str, Any]]


def small_grid() -> gym.Env[Any, Any]:
    return gym.make("PartialGrid-v0", horizon=12, reward="true")


SINGLES: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "CartPole": lambda: gym.make("CartPole-v1"),
    "FrozenLake": lambda: gym.make("FrozenLake-v1"),
    "PartialGrid": small_grid,
}


def lanes_of_singles(name: str) -> Make:
    def single() -> gym.Env[Any, Any]:
        return envs.PartialOversight(SINGLES[name](), observer=StepCoin(0.3))

    return lambda mode: SyncVectorEnv([single] * FEW, autoreset_mode=mode)


def overseen_lanes(name: str) -> Make:
    def make(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
        lanes = SyncVectorEnv([SINGLES[name]] * FEW, autoreset_mode=mode)
        return vector.PartialOversight(lanes, observer=StepCoin(0.3))

    return make


OVERSEEN = {name: lanes_of_singles(name) for name in SINGLES} | {
    f"{name}, overseen as a vector": overseen_lanes(name) for name in SINGLES
}


def started(make: Make, mode: AutoresetMode, fused: bool = False) -> tuple[VectorEnvAdapter, Any]:
    venv = Fused(make(mode)) if fused else make(mode)
    env = VectorEnvAdapter(venv, marks_resets=fused)
    env.seed(4)
    return env, env.reset()


@pytest.mark.parametrize("case", OVERSEEN)
@pytest.mark.parametrize("mode", [NEXT, DISABLED])
def test_other_autoreset_modes_equal_same_step(case: str, mode: AutoresetMode) -> None:
    (ours, first), (theirs, expected) = (started(OVERSEEN[case], m) for m in (mode, SAME))
    np.testing.assert_array_equal(first, expected)
    assert ours.reset_infos == theirs.reset_infos
    actions = np.random.default_rng(0).integers(2, size=(SOME_STEPS, FEW))
    ended = others = 0
    for row in actions:
        one, other = ours.step(row), theirs.step(row)
        np.testing.assert_equal(one, other)
        np.testing.assert_equal(ours.reset_infos, theirs.reset_infos)
        assert one[1].dtype == other[1].dtype == np.float32
        ended += int(one[2].sum())
        others += sum("episode" not in info for info in one[3] if info)
    assert min(ended, others) > 10


def real_transitions(make: Make, mode: AutoresetMode, steps: int) -> list[list[Transition]]:
    """Return the real transitions of each lane, whose actions come from a stream of its own."""
    env, observations = started(make, mode, fused=mode is NEXT)
    actions = np.random.default_rng(0).integers(2, size=(FEW, steps)).tolist()
    taken: list[list[Transition]] = [[] for _ in range(FEW)]
    for _ in range(steps):
        row = np.array([actions[lane][len(taken[lane])] for lane in range(FEW)])
        before = observations
        observations, rewards, dones, infos = env.step(row)
        for lane, info in enumerate(infos):
            if "resetting" in info:
                assert info == {"resetting": True}
                assert (rewards[lane], dones[lane]) == (0.0, False)
            else:
                taken[lane].append((before[lane], float(rewards[lane]), bool(dones[lane]), info))
    return taken


@pytest.mark.parametrize("case", OVERSEEN)
def test_marked_resets_lie_between_the_same_steps(case: str) -> None:
    ours = real_transitions(OVERSEEN[case], NEXT, SOME_STEPS)
    theirs = real_transitions(OVERSEEN[case], SAME, SOME_STEPS)
    for one, other in zip(ours, theirs, strict=True):
        ends = sum(done for _, _, done, _ in one)
        assert ends > 1
        assert len(one) in (SOME_STEPS - ends, SOME_STEPS - ends + 1)
        np.testing.assert_equal(one, other[: len(one)])


def test_reset_forgets_pending_resets() -> None:
    env, _ = started(OVERSEEN["FrozenLake"], NEXT, fused=True)
    while not env.step(np.full(FEW, 2))[2].any():
        pass
    env.reset()
    assert not any("resetting" in info for info in env.step(np.zeros(FEW, int))[3])


def native_cart_poles() -> VectorEnv[Any, Any, Any]:
    return gym.make_vec("CartPole-v1", FEW, vectorization_mode="vector_entry_point")


@pytest.mark.parametrize("overseen", [False, True])
def test_native_cart_pole_starts_the_next_episode_in_the_step_of_an_end(overseen: bool) -> None:
    venv = native_cart_poles()
    assert venv.metadata["autoreset_mode"] is NEXT
    if overseen:
        venv = vector.PartialOversight(venv, observed_probability=1.0)
    env = VectorEnvAdapter(venv)
    env.reset()
    lengths: list[int] = []
    steps: NDArray[np.int64] = np.zeros(FEW, dtype=np.int64)
    for _ in range(SOME_STEPS):
        observations, rewards, dones, infos = env.step(np.zeros(FEW, dtype=np.int64))
        assert (rewards == 1.0).all()
        steps += 1
        for lane in np.flatnonzero(dones):
            assert infos[lane]["episode"] == {"r": float(steps[lane]), "l": steps[lane]}
            assert np.abs(infos[lane]["terminal_observation"]).max() > 0.2
            assert np.abs(np.asarray(observations)[lane]).max() <= 0.05
            lengths.append(infos[lane]["episode"]["l"])
            steps[lane] = 0
    assert len(lengths) > 20
    assert 8 <= min(lengths) <= max(lengths) <= 11  # as of single ones under the same action


def test_terminal_observation_stays_when_the_environment_reuses_its_array() -> None:
    def shared(mode: AutoresetMode) -> SyncVectorEnv:
        return SyncVectorEnv([SINGLES["CartPole"]] * FEW, autoreset_mode=mode, copy=False)

    env, _ = started(shared, DISABLED)
    pole_has_fallen = 0.2
    last: list[Any] = []
    for _ in range(SOME_STEPS):
        _, _, dones, infos = env.step(np.zeros(FEW, int))
        last += [infos[lane]["terminal_observation"] for lane in np.flatnonzero(dones)]
    assert len(last) > 10
    assert all(abs(observation[2]) > pole_has_fallen for observation in last)


def test_adapter_refuses_an_unknown_autoreset_mode() -> None:
    venv = OVERSEEN["CartPole"](SAME)
    venv.metadata = {**venv.metadata, "autoreset_mode": "same"}
    with pytest.raises(ValueError, match=r"must be one of .*SAME_STEP.*, got 'same'"):
        VectorEnvAdapter(venv)


FLAT, SEQUENCE = gym.spaces.Discrete(2), gym.spaces.Sequence(gym.spaces.Discrete(2))


@pytest.mark.parametrize(
    ("space", "advice"),
    [
        (gym.spaces.Dict({"a": gym.spaces.Dict({"b": FLAT})}), "wrappers.FlattenObservation"),
        (gym.spaces.Tuple([FLAT]), "in a Dict with .*, or .*gymnasium.wrappers.FlattenObservation"),
        (gym.spaces.Text(3), "gymnasium.wrappers.FlattenObservation"),
        (SEQUENCE, "with a gymnasium.ObservationWrapper"),
        (gym.spaces.Tuple([FLAT, SEQUENCE]), "with a gymnasium.ObservationWrapper"),
        (gym.spaces.Dict({"b": SEQUENCE}), "with a gymnasium.ObservationWrapper"),
        (
            gym.spaces.Dict({"a": FLAT, "b": SEQUENCE}),
            r"gymnasium.wrappers.FilterObservation\(env, \['a'\]\)",
        ),
        (
            gym.make("MiniGrid-Empty-5x5-v0").observation_space,
            r"FilterObservation\(env, \['direction', 'image'\]\), or .*minigrid.*FlatObsWrapper",
        ),
    ],
)
def test_observations_that_are_not_arrays_are_refused_with_a_wrapper_that_works(
    space: gym.spaces.Space[Any], advice: str
) -> None:
    class Nested(gym.Env[Any, Any]):
        observation_space, action_space = space, gym.spaces.Discrete(2)

    with pytest.raises(
        ValueError, match=rf"must be arrays, or a Dict of arrays, .*{advice}$"
    ) as refused:
        VectorEnvAdapter(SyncVectorEnv([Nested], autoreset_mode=SAME))
    assert "\n" not in str(refused.value)


def test_adapter_refuses_lanes_that_cannot_be_reset_alone() -> None:
    with pytest.raises(ValueError, match="Fused resets ended lanes in the next step and cannot"):
        VectorEnvAdapter(Fused(OVERSEEN["CartPole"](NEXT)))
    fused = Fused(OVERSEEN["CartPole"](NEXT))
    fused.resets_lanes = True  # type: ignore[attr-defined]
    VectorEnvAdapter(fused)
    stacked = gym.wrappers.vector.NormalizeObservation(OVERSEEN["CartPole"](NEXT))
    with pytest.raises(ValueError, match="cannot reset some lanes alone"):
        VectorEnvAdapter(stacked)


class WithOptions(FixedInfo):
    """Keeps the options of each reset, and ends every episode at once."""

    def __init__(self) -> None:
        super().__init__({})
        self.given: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Keep the options."""
        self.given.append(options)
        return 0, {}

    def step(self, action: object) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """End the episode."""
        return 0, 0.0, True, False, {}


def given_options(adapt: Callable[[list[Any]], VecEnv], options: Any) -> list[Any]:  # noqa: ANN401
    """Return the options of three resets, the middle one of which is by itself, for each lane."""
    singles = [WithOptions() for _ in range(2)]
    env = adapt([lambda single=single: single for single in singles])
    env.set_options(options)
    env.reset()
    env.step(np.zeros(2, np.int64))
    env.reset()
    return [single.given for single in singles]


@pytest.mark.parametrize("options", [{"level": 3}, [{"level": 3}] * 2, {}, None])
def test_options_serve_one_reset_as_in_dummy_vec_env(options: Any) -> None:  # noqa: ANN401
    def adapted_lanes(singles: list[Any]) -> VecEnv:
        return VectorEnvAdapter(SyncVectorEnv(singles, autoreset_mode=SAME))

    ours = given_options(adapted_lanes, options)
    assert ours == given_options(DummyVecEnv, options)
    assert ours[0] == [{"level": 3} if options else None, None, None]


def test_options_that_differ_between_lanes_are_refused() -> None:
    env = VectorEnvAdapter(SyncVectorEnv([WithOptions] * 2))
    env.set_options([{"level": 3}, {"level": 4}])
    with pytest.raises(ValueError, match="must give all of them the same options"):
        env.reset()
    env.set_options({"board": np.zeros(3)})  # arrays cannot be compared by ==
    env.reset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([{"board": np.ones(2)}, {}], "the same options, got .*give one dictionary"),
        ([{"level": 3}], "one for each of 2 lanes, got 1"),
        ({"reset_mask": np.array([True, False])}, "would reset some lanes only"),
    ],
)
def test_options_are_refused_when_lanes_cannot_have_them(options: Any, message: str) -> None:  # noqa: ANN401
    env = VectorEnvAdapter(SyncVectorEnv([WithOptions] * 2))
    env.set_options(options)
    with pytest.raises(ValueError, match=message):
        env.reset()


class PaysTooMuch(WithOptions):
    """Pays a number that no float holds."""

    def step(self, action: object) -> tuple[int, Any, bool, bool, dict[str, Any]]:
        """Pay it."""
        return 0, 10**400, False, False, {}


def test_reward_that_no_float_holds_is_refused() -> None:
    env = VectorEnvAdapter(SyncVectorEnv([PaysTooMuch]))
    env.reset()
    with pytest.raises(ValueError, match="must be finite numbers that a float can hold"):
        env.step(np.zeros(1, int))
