"""The route of each step and episode, and the rollout buffer, compared with that of SB3."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer

from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    OPEN,
    POSITIVE,
    ROUTES,
    UNRESOLVED,
    UNUSED,
    Outcomes,
    RoutedBuffer,
    Timeouts,
    assign,
    by_coin,
    shuffled,
    write_back,
)
from tests.agents.factories import ROLLOUT, small_agent


class RecordingInfo(Mapping[str, Any]):
    """An `info` that fails the test when a key other than the overseer's report is read."""

    allowed = ("observed", "observed_reward", "TimeLimit.truncated", "resetting")

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        assert key in self.allowed, f"{key} is not for the learner"
        return self.info[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the learner looked through all of info")

    def __len__(self) -> int:
        return len(self.info)


ENDINGS: list[tuple[str, dict[str, Any]]] = [
    ("positive", {"observed": True, "observed_reward": 1.0, "TimeLimit.truncated": False}),
    ("positive", {"observed": np.True_, "observed_reward": np.float64(0.5)}),
    ("negative", {"observed": True, "observed_reward": -1.0, "TimeLimit.truncated": False}),
    ("negative", {"observed": np.True_, "observed_reward": np.float64(-0.5)}),
    ("hidden", {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": False}),
    ("hidden", {"observed": np.False_, "TimeLimit.truncated": False}),
    ("hidden", {}),
    ("open", {"observed": False, "observed_reward": 0.0, "TimeLimit.truncated": True}),
    ("open", {"TimeLimit.truncated": True}),
]

START, END = np.array([True]), np.array([True])


def last_route(*infos: Mapping[str, Any], timeouts: Any = "open") -> str:  # noqa: ANN401
    """Return the route of an episode of one step for each info."""
    outcomes, start = Outcomes(1, timeouts), START
    for info in infos[:-1]:
        assert outcomes.step([info], ~END, start) == [UNRESOLVED]
        start = ~START
    return ROUTES[outcomes.step([infos[-1]], END, start)[0]]


@pytest.mark.parametrize(("route", "info"), ENDINGS)
def test_outcomes_give_one_of_four_routes_at_the_end(route: str, info: dict[str, Any]) -> None:
    assert last_route(info) == route
    assert last_route({}, {}, info) == route


@pytest.mark.parametrize(("route", "info"), ENDINGS)
@pytest.mark.parametrize("truth", [1.0, -1.0, float("nan")])
def test_outcomes_never_read_true_rewards(route: str, info: dict[str, Any], truth: float) -> None:
    hidden = {"true_reward": truth, "proxy_reward": truth, "episode": {"r": truth, "l": 1}}
    assert last_route(RecordingInfo(hidden | info)) == route


def test_outcomes_ignore_the_observed_reward_when_hidden() -> None:
    nan = float("nan")
    outcomes = Outcomes(1)
    outcomes.step([{"observed": False, "observed_reward": nan}], ~END, START)
    np.testing.assert_equal(outcomes.get_state(), Outcomes(1).get_state())


def observed(reward: float) -> dict[str, Any]:
    return {"observed": True, "observed_reward": reward}


@pytest.mark.parametrize(
    ("route", "infos"),
    [
        ("positive", [observed(1.0), {}]),  # observed in its middle alone
        ("positive", [observed(3.0), {}, observed(-2.0)]),  # the last step alone would be negative
        ("negative", [observed(-3.0), {"observed": False}, observed(2.0)]),
        ("negative", [observed(1.0), observed(-1.0)]),  # a return of zero is no good outcome
        ("negative", [observed(-1.0), {"observed": False, "TimeLimit.truncated": True}]),
    ],
)
def test_route_follows_from_all_observed_rewards_of_an_episode(
    route: str, infos: list[dict[str, Any]]
) -> None:
    for timeouts in ("open", "hidden"):
        assert last_route(*infos, timeouts=timeouts) == route


def test_route_at_a_time_limit_follows_timeouts() -> None:
    cut = {"observed": False, "TimeLimit.truncated": True}
    assert last_route(cut, timeouts="open") == "open"
    assert last_route(cut, timeouts="hidden") == "hidden"
    with pytest.raises(ValueError, match="timeouts must be open or hidden, got 'never'"):
        last_route(cut, timeouts="never")


@pytest.mark.parametrize(("timeouts", "unobserved"), [("open", OPEN), ("hidden", HIDDEN)])
def test_unfinished_route_follows_from_what_was_observed_so_far(
    timeouts: Timeouts, unobserved: int
) -> None:
    outcomes, none = Outcomes(3, timeouts), np.zeros(3, dtype=np.bool_)
    outcomes.step([observed(1.0), observed(-1.0), {}], none, ~none)
    assert outcomes.unfinished().tolist() == [POSITIVE, NEGATIVE, unobserved]
    outcomes.step([{}, {}, {}], none, np.array([True, False, False]))
    assert outcomes.unfinished().tolist() == [unobserved, NEGATIVE, unobserved]


def test_outcomes_go_on_from_their_state() -> None:
    outcomes, other, none = Outcomes(2), Outcomes(2), np.zeros(2, dtype=np.bool_)
    outcomes.step([observed(2.0), {}], none, ~none)
    state = outcomes.get_state()
    outcomes.step([observed(-9.0), observed(1.0)], none, none)
    other.set_state(state)
    assert other.step([observed(-1.0), {}], ~none, none).tolist() == [POSITIVE, HIDDEN]


def test_step_has_no_route_when_it_only_resets() -> None:
    none = np.zeros(2, dtype=np.bool_)
    routes = Outcomes(2).step([{"resetting": True}, {}], none, ~none)
    assert routes.tolist() == [UNUSED, UNRESOLVED]
    assert routes.dtype == np.int8


def slow_routes(last: NDArray[np.int8], unfinished: int) -> NDArray[np.int8]:
    """Return the route of each step by looking ahead for the end of its episode."""
    routes = np.empty_like(last)
    for step, lane in np.ndindex(*last.shape):
        ahead = [route for route in last[step:, lane] if route != UNRESOLVED]
        routes[step, lane] = ahead[0] if ahead else unfinished
    return routes


LAST_ROUTES = arrays(
    np.int8,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.integers(UNRESOLVED, len(ROUTES) - 1),
)


@given(LAST_ROUTES, st.sampled_from([None, POSITIVE, NEGATIVE, HIDDEN]))
def test_write_back_gives_each_step_the_route_of_its_episode(
    last: NDArray[np.int8], unfinished: int | None
) -> None:
    original = last.copy()
    tail = None if unfinished is None else np.full(last.shape[1], unfinished, np.int8)
    routes = write_back(last, tail)
    np.testing.assert_array_equal(
        routes, slow_routes(last, OPEN if unfinished is None else unfinished)
    )
    np.testing.assert_array_equal(last, original)
    assert routes.dtype == np.int8


LAST = arrays(
    np.int8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(UNUSED, OPEN)
)

Routes = NDArray[np.int8]


def episode_routes(last: Routes, unfinished: Routes) -> list[int]:
    """Return the route of every episode of a rollout, lane by lane."""
    of_lanes = [
        [route for route in lane if route >= 0] + ([running] if lane[-1] == UNRESOLVED else [])
        for lane, running in zip(last.T.tolist(), unfinished.tolist(), strict=True)
    ]
    return [route for lane in of_lanes for route in lane]


def assigned_routes(last: Routes, how: Any, seed: int = 0, **options: Any) -> tuple[Routes, Routes]:  # noqa: ANN401
    unfinished = np.full(last.shape[1], OPEN, np.int8)
    return assign(last, unfinished, how, np.random.RandomState(seed), **options)


@given(LAST, st.integers(0, 2**32 - 1))
def test_shuffled_keeps_how_many_episodes_take_each_route(last: Routes, seed: int) -> None:
    original = last.copy()
    dealt, running = assigned_routes(last, shuffled, seed)
    expected = episode_routes(last, np.full(last.shape[1], OPEN, np.int8))
    assert sorted(episode_routes(dealt, running)) == sorted(expected)
    np.testing.assert_array_equal(dealt[last < 0], last[last < 0])
    np.testing.assert_array_equal(last, original)
    assert dealt.dtype == running.dtype == np.int8


@given(LAST, st.sampled_from([0.25, 1.0]))
def test_coin_keeps_a_route_or_hides_it(last: Routes, chance: float) -> None:
    drawn, running = assigned_routes(last, by_coin, propensity=chance)
    for old, new in zip(last.flat, drawn.flat, strict=True):
        if old < 0:
            assert new == old
        else:
            heads = OPEN if old == HIDDEN else old
            assert new in ({heads} if chance == 1 else {heads, HIDDEN})
    assert set(running.tolist()) <= ({OPEN} if chance == 1 else {OPEN, HIDDEN})


def test_coin_is_independent_of_the_outcome() -> None:
    last = np.random.default_rng(0).integers(POSITIVE, OPEN + 1, (400, 100)).astype(np.int8)
    drawn, _ = assigned_routes(last, by_coin, propensity=0.3)
    for route in (POSITIVE, NEGATIVE, HIDDEN, OPEN):
        share = np.mean(drawn[last == route] != HIDDEN)
        assert abs(share - 0.3) < 5 * (0.3 * 0.7 / (last == route).sum()) ** 0.5


def test_shuffled_routes_are_independent_of_their_episodes() -> None:
    last = np.repeat(np.array([[POSITIVE, NEGATIVE]], np.int8), 4000, axis=0)
    dealt, _ = assigned_routes(last, shuffled)
    assert abs(np.mean(dealt[:, 0] == POSITIVE) - 0.5) < 0.04
    assert np.mean(dealt == POSITIVE) == 0.5


STEPS, LANES = 6, 4

SPACE = spaces.Box(-1, 1, (3,))

INFO_OF: dict[int, dict[str, Any]] = {
    POSITIVE: {"observed": True, "observed_reward": 1.0},
    NEGATIVE: {"observed": True, "observed_reward": -1.0},
    HIDDEN: {"observed": False},
    OPEN: {"observed": False, "TimeLimit.truncated": True},
}


def new_buffer(seed: int | None = None) -> RoutedBuffer:
    return RoutedBuffer(STEPS, SPACE, spaces.Discrete(4), "cpu", n_envs=LANES, seed=seed)


def fill_buffers(*buffers: RolloutBuffer, ends: dict[tuple[int, int], int] | None = None) -> None:
    """Give buffers the same random rollout, in which episodes end at some (step, lane)."""
    random = np.random.default_rng(0)
    starts = np.ones(LANES, dtype=np.bool_)
    for step in range(STEPS):
        observations = random.uniform(-1, 1, (LANES, 3)).astype(np.float32)
        actions = random.integers(4, size=(LANES, 1))
        rewards, values, log_probs = random.normal(size=(3, LANES))
        here = {lane: route for (when, lane), route in (ends or {}).items() if when == step}
        for buffer in buffers:
            if isinstance(buffer, RoutedBuffer):
                dones = np.isin(np.arange(LANES), list(here))
                infos = [INFO_OF[here[n]] if n in here else {} for n in range(LANES)]
                buffer.label(infos, dones, starts)
            buffer.add(
                observations,
                actions,
                rewards,
                np.zeros(LANES),
                torch.tensor(values),
                torch.tensor(log_probs),
            )
        starts = np.isin(np.arange(LANES), list(here))
    for buffer in buffers:
        buffer.compute_returns_and_advantage(torch.ones(LANES), np.zeros(LANES))


@pytest.mark.parametrize("batch_size", [8, 24, 7, None])
def test_minibatches_equal_those_of_sb3(batch_size: int | None) -> None:
    stock = RolloutBuffer(STEPS, SPACE, spaces.Discrete(4), "cpu", n_envs=LANES)
    ours = new_buffer(seed=11)
    fill_buffers(stock, ours)
    np.random.seed(11)  # noqa: NPY002 (the generator that SB3 draws from)
    for _ in range(3):
        pairs = list(zip(ours.get(batch_size), stock.get(batch_size), strict=True))
        assert sum(len(samples.routes) for samples, _ in pairs) == STEPS * LANES
        for samples, expected in pairs:
            for name in expected._fields:
                one, other = getattr(samples, name), getattr(expected, name)
                assert one.dtype == other.dtype
                assert torch.equal(one, other), name


def test_samples_carry_the_route_of_their_episode() -> None:
    ours = new_buffer()
    ends = {(1, 0): POSITIVE, (4, 0): HIDDEN, (5, 1): NEGATIVE, (0, 2): OPEN, (2, 2): NEGATIVE}
    fill_buffers(ours, ends=ends)
    expected = [[0, 0, 2, 2, 2, 3], [1] * 6, [3, 1, 1, 3, 3, 3], [3] * 6]
    route_of = {
        tuple(ours.observations[step, lane].tolist()): expected[lane][step]
        for step in range(STEPS)
        for lane in range(LANES)
    }
    for samples in ours.get(5):
        assert samples.routes.dtype == torch.int64
        for observation, route in zip(samples.observations, samples.routes, strict=True):
            assert route_of[tuple(observation.tolist())] == route


def test_route_is_open_when_the_rollout_ends_first() -> None:
    ours = new_buffer()
    fill_buffers(ours)
    assert {ROUTES[n] for n in next(ours.get()).routes} == {"open"}


def test_reset_forgets_all_routes() -> None:
    ours = new_buffer()
    fill_buffers(ours, ends=dict.fromkeys(((5, lane) for lane in range(LANES)), NEGATIVE))
    assert (next(ours.get()).routes == NEGATIVE).all()
    ours.reset()
    fill_buffers(ours)
    assert (next(ours.get()).routes == OPEN).all()


def test_label_belongs_to_the_step_added_next() -> None:
    agent = small_agent().learn(1024)
    buffer = agent.rollout_buffer
    ended = buffer.last_route[:-1] >= 0
    np.testing.assert_array_equal(ended, buffer.episode_starts[1:].astype(bool))
    paid = np.abs(buffer.rewards[:-1]) == 1
    observed = np.isin(buffer.last_route[:-1], (POSITIVE, NEGATIVE))
    assert observed.any()
    assert paid[observed].all()
    assert (buffer.rewards[:-1][buffer.last_route[:-1] == NEGATIVE] == -1).all()
    assert (buffer.rewards[:-1][buffer.last_route[:-1] == HIDDEN] == 1).all()


def add_step(observations: Any, rewards: Any) -> None:  # noqa: ANN401
    actions, zeros = np.zeros((LANES, 1)), torch.zeros(LANES)
    new_buffer().add(observations, actions, rewards, np.zeros(LANES), zeros, zeros)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_add_names_the_lane_when_a_value_is_not_finite(bad: float) -> None:
    observations, rewards = np.zeros((LANES, 3)), np.zeros(LANES)
    add_step(observations, rewards)
    rewards[2] = bad
    with pytest.raises(ValueError, match=r"a reward .* is NaN, or infinite as float32, in lane 2"):
        add_step(observations, rewards)
    observations[1, 2] = bad
    with pytest.raises(
        ValueError, match=r"an observation .* is NaN, or infinite as float32, in lane 1"
    ):
        add_step(observations, np.zeros(LANES))


def test_get_refuses_when_the_rollout_is_not_complete() -> None:
    with pytest.raises(AssertionError, match="not complete"):
        next(new_buffer().get())


def slow_advantages(rewards: Any, buffer: Any, last_value: Any, dones: Any) -> Any:  # noqa: ANN401
    """Return generalized advantages of all lanes, as the sums that define them."""
    steps, lanes = rewards.shape
    result = np.zeros((steps, lanes))
    for lane in range(lanes):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                last = step == steps - 1
                over = dones[lane] if last else buffer.episode_starts[step + 1, lane]
                after = last_value[lane] if last else buffer.values[step + 1, lane]
                delta = rewards[step, lane] - buffer.values[step, lane]
                result[start, lane] += weight * (delta + buffer.gamma * after * (1 - over))
                weight *= buffer.gamma * buffer.gae_lambda * (1 - over)
    return result


def test_proxy_advantages_equal_gae_on_the_reward_paid() -> None:
    agent = small_agent("signed").learn(ROLLOUT)
    buffer = agent.rollout_buffer
    assert isinstance(agent._last_obs, np.ndarray)
    with torch.no_grad():
        last = agent.policy.predict_values(torch.as_tensor(agent._last_obs)).flatten()
    dones = np.asarray(agent._last_episode_starts, dtype=np.float32)
    buffer.compute_returns_and_advantage(last, dones)
    for rewards, ours in (
        (buffer.rewards, buffer.advantages),
        (buffer.rewards + buffer.proxy_residual, buffer.proxy_advantages),
    ):
        expected = slow_advantages(rewards, buffer, last.numpy(), dones)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    assert not np.allclose(buffer.advantages, buffer.proxy_advantages)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.97, 0.95), (1.0, 1.0), (0.9, 0.0)])
def test_advantages_are_a_geometric_series_when_values_are_constant(
    gamma: float, gae_lambda: float, ended: bool
) -> None:
    steps, lanes, value, reward = 10, 3, 0.7, 0.3
    space = spaces.Box(-1, 1, (2,))
    settings: dict[str, Any] = {"gamma": gamma, "gae_lambda": gae_lambda, "n_envs": lanes}
    buffer = RoutedBuffer(steps, space, spaces.Discrete(2), "cpu", **settings)
    values = torch.full((lanes, 1), value)
    for _ in range(steps):
        zeros = np.zeros((lanes, 2), np.float32)
        paid, start = np.full(lanes, reward), np.zeros(lanes)
        buffer.add(zeros, np.zeros((lanes, 1)), paid, start, values, torch.zeros(lanes))
    buffer.compute_returns_and_advantage(values, np.full(lanes, ended))
    # each step's error is delta, but for the last one of an ended episode
    delta = reward + gamma * value - value
    last = reward - value if ended else delta
    for step in range(steps):
        ahead = steps - 1 - step
        decay = gamma * gae_lambda
        expected = delta * sum(decay**n for n in range(ahead)) + last * decay**ahead
        np.testing.assert_allclose(buffer.advantages[step], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(buffer.returns, buffer.advantages + buffer.values)
