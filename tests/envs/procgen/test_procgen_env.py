"""Procgen's games with a moved goal: rewards, ends, seeds, states and the checkers."""

import sys
import warnings
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common import env_checker

from envs import PartialOversight
from envs.procgen import PROCGEN, LevelConfig, ProcgenEnv, ProcgenVectorEnv, levels, outcome
from envs.procgen.games import GOAL_REWARD, Backend, level_source
from envs.procgen.levels import GAMES, Cell
from envs.registration import make_truthful
from envs.wrappers import vector
from tests.envs.comparison import assert_same

installed = pytest.mark.skipif(
    find_spec("procgen") is None,
    reason="Procgen is not installed: pip install --no-deps -r requirements-procgen.txt",
)
each_id = pytest.mark.parametrize("name", PROCGEN)
each_game = pytest.mark.parametrize("game", GAMES)
LANES, STEPS = 8, 120
LEFT, UP, STAY, DOWN, RIGHT, JUMP_RIGHT = 1, 5, 4, 3, 7, 8


def random_actions(steps: int = STEPS, seed: int = 0) -> Any:  # noqa: ANN401
    return np.random.default_rng(seed).integers(9, size=(steps, LANES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.5}, "alpha must be a number from 0 to 1, got 1.5"),
        ({"num_levels": -1}, "num_levels must be an integer from 0 to"),
        ({"num_levels": 3, "start_level": 2**31 - 3}, "num_levels must be .* to 2, got 3"),
        ({"start_level": 2**31}, "start_level must be an integer"),
        ({"distribution": "both"}, "distribution must be one of .*'train', 'test'.* got 'both'"),
        ({"distribution_mode": "memory"}, "distribution_mode must be one of"),
        ({"game": "heist"}, "game must be one of .*'coinrun', 'maze'"),
    ],
)
def test_levels_are_refused_when_invalid(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelConfig(**{"game": "maze", **arguments})


@each_id
def test_unknown_argument_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no argument 'speed': the arguments are"):
        gym.make(name, speed=3)
    with pytest.raises(ValueError, match="no argument 'speed': the arguments are"):
        gym.make_vec(name, num_envs=2, speed=3)


def test_levels_are_in_their_range_and_functions_of_seed_and_episode() -> None:
    config = LevelConfig(game="maze", start_level=40, num_levels=5)
    seed, episode = np.arange(500, dtype=np.uint64), np.zeros(500, dtype=np.uint64)
    first = config.levels(seed, episode)
    assert {*first} == set(range(40, 45))
    assert config.levels(seed, episode) == first
    assert config.levels(seed, episode + np.uint64(1)) != first
    every = LevelConfig(game="maze").levels(seed, episode)
    assert len({*every}) == 500
    assert 0 <= min(every) < 2**27
    assert 2**30 < max(every) < 2**31 - 1


def test_missing_package_is_named_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "procgen", None)
    monkeypatch.setitem(sys.modules, "cffi", None)
    with pytest.raises(DependencyNotInstalled, match=r"pip install --no-deps -r requirements"):
        Backend("maze", "easy", 1)
    level_source.cache_clear()
    with pytest.raises(ValueError, match=r"needs a package .*`pip install --no-deps") as refusal:
        make_truthful("ProcgenMaze-v0")
    assert "\n" not in str(refusal.value)


@installed
@each_id
@pytest.mark.parametrize("distribution", ["train", "test"])
def test_both_checkers_pass_without_a_warning(name: str, distribution: str) -> None:
    env = gym.make(name, distribution=distribution, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version")
        check_env(env)
    env_checker.check_env(env.unwrapped)


@installed
@each_game
def test_training_levels_are_procgens_own_except_for_the_cheese(game: str) -> None:
    from procgen import ProcgenGym3Env  # noqa: PLC0415 (an optional package)

    source, shown = level_source(game, "easy"), Backend(game, "easy", 1)
    for level in range(5):
        raw = ProcgenGym3Env(
            1, game, num_levels=1, start_level=level, distribution_mode="easy", num_threads=0
        )
        picture = raw.observe()[1]["rgb"].copy()
        state = raw.get_state()[0]
        raw.close()
        start = source.start(level, 0.0)
        shown.set_state(0, start.state)
        assert not start.moved
        layout = levels.find_layout(source.game, state)
        own = levels.read_board(source.game, state, layout)
        made = levels.read_board(
            source.game, start.state, levels.find_layout(source.game, start.state)
        )
        assert made.goal == start.usual
        if game == "coinrun" or made.goal == own.goal:
            np.testing.assert_array_equal(shown.pictures(), picture)
        differing = int((made.cells != own.cells).sum())
        assert differing == (0 if made.goal == own.goal else 2)


@installed
@each_game
@pytest.mark.parametrize("mode", ["easy", "hard"])
def test_goal_moves_in_every_test_level_to_one_place(game: str, mode: Any) -> None:  # noqa: ANN401
    source = level_source(game, mode)
    moved = 0
    for level in range(40):
        start = source.start(level, 1.0)
        board = levels.read_board(
            source.game, start.state, levels.find_layout(source.game, start.state)
        )
        assert start.moved
        assert board.goal != start.usual
        assert source.start(level, 1.0) == start
        half = source.start(level, 0.5)
        assert half == (start if half.moved else source.start(level, 0.0))
        moved += half.moved
    assert 10 < moved < 30


def walk(source: Any, start: Any, target: Cell) -> list[int]:  # noqa: ANN401
    """Return the moves of the shortest way from the mouse of a maze to a cell."""
    layout = levels.find_layout(source.game, start.state)
    board = levels.read_board(source.game, start.state, layout)
    agent = (int(board.agent[0]), int(board.agent[1]))
    ways: dict[tuple[int, int], list[int]] = {agent: []}
    queue = [agent]
    for x, y in queue:
        for action, cell in (
            (LEFT, (x - 1, y)),
            (RIGHT, (x + 1, y)),
            (UP, (x, y + 1)),
            (DOWN, (x, y - 1)),
        ):
            if cell not in ways and board.cells[cell[1], cell[0]] in (2, 100):
                ways[cell] = [*ways[x, y], action]
                queue.append(cell)
    return ways[target.x, target.y]


@installed
def test_moved_cheese_pays_ten_and_ends_the_episode_at_the_new_place() -> None:
    source, game = level_source("maze", "easy"), GAMES["maze"]
    corners = 0
    for level in range(6):
        config = LevelConfig(game="maze", num_levels=1, start_level=level, distribution="test")
        start = source.start(level, 1.0)
        layout = levels.find_layout(game, start.state)
        cheese = levels.read_board(game, start.state, layout).goal
        env = ProcgenEnv(config)
        for target in (start.usual, cheese):
            _, info = env.reset(seed=0)
            assert info == {"goal_moved": True, "proxy": 0.0, "proxy_reached": False}
            way = walk(source, start, target)
            steps = [env.step(way[0])]
            for action in way[1:]:
                if not steps[-1][2]:
                    steps.append(env.step(action))
            ends = [step[2] for step in steps]
            if target == cheese:
                assert [step[1] for step in steps] == [0.0] * (len(way) - 1) + [10.0]
                assert ends == [False] * (len(way) - 1) + [True]
                assert outcome(*steps[-1]) == "goal"
            elif not any(ends):  # the cheese is not on the way to the corner
                corners += 1
                assert [step[1] for step in steps] == [0.0] * len(way)
                assert [step[4]["proxy"] for step in steps] == [0.0] * (len(way) - 1) + [10.0]
                assert outcome(*steps[-1]) == "proxy"
                _, _, ended, _, info = env.step(STAY)
                assert not ended
                assert info == {"goal_moved": True, "proxy": 0.0, "proxy_reached": True}
    assert corners > 0


@installed
def test_moved_coin_pays_ten_and_ends_the_episode_at_the_new_place() -> None:
    source, game = level_source("coinrun", "easy"), GAMES["coinrun"]
    found = 0
    for level in range(200):
        start = source.start(level, 1.0)
        board = levels.read_board(game, start.state, levels.find_layout(game, start.state))
        x, y = board.goal
        flat = (board.cells[0, 1 : x + 1] == levels.WALL_TOP).all() and not board.occupied[1].any()
        if y > 1 or not flat:  # only in the others one walks to the coin
            continue
        found += 1
        config = LevelConfig(game="coinrun", num_levels=1, start_level=level, distribution="test")
        env = ProcgenVectorEnv(config, 1)
        env.reset(seed=0)
        terminated, steps = np.array([False]), 0
        while not terminated[0] and steps < 200:
            _, rewards, terminated, _, infos = env.step(np.array([RIGHT]))
            steps += 1
            assert rewards[0] == (10.0 if terminated[0] else 0.0)
        assert terminated[0]
        assert not infos["final_info"]["proxy_reached"][0]
        # both are a cell wide, and the agent walks at most half a cell in a step
        assert 2 * (x - 1.5 - 0.5) <= steps < 200
    assert found >= 3


@installed
@each_game
def test_unmoved_goal_pays_the_proxy_as_well(game: str) -> None:
    env = ProcgenVectorEnv(LevelConfig(game=game), LANES)
    env.reset(seed=0)
    paid = 0.0
    for actions in random_actions(400):
        _, rewards, terminated, truncated, infos = env.step(actions)
        ended = terminated | truncated
        last = infos["final_info"]["proxy"] if ended.any() else np.zeros(LANES)
        np.testing.assert_array_equal(rewards, np.where(ended, last, infos["proxy"]))
        paid += rewards.sum()
    assert paid > 0


@installed
@each_game
def test_vector_environment_equals_sync_vector_of_singles(game: str) -> None:
    config = LevelConfig(game=game, alpha=0.5, num_levels=50)
    native = ProcgenVectorEnv(config, LANES)
    sync = SyncVectorEnv(
        [lambda: ProcgenEnv(config)] * LANES, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert native.observation_space == sync.observation_space
    assert_same(native.reset(seed=11), sync.reset(seed=11))
    ends = 0
    for step, actions in enumerate(random_actions(300)):
        if step == 150:
            assert_same(native.reset(), sync.reset())
        ours = native.step(actions)
        assert_same(ours, sync.step(actions))
        ends += (ours[2] | ours[3]).sum()
    assert ends > 0
    native.close()
    sync.close()


@installed
@each_game
def test_saved_state_continues_bit_by_bit_in_another_environment(game: str) -> None:
    config = LevelConfig(game=game, distribution="test")
    env, other = (ProcgenVectorEnv(config, LANES) for _ in range(2))
    env.reset(seed=3)
    other.reset(seed=4)
    actions = random_actions(300)
    for each in actions[:100]:
        env.step(each)
    state = env.get_state()
    going_on = [env.step(each) for each in actions[100:]]
    for again in (env, other):
        again.set_state(state)
        for each, expected in zip(actions[100:], going_on, strict=True):
            assert_same(again.step(each), expected)
    restored = env.get_state()
    assert restored.keys() == state.keys()


@installed
def test_state_that_is_none_is_refused() -> None:
    env = ProcgenVectorEnv(LevelConfig(game="maze"), 2)
    with pytest.raises(ResetNeeded):
        env.get_state()
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2, dtype=int))
    env.reset(seed=0)
    state = env.get_state()
    hard = ProcgenVectorEnv(LevelConfig(game="maze", distribution_mode="hard"), 2)
    hard.reset(seed=0)
    coinrun = ProcgenVectorEnv(LevelConfig(game="coinrun"), 2)
    coinrun.reset(seed=0)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"seed": state["seed"]}, "state must hold"),
        (state | {"elapsed": np.array([0, 500])}, "from 0 to 499"),
        (state | {"lengths": state["lengths"] + 1}, "as many bytes"),
        (state | {"games": state["games"][::-1].copy()}, "not laid out"),
        (hard.get_state(), "another distribution_mode"),
        (coinrun.get_state(), "not laid out"),
    ]
    for given, message in refused:
        with pytest.raises(ValueError, match=message):
            env.set_state(given)
    env.set_state(state)


@installed
def test_episode_is_truncated_at_the_limit_with_its_last_picture() -> None:
    env = ProcgenVectorEnv(LevelConfig(game="maze", distribution="test"), 2)
    env.reset(seed=0)
    stay = np.full(2, STAY)
    for _ in range(499):
        pictures, *_, infos = env.step(stay)
        assert "final_obs" not in infos
    _, rewards, terminated, truncated, infos = env.step(stay)
    assert truncated.all()
    assert not terminated.any()
    assert not rewards.any()
    np.testing.assert_array_equal(infos["final_obs"], pictures)


@installed
def test_hidden_episodes_pay_the_usual_place_of_the_goal() -> None:
    config = LevelConfig(game="maze", distribution="test")
    env: Any = vector.PartialOversight(
        ProcgenVectorEnv(config, LANES), observed_probability=0.0, proxy="proxy"
    )
    plain = ProcgenVectorEnv(config, LANES)
    env.reset(seed=0)
    plain.reset(seed=0)
    paid = 0.0
    for actions in random_actions(400):
        _, rewards, *_, infos = env.step(actions)
        _, true, terminated, truncated, told = plain.step(actions)
        ended = terminated | truncated
        expected = (
            np.where(ended, told["final_info"]["proxy"], told["proxy"])
            if ended.any()
            else (told["proxy"])
        )
        np.testing.assert_array_equal(rewards, expected)
        assert not rewards[true > 0].any()
        assert set(infos) <= {"observed", "_observed", "observed_reward", "_observed_reward"} | {
            *("final_info", "_final_info", "final_obs", "_final_obs")
        }
        paid += rewards.sum()
    assert paid > 0
    single = PartialOversight(ProcgenEnv(config), observed_probability=0.0, proxy="proxy")
    single.reset(seed=0)
    assert single.step(STAY)[1] == 0.0


@installed
def test_action_outside_of_the_keys_is_refused() -> None:
    env = ProcgenEnv(LevelConfig(game="maze"))
    env.reset(seed=0)
    for action in (-1, 15, 1.0):
        with pytest.raises(ValueError, match="actions must be"):
            env.step(action)  # type: ignore[arg-type]


@installed
def test_pictures_are_rendered_of_what_is_observed() -> None:
    env = ProcgenEnv(LevelConfig(game="maze"), "rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame is not None
    assert frame.shape == (512, 512, 3)
    with pytest.raises(ValueError, match="render_mode must be 'rgb_array' or None, got 'ansi'"):
        ProcgenEnv(LevelConfig(game="maze"), "ansi")
    assert GOAL_REWARD == 10
