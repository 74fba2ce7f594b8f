"""The environments of every grid world: Gymnasium's interface, episodes, seeds and states."""

from copy import deepcopy
from inspect import signature
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from envs.registration import register
from envs.worlds import WORLDS, WorldEnv, WorldVectorEnv, make_world
from envs.worlds.world import Distribution
from tests.envs.comparison import assert_same
from tests.envs.worlds.small_worlds import SMALL

register()

pytestmark = pytest.mark.parametrize("name", WORLDS)


def vector(name: str, num_envs: int, **arguments: Any) -> WorldVectorEnv:  # noqa: ANN401
    env = gym.make_vec(name, num_envs=num_envs, **arguments)
    assert isinstance(env, WorldVectorEnv)
    return env


def random_actions(env: WorldVectorEnv, steps: int, seed: int = 0) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    return generator.integers(len(env.games.world.actions), size=(steps, env.num_envs))


@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_checkers_find_nothing(name: str, render_mode: str) -> None:
    env = gym.make(name, render_mode=render_mode).unwrapped
    check_env(env)
    check_env_of_sb3(env)


@pytest.mark.parametrize("distribution", ["train", "test"])
def test_vector_environment_equals_sync_vector_of_singles(name: str, distribution: str) -> None:
    arguments: dict[str, Any] = {"distribution": distribution, **SMALL[name]}
    native = vector(name, 16, **arguments)
    sync = SyncVectorEnv(
        [lambda: gym.make(name, **arguments)] * 16, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert native.single_observation_space == sync.single_observation_space
    assert native.single_action_space == sync.single_action_space
    assert_same(native.reset(seed=11), sync.reset(seed=11))
    ends = set()
    for step, actions in enumerate(random_actions(native, 60)):
        if step == 40:
            assert_same(native.reset(), sync.reset())
        ours = native.step(actions)
        assert_same(ours, sync.step(actions))
        assert ours[0] in native.observation_space
        ends |= set(zip(*(each.tolist() for each in ours[2:4]), strict=True))
    assert {(True, False), (False, True), (False, False)} >= ends > {(False, False)}


def test_a_level_is_a_function_of_seed_and_episode_and_not_of_actions(name: str) -> None:
    env = vector(name, 4, **SMALL[name])
    starts = []
    for seed in (0, 1):
        first = env.reset(seed=[5, 5, 9, 9])[0]
        np.testing.assert_array_equal(first[::2], first[1::2])
        assert (first[0] != first[2]).any()
        for actions in random_actions(env, 30, seed):
            env.step(actions)
        state = env.get_state()
        world = env.games.world
        fresh = world.levels(state["seed"], state["episode"])
        env.reset()
        following = world.levels(state["seed"], state["episode"] + np.uint64(1))
        np.testing.assert_array_equal(env.games.observations, world.observe(following))
        starts.append((first, world.observe(fresh)))
    np.testing.assert_array_equal(starts[0][0], starts[1][0])


def test_returned_arrays_never_change_later_and_may_be_written_to(name: str) -> None:
    env, twin = (vector(name, 16, **SMALL[name]) for _ in range(2))
    actions = random_actions(env, 30)
    kept = [env.reset(seed=0), *(env.step(each) for each in actions)]
    snapshots: list[Any] = [deepcopy(twin.reset(seed=0))]
    for each in actions:
        result = twin.step(each)
        snapshots.append(deepcopy(result))
        for array in result[:4]:
            array[:] = 0
        for array in twin.get_state().values():
            array[:] = 0
    for one, other in zip(kept, snapshots, strict=True):
        assert_same(one, other)


def test_environment_continues_bit_for_bit_when_its_state_is_restored(name: str) -> None:
    env, other = (vector(name, 16, **SMALL[name]) for _ in range(2))
    env.reset(seed=1)
    for actions in random_actions(env, 20):
        env.step(actions)
    state = env.get_state()
    copies = deepcopy(state)
    going_on = [env.step(actions) for actions in random_actions(env, 30, seed=1)]
    other.set_state(state)
    resumed = [other.step(actions) for actions in random_actions(env, 30, seed=1)]
    for one, two in zip(going_on, resumed, strict=True):
        assert_same(one, two)
    assert_same(env.get_state(), other.get_state())
    assert_same(state, copies)


def test_state_is_refused_and_changes_nothing_when_invalid(name: str) -> None:
    env = vector(name, 4)
    with pytest.raises(ResetNeeded):
        env.get_state()
    env.reset(seed=0)
    state = env.get_state()
    cells = env.games.world.rows * env.games.world.columns
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "state must hold"),
        (state | {"more": state["seed"]}, "state must hold"),
        ({each: array[:2] for each, array in state.items()}, "of shape"),
        (state | {"seed": state["seed"].astype(np.int64)}, "must be uint64"),
        (state | {"agent": state["agent"] + cells}, f"from 0 to {cells - 1}"),
        (state | {"elapsed": state["elapsed"] - 1}, "from 0 to"),
    ]
    for each, message in bad:
        with pytest.raises(ValueError, match=message):
            env.set_state(each)
    assert_same(env.get_state(), state)


def test_an_episode_begins_in_the_state_that_is_given(name: str) -> None:
    env, single = vector(name, 4), gym.make(name).unwrapped
    world = env.games.world
    given = world.levels(np.arange(9, 13, dtype=np.uint64), np.ones(4, np.uint64))
    observations, _ = env.reset(seed=0, options={"state": given})
    np.testing.assert_array_equal(observations, world.observe(given))
    assert (env.get_state()["seed"] == np.arange(4)).all()
    assert not env.get_state()["elapsed"].any()
    alone = {key: array[2:3] for key, array in given.items()}
    np.testing.assert_array_equal(
        single.reset(seed=2, options={"state": alone})[0], observations[2]
    )
    for each in (env.step([0, 1, 2, 3]), env.reset(seed=0)):
        assert (each[0] != observations).any()
    listed = given | {"agent": given["agent"].tolist()}
    for wrong in (3, None, listed, {}, given | {"more": given["agent"]}, alone):
        with pytest.raises(ValueError, match=r"^state"):
            env.reset(options={"state": wrong})


@pytest.mark.parametrize(
    "actions", [[0, 1], [0, 1, 99], [0, 1, -1], [0.0, 1.0, 1.0], [True] * 3, [[0], [1], [2]], 0]
)
def test_actions_are_refused_and_change_nothing_when_invalid(name: str, actions: ArrayLike) -> None:
    env = vector(name, 3)
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(ValueError, match="actions must be"):
        env.step(actions)
    assert_same(env.get_state(), before)


def test_steps_and_pictures_need_a_running_episode(name: str) -> None:
    native, single = vector(name, 2, render_mode="ansi"), gym.make(name, **SMALL[name]).unwrapped
    for act in (lambda: native.step([0, 0]), native.render, lambda: single.step(0)):
        with pytest.raises(ResetNeeded):
            act()
    single.reset(seed=0)
    ended = False
    while not ended:
        _, _, terminated, truncated, _ = single.step(0)
        ended = terminated or truncated
    with pytest.raises(ResetNeeded):
        single.step(0)
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        native.reset(options={"reset_mask": np.ones(2, bool)})


def test_pictures_show_the_board(name: str) -> None:
    text, image = (vector(name, 2, render_mode=mode) for mode in ("ansi", "rgb_array"))
    assert vector(name, 2).render() is None
    observations, _ = text.reset(seed=0)
    image.reset(seed=0)
    rows, columns = observations.shape[2:]
    written, drawn = text.render(), image.render()
    assert written is not None
    assert drawn is not None
    for lane in range(2):
        lines = str(written[lane]).split("\n")
        assert [len(line.split(" ")) for line in lines] == [columns] * rows
        assert str(written[lane]).count("A") == 1
        assert np.shape(drawn[lane]) == (32 * rows + 1, 32 * columns + 1, 3)
    assert written[0] != written[1]


def test_a_specification_keeps_arguments_and_is_json(name: str) -> None:
    env = gym.make(name, horizon=60)
    assert isinstance(env.unwrapped, WorldEnv)
    assert env.unwrapped.games.world.horizon == 60
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.games.world.horizon == 60  # type: ignore[attr-defined]
    gym.spec(name).to_json()


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_an_unknown_argument_is_refused_with_those_that_exist(name: str, make: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"has no argument 'sise': .* horizon.*: observation, and"):
        make(name, sise=5)
    with pytest.raises(ValueError, match="render_mode must be one of"):
        vector(name, 1, render_mode="human")


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_horizon_in_which_a_level_may_not_be_solved_is_refused(name: str, make: Any) -> None:  # noqa: ANN401
    shortest = SMALL[name]["horizon"]
    make(name, **SMALL[name])
    with pytest.raises(
        ValueError, match=rf"horizon must be at least {shortest}, .* got {shortest - 1}"
    ):
        make(name, **(SMALL[name] | {"horizon": shortest - 1}))
    with pytest.raises(ValueError, match=r"horizon must be at least .*, got 3: raise it, or make"):
        make(name, horizon=3)


@pytest.mark.parametrize("distribution", ["train", "test"])
def test_every_level_can_be_solved_within_the_shortest_horizon(
    name: str, distribution: Distribution
) -> None:
    most = {"walls": 0.5, "pits": 0.3}
    obstacles = {each: most[each] for each in most if each in signature(WORLDS[name]).parameters}
    world = make_world(name, {**SMALL[name], **obstacles, "distribution": distribution})
    solution = world.solve(world.levels(*np.arange(4000, dtype=np.uint64).reshape(2, 2000)))
    assert (solution.optimal_return > 0).all()
    assert (solution.proxy_return > 0).all()
    assert (solution.optimal_steps <= world.horizon).all()
