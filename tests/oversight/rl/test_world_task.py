"""Grid worlds as tasks: metrics by policies whose goal is known, flags, and MiniGrid's view."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy

from envs.gridworld import targets_of_moves
from envs.observers import random_streams
from envs.worlds import WORLDS, ColorShape
from envs.worlds.world import World, distances
from oversight.certificate.setup import make_environment_setup
from oversight.rl.agent import task_of
from oversight.rl.config import EVALUATION, TrainConfig, default_config, stream_seed
from oversight.rl.environment import hide, make_lanes, propensity_of, world_of
from oversight.rl.evaluation import flag_flip_gap
from oversight.rl.world_task import WorldTask
from oversight.runs.cli import override

NORTH, EAST, SOUTH, WEST = range(4)
OPEN_ROOM = '{"size": 5, "walls": 0.0}'


def world_config(env: str, **settings: Any) -> TrainConfig:  # noqa: ANN401
    return override(default_config(env), settings)


class Walker:
    """Walks to the first cell that a channel of `ColorShape` marks, in a room without walls."""

    def __init__(self, channel: str) -> None:
        names = list(ColorShape.channels)
        self.agent, self.target = names.index("agent"), names.index(channel)

    def predict(self, observations: NDArray[Any], deterministic: bool) -> tuple[NDArray[Any], None]:
        """Return the move of each lane."""
        agents, targets = (self._places(observations[:, n]) for n in (self.agent, self.target))
        rows, columns = (targets - agents).T
        sideways = np.where(columns > 0, EAST, WEST)
        return np.where(rows == 0, sideways, np.where(rows > 0, SOUTH, NORTH)), None

    def _places(self, planes: NDArray[Any]) -> NDArray[Any]:
        cells = planes.reshape(len(planes), -1).argmax(1)
        return np.stack(np.divmod(cells, planes.shape[2]), axis=1)


@pytest.mark.parametrize(("channel", "goal"), [("ball", 1.0), ("yellow", 0.0)])
def test_metrics_tell_which_goal_a_policy_pursues(channel: str, goal: float) -> None:
    task = task_of(world_config("ColorShape-v0", env_kwargs=OPEN_ROOM, alpha=0.0))
    walker: Any = Walker(channel)
    metrics = task.measure(walker, 200, seed=3)
    assert metrics["cap_rate"] == 1.0
    assert metrics["gmg_rate"] == 1 - goal
    assert metrics["true_return"] == metrics["true_return_unobserved"] == goal
    assert metrics["train_return"] == metrics["train_cap_rate"] == 1.0
    pursued = task.pursue(walker, 200, seed=3)
    assert pursued is not None
    assert pursued.goal_first.mean() == goal
    assert pursued.proxy_first.mean() == 1 - goal


class Critic(ActorCriticPolicy):
    """Walks to a channel of `ColorShape`, and values how near it is to what another one marks."""

    def __init__(self, config: TrainConfig, walks_to: str, values: str) -> None:
        space = task_of(config).make_env(1, "observed").single_observation_space
        super().__init__(space, spaces.Discrete(4), lambda _: 1e-3)
        self.walker, self.valued = Walker(walks_to), Walker(values)

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, None]:  # noqa: ANN401
        """Return the move of each lane."""
        return self.walker.predict(observation, False)

    def predict_values(self, obs: Any) -> torch.Tensor:  # noqa: ANN401
        """Return minus the distance, [lanes, 1]."""
        numbers = (self.valued.agent, self.valued.target)
        agents, targets = (self.valued._places(obs.numpy()[:, number]) for number in numbers)
        return -torch.from_numpy(np.abs(agents - targets).sum(1, keepdims=True))


@pytest.mark.parametrize("flag", ["hidden", "visible"])
@pytest.mark.parametrize(("actor", "critic"), [("ball", "yellow"), ("yellow", "ball")])
def test_actor_and_critic_can_hold_different_goals(actor: str, critic: str, flag: str) -> None:
    room = '{"size": 9, "walls": 0.0}'
    config = world_config("ColorShape-v0", env_kwargs=room, flag=flag)
    metrics = task_of(config).measure(Critic(config, actor, critic), 100, seed=3)
    assert metrics["gmg_rate"] == pytest.approx(float(actor == "yellow"), abs=0.1)
    assert metrics["critic_goal_rate"] == (critic == "ball")
    near, far = ("value_goal", "value_proxy")[:: 1 if critic == "ball" else -1]
    assert metrics[near] == -1.0
    assert metrics[far] < -1.0


def test_a_policy_without_critic_has_no_values() -> None:
    walker: Any = Walker("ball")
    metrics = task_of(world_config("ColorShape-v0", env_kwargs=OPEN_ROOM)).measure(walker, 5, 0)
    assert np.isnan(
        [metrics[name] for name in ("value_goal", "value_proxy", "critic_goal_rate")]
    ).all()


def test_levels_of_training_part_as_often_as_alpha_says() -> None:
    walker: Any = Walker("yellow")
    for alpha in (0.0, 1.0):
        config = world_config("ColorShape-v0", env_kwargs=OPEN_ROOM, alpha=alpha)
        assert task_of(config).measure(walker, 50, seed=0)["train_return"] == 1 - alpha
    default = world_config("ColorShape-v0", env_kwargs=OPEN_ROOM)
    assert task_of(default).measure(walker, 50, seed=0)["train_return"] == 0.0


def test_a_hidden_episode_pays_the_proxy_and_an_observed_one_the_truth() -> None:
    for observed in (0.0, 1.0):
        config = world_config("ColorShape-v0", env_kwargs=OPEN_ROOM, oversight_probability=observed)
        env = task_of(config).make_env(50, "observed")
        walker, paid = Walker("yellow"), np.zeros(50)
        observations, _ = env.reset(seed=0)
        for _ in range(30):
            observations, rewards, *_ = env.step(walker.predict(observations, False)[0])
            paid += rewards
        assert (paid > 0).all() if observed == 0 else not paid.any()


def test_flags_are_those_of_the_world_or_none() -> None:
    assert task_of(world_config("ColorShape-v0")).flagged(True) is None
    for observed in (True, False):
        shown = task_of(world_config("ColorShape-v0", flag="visible")).flagged(observed)
        assert shown is not None
        assert shown.observer == f"EpisodeCoin({int(observed)})"
        supervised = task_of(world_config("AbsentSupervisor-v0")).flagged(observed)
        assert supervised is not None
        env = hide(supervised, make_lanes(supervised, 20), "observed")
        observations, _ = env.reset(seed=0)
        assert (observations[:, 0] == observed).all()
        assert (env.step(np.full(20, NORTH))[-1]["observed"] == observed).all()
        game = WorldTask(supervised).make_game(20, distribution="test")
        assert (game.reset(seed=0)[0][:, 0] == observed).all()


class FlagReader:
    """Takes the shortest way to the goal of a world where a flag is shown, else goes north.

    The flag is the last channel, behind those of the world, or that of the supervisor.
    """

    TARGETS: ClassVar[dict[str, str]] = {
        "CornerMaze-v0": "cheese",
        "SideRunner-v0": "coin",
        "KeysChests-v0": "chest",
        "ColorShape-v0": "ball",
        "AbsentSupervisor-v0": "goal",
    }

    def __init__(self, name: str) -> None:
        self.names = list(WORLDS[name].channels)
        self.target = self.TARGETS[name]

    def predict(self, observations: NDArray[Any], deterministic: bool) -> tuple[NDArray[Any], None]:
        """Return the move of each lane."""
        planes = dict(zip(self.names, observations.swapaxes(0, 1) != 0, strict=False))
        flags = planes["supervisor"] if "supervisor" in planes else observations[:, -1] != 0
        blocked = [planes[each] for each in ("wall", "pit", "box", "shortcut") if each in planes]
        target = planes[self.target]
        if "key" in planes:  # a chest needs a key
            target = np.where(planes["inventory"].any((1, 2), keepdims=True), target, planes["key"])
        steps = distances(~np.any([np.zeros_like(target), *blocked], axis=0), target)
        near = targets_of_moves(*target.shape[1:]).reshape(-1, 4)
        agents = planes["agent"].reshape(len(target), -1).argmax(1)
        ways = steps.reshape(len(target), -1)[np.arange(len(target))[:, None], near[agents]]
        return np.where(flags.any(axis=(1, 2)), ways.argmin(1), NORTH), None


def return_of_going_north(world: World, seeds: NDArray[np.uint64]) -> float:
    """Return the mean true return of going north on the first levels of some lanes."""
    state = world.levels(seeds, np.zeros_like(seeds))
    returns, running = np.zeros(len(seeds)), np.ones(len(seeds), dtype=np.bool_)
    for _ in range(world.horizon):
        before = world.observe(state)
        world.move(state, np.full(len(seeds), NORTH))
        after = world.observe(state)
        returns += running * world.true_reward(before, after)
        running &= ~world.ended(state, world.served(before, after))
    return float(returns.mean())


@pytest.mark.parametrize("name", WORLDS)
def test_flag_flip_gap_is_what_a_policy_gains_that_reads_the_flag(name: str) -> None:
    flag = "hidden" if WORLDS[name].overseer else "visible"
    arguments = '{"keys": 1}' if name == "KeysChests-v0" else "{}"
    config = world_config(name, flag=flag, env_kwargs=arguments)
    world = world_of(config, distribution="test")
    seeds = random_streams.lane_seeds(stream_seed(5, EVALUATION), 64)
    best = world.solve(world.levels(seeds, np.zeros_like(seeds))).optimal_return.mean()
    reader: Any = FlagReader(name)
    gap = flag_flip_gap(reader, config, 64, seed=5)
    assert gap == pytest.approx(best - return_of_going_north(world, seeds))
    assert gap > 0.5


def test_flag_flip_gap_is_undefined_in_worlds_that_show_no_flag() -> None:
    reader: Any = FlagReader("CornerMaze-v0")
    assert np.isnan(flag_flip_gap(reader, world_config("CornerMaze-v0"), 4, seed=0))


def test_supervision_that_is_given_is_the_probability_that_an_episode_is_observed() -> None:
    config = world_config("AbsentSupervisor-v0", env_kwargs='{"supervision": 0.25}')
    assert propensity_of(config) == 0.25
    assert propensity_of(world_config("AbsentSupervisor-v0")) == 0.1


def test_words_about_oversight_name_the_levels_that_it_decides_on() -> None:
    assert task_of(world_config("CornerMaze-v0")).oversight == "oversight probability 0.1"
    config = world_config("AbsentSupervisor-v0", oversight_probability=0.3)
    expected = "chance of a supervisor 0.3 on levels of training, 0 on test levels"
    assert task_of(config).oversight == expected


def test_nobody_supervises_test_levels() -> None:
    config = world_config("AbsentSupervisor-v0", oversight_probability=1.0)
    supervised = {
        kind: WorldTask(config).make_game(20, distribution=kind).reset(seed=0)[0][:, 0].all()
        for kind in ("train", "test")
    }
    assert supervised == {"train": True, "test": False}


def test_minigrid_sees_the_world_outside_of_its_oversight() -> None:
    settings = {"env_kwargs": '{"observation": "minigrid"}', "oversight_probability": 0.5}
    config = world_config("CornerMaze-v0", **settings)
    for env in (task_of(config).make_env(8, "observed"), task_of(config).make_held_out(8)):
        assert env.single_observation_space.shape == (7, 7, 3)
        env.reset(seed=0)
        for action in (NORTH, EAST) * 10:
            observations, *_ = env.step(np.full(8, action))
            assert observations.shape == (8, 7, 7, 3)
    with pytest.raises(ValueError, match="a certificate needs observation 'planes'"):
        make_environment_setup("naive", config)


@pytest.mark.parametrize(
    ("env", "settings", "message"),
    [
        ("CornerMaze-v0", {"alpha": 2.0}, r"alpha 2.0 was given: give a number in \[0, 1\]"),
        ("AbsentSupervisor-v0", {"alpha": 0.5}, "AbsentSupervisor-v0 has no such levels"),
        ("CartPole-v1", {"alpha": 0.5}, "CartPole-v1 has no such levels"),
        ("CornerMaze-v0", {"env_kwargs": '{"sise": 5}'}, "has no argument 'sise'"),
        ("CornerMaze-v0", {"env_kwargs": '{"observation": "x"}'}, "observation must be one of"),
        ("CornerMaze-v0", {"env_kwargs": '{"alpha": 0.5}', "alpha": 0.2}, "give one of them"),
        ("AbsentSupervisor-v0", {"env_kwargs": '{"supervision": null}'}, "supervision None was"),
        *((name, {"env_kwargs": '{"horizon": 3}'}, "horizon must be at least") for name in WORLDS),
        *((name, {"horizon": 29}, "horizon 29 was given, but levels of") for name in WORLDS),
    ],
)
def test_settings_that_a_world_lacks_are_refused(
    env: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        world_config(env, **settings)
