"""Score maps: what a policy is paid, what teaches which map, and what a checkpoint keeps."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents import METHODS, RoutedPPO
from agents.boards import ScoreMapFeatures
from agents.rollout_buffer import HIDDEN, NEGATIVE, OPEN, POSITIVE, Step
from agents.score_maps import AVOIDED, CAPACITY, Memory, ScoreMaps
from agents.vec_env import evaluate_policy
from envs import partial_grid_vec
from oversight.routing import RouteTable
from tests.agents.factories import ROLLOUT, assert_same_training, small_agent, small_env, weights

CHANNELS, SIDE = 2, 4
SHAPE, CELLS, AGENT = (CHANNELS, SIDE, SIDE), SIDE**2, 1
LANES = 64
MAPS = ("goal", "proxy")
NOBODY = {"observed": False, "observed_reward": 0.0}


def boards(agent: NDArray[Any], goal: int = 5) -> NDArray[np.int8]:
    """Return boards with a goal and agents at some cells."""
    planes = np.zeros((len(agent), CHANNELS, CELLS), np.int8)
    planes[:, 0, goal] = 1
    planes[np.arange(len(agent)), AGENT, agent] = 1
    return planes.reshape(-1, *SHAPE)


def source(timeouts: Any = "hidden", table: RouteTable = METHODS["score-maps"].table) -> ScoreMaps:  # noqa: ANN401
    torch.manual_seed(0)
    features = ScoreMapFeatures(spaces.MultiBinary(SHAPE), MAPS)
    features.agent.channel.fill_(AGENT)
    return ScoreMaps(features, table, 0, timeouts)


def step(
    after: NDArray[Any],
    paid: Any = 0.0,  # noqa: ANN401
    done: bool = False,
    info: dict[str, Any] | None = None,
) -> Step:
    """Return a step in which the same happens in every lane."""
    lanes = len(after)
    dones, rewards = np.full(lanes, done), np.full(lanes, paid, np.float32)
    last = {"terminal_observation": None} if done else {}
    infos = [{**(info or NOBODY), **last} for _ in range(lanes)]
    for lane, each in enumerate(infos):
        if done:
            each["terminal_observation"] = after[lane]
    return Step(after, rewards, dones, infos)


def follow(maps: ScoreMaps, number: int, target: int, avoided: tuple[int, ...] = ()) -> None:
    """Let every lane follow a map of one kind."""
    maps.follows = np.full(LANES, number)
    maps.target = np.full(LANES, target)
    maps.avoided = np.tile(avoided or (0,) * AVOIDED, (LANES, 1))


HERE, THERE = np.full(LANES, 6), np.full(LANES, 7)


@pytest.mark.parametrize(("target", "pays"), [(7, 1.0), (3, 0.0)])
def test_random_cell_pays_1_and_is_drawn_anew_when_it_is_entered(target: int, pays: float) -> None:
    maps = source()
    follow(maps, len(MAPS), target)
    shown = maps.show(boards(HERE))
    assert shown.shape == (LANES, CHANNELS + 1, SIDE, SIDE)
    assert np.array_equal(shown[:, :-1], boards(HERE))
    expected = np.zeros(CELLS)
    expected[target] = 1
    assert np.array_equal(shown[:, -1].reshape(LANES, -1), np.tile(expected, (LANES, 1)))
    assert np.array_equal(maps(step(boards(THERE))), np.full(LANES, pays))
    assert (len(np.unique(maps.target)) > 1) == (pays == 1)


def test_cells_to_avoid_cost_1() -> None:
    maps = source()
    follow(maps, len(MAPS) + 1, 3, (7, 1, 2))
    maps.show(boards(HERE))
    assert np.array_equal(maps(step(boards(THERE))), np.full(LANES, -1.0))


def test_agent_that_stays_is_paid_nothing() -> None:
    maps = source()
    follow(maps, len(MAPS), 6)
    maps.show(boards(HERE))
    assert not maps(step(boards(HERE))).any()


def test_lanes_draw_the_map_of_the_next_episode_where_one_ended() -> None:
    maps = source()
    maps.show(boards(HERE))
    counts = np.zeros(len(MAPS) + 2)
    for _ in range(50):
        maps(step(boards(THERE), done=True))
        maps.show(boards(HERE))
        counts += np.bincount(maps.follows, minlength=len(counts))
    np.testing.assert_allclose(counts / counts.sum(), [0.5, 0.25, 0.125, 0.125], atol=0.03)
    before = maps.follows.copy()
    maps(step(boards(THERE)))
    assert np.array_equal(maps.follows, before)


def test_value_after_a_time_limit_is_that_of_scored_observations() -> None:
    maps = source()
    follow(maps, len(MAPS), 3)
    scores = maps.show(boards(HERE))[:, -1:].copy()
    ended = step(boards(THERE), done=True)
    maps(ended)
    for lane, info in enumerate(ended.infos):
        last = info["terminal_observation"]
        assert np.array_equal(last, np.concatenate([boards(THERE)[lane], scores[lane]]))


@pytest.mark.parametrize(
    ("timeouts", "done", "info", "kind", "route", "reward"),
    [
        ("open", False, NOBODY, "open", OPEN, 0.0),
        ("open", True, NOBODY, "hidden", HIDDEN, 2.0),
        ("open", True, NOBODY | {"TimeLimit.truncated": True}, "open", OPEN, 0.0),
        ("hidden", False, NOBODY, "hidden", HIDDEN, 2.0),
        ("open", False, {"observed": True, "observed_reward": 3.0}, "observed", POSITIVE, 3.0),
        ("hidden", True, {"observed": True, "observed_reward": -3.0}, "observed", NEGATIVE, -3.0),
        ("hidden", False, {"resetting": True}, None, None, None),
    ],
)
def test_step_is_remembered_by_what_is_known_of_it(
    timeouts: str, done: bool, info: dict[str, Any], kind: str | None, route: int, reward: float
) -> None:
    maps = source(timeouts)
    maps.show(boards(HERE))
    maps(step(boards(THERE), 2.0, done, info))
    assert {name for name, memory in maps.memories.items() if memory.seen} == {kind} - {None}
    if kind is not None:
        memory = maps.memories[kind]
        assert memory.seen == LANES
        assert set(memory.routes[:LANES]) == {route}
        assert set(memory.rewards[:LANES]) == {reward}
        middle = memory.entered[:LANES, :, 1, 1]  # the cell that was entered, without the agent
        assert np.array_equal(middle, np.tile([0.0, 0.0, 1.0], (LANES, 1)))


def test_memory_keeps_the_last_steps_and_draws_half_of_those_that_paid() -> None:
    memory = Memory(1)
    entered = np.arange(CAPACITY + 8, dtype=np.float32)
    rewards = np.where(entered % 100 == 99, 1.0, 0.0)
    for part in (slice(0, 5000), slice(5000, None)):
        shown = np.broadcast_to(entered[part, None, None, None], (len(entered[part]), 1, 3, 3))
        memory.add(shown, rewards[part], np.zeros(len(shown), np.int64))
    assert set(memory.entered[:, 0, 0, 0]) == set(range(8, CAPACITY + 8))
    drawn, paid, _ = memory.draw(1000, np.random.RandomState(0))
    assert 500 <= paid.sum() < 530
    assert np.array_equal(paid == 1, drawn[:, 0, 1, 1] % 100 == 99)


def filled(timeouts: str = "hidden", table: RouteTable = METHODS["score-maps"].table) -> ScoreMaps:
    """Return maps after steps in which the goal was observed to pay -1, and was hidden to pay 1."""
    maps, random = source(timeouts, table), np.random.default_rng(0)
    maps.show(boards(HERE))
    for reward in (-1.0, 1.0):
        for _ in range(8):
            agent = random.integers(CELLS, size=LANES)
            after = np.where(random.random(LANES) < 0.5, 5, (agent + 1) % CELLS)
            maps.shown = np.concatenate([boards(agent), boards(agent)[:, :1]], 1).astype(np.float32)
            known = {"observed": True, "observed_reward": 0.0}
            taken = step(boards(after), 0.0, False, known if reward < 0 else NOBODY)
            for lane in np.flatnonzero(after == 5).tolist():
                taken.paid[lane] = 1.0
                taken.infos[lane]["observed_reward"] = reward if reward < 0 else 0.0  # type: ignore[index]
            maps(taken)
    return maps


def at_goal(maps: ScoreMaps, name: str) -> tuple[float, float]:
    """Return the mean score of the goal, and the mean of the other cells."""
    planes = torch.from_numpy(boards(np.array([0, 15])))
    scores = maps.features.scores(planes, name).flatten(1)
    others = np.delete(np.arange(CELLS), 5)
    return float(scores[:, 5].mean()), float(scores[:, others].mean())


@pytest.mark.parametrize(("method", "proxy"), [("score-maps", 1.0), ("score-maps-unrouted", 0.0)])
def test_maps_learn_what_their_routes_pay(method: str, proxy: float) -> None:
    maps = filled(table=METHODS[method].table)
    for _ in range(15):
        maps.fit()
    goal = -1.0 if method == "score-maps" else 0.0
    for name, expected in (("goal", goal), ("proxy", proxy)):
        there, elsewhere = at_goal(maps, name)
        assert there == pytest.approx(expected, abs=0.25)
        assert elsewhere == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize(("taught", "other"), [("goal", "proxy"), ("proxy", "goal")])
def test_rewards_of_the_other_route_change_no_bit_of_a_map(taught: str, other: str) -> None:
    fitted = []
    for factor in (1.0, -7.0):
        maps = filled()
        memory = maps.memories["hidden" if taught == "goal" else "observed"]
        memory.rewards *= factor
        maps.fit()
        fitted.append({name: weights(each) for name, each in maps.features.maps.items()})
    for name, tensor in fitted[0][taught].items():
        assert torch.equal(tensor, fitted[1][taught][name]), name
    assert any(not torch.equal(a, fitted[1][other][n]) for n, a in fitted[0][other].items())


def test_open_steps_are_half_of_what_teaches() -> None:
    maps, drawn = filled("open"), {}

    class Counted(Memory):
        def draw(self, number: int, order: np.random.RandomState) -> list[NDArray[Any]]:
            drawn[self.kind] = number  # type: ignore[attr-defined]
            return super().draw(number, order)

    for kind, memory in maps.memories.items():
        memory.__class__, memory.kind = Counted, kind  # type: ignore[attr-defined]
    for kind, seen in (("observed", 10), ("hidden", 10), ("open", 500)):
        maps.memories[kind].seen = seen
    maps.fit()
    assert drawn["open"] / (drawn["open"] + drawn["observed"]) == pytest.approx(0.5, abs=0.02)


def test_maps_go_on_to_the_same_bits_from_their_state() -> None:
    one = filled()
    one.fit()
    other = source()
    other.set_state(one.get_state())
    other.features.load_state_dict(one.features.state_dict())
    assert one.shown is not None
    assert other.show(one.shown) is one.shown
    for maps in (one, other):
        maps(step(boards(THERE), 1.0, done=True))
        maps.show(boards(HERE))
        maps.fit()
    assert np.array_equal(one.shown, other.shown)  # type: ignore[arg-type]
    for name, tensor in weights(one.features).items():
        assert torch.equal(tensor, weights(other.features)[name]), name


def trained() -> RoutedPPO:
    return small_agent("score-maps").learn(2 * ROLLOUT)


def test_agent_finds_itself_and_only_its_maps_learn_of_rewards() -> None:
    agent = trained()
    features: Any = agent.policy.features_extractor
    assert int(features.agent.channel) == 0
    assert all(bool(each.taught) for each in features.maps.values())


def test_saved_agent_learns_on(tmp_path: Any) -> None:  # noqa: ANN401
    agent = trained()
    agent.save(tmp_path / "model")
    loaded = RoutedPPO.load(tmp_path / "model", small_env("score-maps"), device="cpu")
    assert_same_training(agent, loaded)
    loaded.learn(ROLLOUT)
    loaded.set_env(small_env("score-maps"))
    loaded.learn(ROLLOUT, reset_num_timesteps=False)
    mean, _ = evaluate_policy(loaded, small_env("score-maps"), n_eval_episodes=4, warn=False)
    assert np.isfinite(mean)


def test_agent_learns_in_one_lane() -> None:
    env = partial_grid_vec(1, oversight_probability=0.5, horizon=12)
    agent = small_agent("score-maps", env, batch_size=32)
    assert agent.learn(4 * 32).num_timesteps == 4 * 32


def test_deployed_and_reversed_policies_follow_their_map() -> None:
    agent = trained()
    observations, _ = small_env("score-maps").reset(seed=1)
    planes = torch.from_numpy(observations)
    policy: Any = agent.policy
    deployed, proxy, opposite = agent.deployed(), agent.with_module("proxy"), policy.reversed()
    expected = policy.features_extractor.scores(planes, "goal")
    assert torch.equal(deployed.features_extractor.scores(planes, "goal"), expected)  # type: ignore[operator]
    assert torch.equal(opposite.features_extractor.scores(planes, "goal"), -expected)
    assert proxy.motivations == ("proxy",)
    with pytest.raises(ValueError, match="no module 'competence': choose from goal, proxy"):
        agent.with_module("competence")
