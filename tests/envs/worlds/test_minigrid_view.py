"""MiniGrid's view of grid worlds: MiniGrid's own observation, bit by bit, and its wrappers."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from minigrid.core.constants import IDX_TO_COLOR
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Floor, Goal, Key, Lava, Wall, WorldObj
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from envs import EpisodeCoin
from envs.gridworld import Planes
from envs.registration import register
from envs.worlds import WORLDS, Channel, CornerMaze, WorldVectorEnv, make_world, minigrid_view
from envs.worlds.minigrid_view import SPACE, View, direction_of
from envs.worlds.world import World
from envs.wrappers.vector import PartialOversight
from tests.envs.comparison import assert_same

register()

SHOWN = [
    name
    for name, world in WORLDS.items()
    if all(each.minigrid for key, each in world.channels.items() if key != "agent")
]
"""The worlds all of whose objects MiniGrid has."""
OBJECTS = {2: Wall, 3: Floor, 5: Key, 6: Ball, 8: Goal, 9: Lava}


def minigrid_object(code: tuple[int, int, int]) -> WorldObj:
    """Return MiniGrid's own object of a code."""
    made = OBJECTS[code[0]]
    own = made(IDX_TO_COLOR[code[1]]) if made in (Wall, Floor, Key, Ball) else made()
    assert tuple(own.encode()) == code
    return own


def minigrid_image(world: World, planes: Planes, direction: int) -> NDArray[np.uint8]:
    """Return what MiniGrid shows of a board, [channels, rows, columns]."""
    reference = MiniGridEnv.__new__(MiniGridEnv)  # type: ignore[type-abstract]
    reference.grid = Grid(max(world.columns, 3), max(world.rows, 3))
    assert (reference.grid.width, reference.grid.height) == (world.columns, world.rows)
    for (name, channel), plane in zip(world.channels.items(), planes, strict=True):
        for row, column in np.argwhere(plane):
            if name == "agent":
                reference.agent_pos = int(column), int(row)
            else:
                assert channel.minigrid is not None
                reference.grid.set(column, row, minigrid_object(channel.minigrid))
    reference.agent_dir, reference.agent_view_size = direction, 7
    reference.see_through_walls, reference.carrying, reference.mission = True, None, ""
    image: NDArray[np.uint8] = reference.gen_obs()["image"]  # type: ignore[no-untyped-call]
    return image


@pytest.mark.parametrize("name", SHOWN)
def test_the_view_is_that_of_minigrid(name: str) -> None:
    world = make_world(name, {"distribution": "test"})
    state = world.levels(np.arange(12, dtype=np.uint64), np.zeros(12, dtype=np.uint64))
    generator = np.random.default_rng(0)
    for _ in range(6):
        world.move(state, generator.integers(4, size=12))
    planes, direction = world.observe(state), np.arange(12) % 4
    ours = View(world)(planes, direction)
    assert all(image in SPACE for image in ours)
    for lane in range(12):
        theirs = minigrid_image(world, planes[lane], int(direction[lane]))
        np.testing.assert_array_equal(ours[lane], theirs)


def test_a_move_turns_the_agent_to_minigrids_direction() -> None:
    assert direction_of([0, 1, 2, 3]).tolist() == [3, 0, 1, 2]


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*minimal resolution for an image")
@pytest.mark.parametrize("name", SHOWN)
def test_checkers_find_nothing(name: str) -> None:
    env = gym.make(name, observation="minigrid")
    check_env(env, skip_render_check=True)
    check_env_of_sb3(env)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert_same(again.reset(seed=3), env.reset(seed=3))


def test_vector_view_equals_sync_vector_of_singles() -> None:
    arguments: dict[str, Any] = {"observation": "minigrid", "size": 5, "horizon": 9}
    native = gym.make_vec("CornerMaze-v0", num_envs=8, **arguments)
    sync = SyncVectorEnv(
        [lambda: gym.make("CornerMaze-v0", **arguments)] * 8,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert native.observation_space == sync.observation_space
    assert_same(native.reset(seed=2), sync.reset(seed=2))
    for actions in np.random.default_rng(0).integers(4, size=(40, 8)):
        ours = native.step(actions)
        assert_same(ours, sync.step(actions))
        assert ours[0] in native.observation_space


def test_a_bump_turns_the_agent_and_a_new_level_starts_to_the_east() -> None:
    env = gym.make("CornerMaze-v0", observation="minigrid")
    plain = gym.make("CornerMaze-v0").unwrapped
    view = View(CornerMaze())
    first, _ = env.reset(seed=1)
    planes, _ = plain.reset(seed=1)
    np.testing.assert_array_equal(first, view(planes[None], np.array([0]))[0])
    for action in (3, 0):
        turned, planes = env.step(action)[0], plain.step(action)[0]
        np.testing.assert_array_equal(turned, view(planes[None], direction_of([action]))[0])
    first, planes = env.reset()[0], plain.reset()[0]
    np.testing.assert_array_equal(first, view(planes[None], np.array([0]))[0])


def test_a_view_outside_oversight_keeps_its_proxy_and_its_state() -> None:
    def make() -> Any:  # noqa: ANN401
        world = CornerMaze(size=5, horizon=9, distribution="test")
        inside = WorldVectorEnv(world, 32)
        return minigrid_view(PartialOversight(inside, observer=EpisodeCoin(0.5), proxy=world.proxy))

    env, other = make(), make()
    env.reset(seed=0)
    other.reset(seed=4)
    paid = 0.0
    for actions in np.random.default_rng(0).integers(4, size=(40, 32)):
        observations, rewards, *_ = env.step(actions)
        assert observations.shape == (32, 7, 7, 3)
        paid += rewards.sum()
    assert paid > 0
    other.set_state(env.get_state())
    for actions in np.random.default_rng(1).integers(4, size=(20, 32)):
        assert_same(env.step(actions), other.step(actions))
    state = env.get_state()
    with pytest.raises(ValueError, match="direction'] must be from 0 to 3"):
        env.set_state(state | {"direction": state["direction"] + 4})


@pytest.mark.parametrize("name", sorted({*WORLDS} - {*SHOWN}))
def test_worlds_with_objects_that_minigrid_lacks_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="MiniGrid has no object for its channel"):
        gym.make(name, observation="minigrid")


def test_other_environments_and_observations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="observation must be one of"):
        gym.make("CornerMaze-v0", observation="pixels")
    with pytest.raises(ValueError, match="one of grid worlds"):
        minigrid_view(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="leave out the argument of the window"):
        gym.make("SideRunner-v0", observation="minigrid", view=3)
    flagged = PartialOversight(
        WorldVectorEnv(CornerMaze(), 2), observer=EpisodeCoin(0.5), flag="visible"
    )
    with pytest.raises(ValueError, match="take flag='hidden'"):
        minigrid_view(flagged)
    wall = CornerMaze.channels["wall"]
    lacking = {**CornerMaze.channels, "wall": Channel(wall.letter, wall.icon)}
    monkeypatch.setattr(CornerMaze, "channels", lacking)
    with pytest.raises(ValueError, match="MiniGrid has no object for its channel 'wall'"):
        View(CornerMaze())
