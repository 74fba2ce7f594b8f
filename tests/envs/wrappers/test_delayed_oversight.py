"""DelayedOversight against a loop over whole episodes, and its lanes against singles."""

import random
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    DelayedOversight,
    EpisodeCoin,
    FixedHorizon,
    NormalizeObservedReward,
    PartialOversight,
    Query,
    RecordTruth,
    StepCoin,
    partial_grid,
    partial_grid_vec,
)
from envs.wrappers import vector
from tests.envs.comparison import assert_same
from tests.envs.wrappers.environment_factories import GAMES, frozen, play

Arguments = dict[str, Any]
LANES = 4


def halves(before: Any, action: Any, after: Any, ended: Any, cut: Any) -> Any:  # noqa: ANN401
    return np.where(ended | cut, 0.5, 0.125)


INSIDE: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "grid": lambda: partial_grid(size=3, oversight_probability=0.7),
    "coin": lambda: PartialOversight(GAMES["CartPole"](), observed_probability=0.5),
    "steps": lambda: PartialOversight(GAMES["Pendulum"](), observer=StepCoin(0.5), proxy=halves),
    "question": lambda: PartialOversight(
        GAMES["CartPole"](), observer=Query(0.25) & EpisodeCoin(0.7), proxy=halves
    ),
    "learns from proxy": lambda: PartialOversight(
        GAMES["FrozenLake"](), observer=StepCoin(0.5), proxy=halves, reward="proxy"
    ),
}

DELAYS = [{"steps": 1}, {"steps": 3}, {"steps": 99}, {"episodes": 1}, {"episodes": 3}]

Episode = list[tuple[float, bool, float, bool]]  # paid, observed, observed_reward, ended


def delay_by_hand(episodes: list[Episode], delay: Arguments, pays: bool) -> list[Episode]:
    """What is shown of whole episodes, the last of them perhaps unfinished."""
    shown: list[Episode] = []
    for number, episode in enumerate(episodes):
        shown.append([])
        for at, (paid, observed, reward, ended) in enumerate(episode):
            if "episodes" in delay:
                due = episodes[number - delay["episodes"]] if number >= delay["episodes"] else []
                due = due if ended else []
            else:
                first = max(at - delay["steps"], 0)
                last = at if ended else at - delay["steps"]
                due = episode[first : last + 1] if last >= 0 else []
            due_rewards = [seen for _, was, seen, _ in due if was]
            pay = paid + pays * (sum(due_rewards) - (reward if observed else 0.0))
            shown[-1].append((pay, bool(due_rewards), float(sum(due_rewards)), ended))
    return shown


def walked(env: gym.Env[Any, Any], steps: int) -> list[Episode]:
    """The rewards and flags of a fixed random walk, by episode; some are reset before their end."""
    env.action_space.seed(1)
    draw = random.Random(1)
    env.reset(seed=1)
    episodes: list[Episode] = [[]]
    for _ in range(steps):
        _, paid, terminated, truncated, info = env.step(env.action_space.sample())
        ended = bool(terminated or truncated)
        episodes[-1].append((float(paid), info["observed"], info["observed_reward"], ended))
        if ended or draw.random() < 0.02:
            env.reset()
            episodes.append([])
    return episodes


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize(
    "delay", [{"steps": 1}, {"steps": 3}, {"steps": 99}, {"episodes": 1}, {"episodes": 3}]
)
def test_delay_equals_a_loop_over_whole_episodes(name: str, delay: Arguments) -> None:
    now = walked(INSIDE[name](), 400)
    shown = walked(DelayedOversight(INSIDE[name](), **delay), 400)
    pays = name != "learns from proxy"
    expected = delay_by_hand(now, delay, pays)
    assert any(observed for episode in shown for _, observed, _, _ in episode)
    for ours, theirs in zip(shown, expected, strict=True):
        assert [step[1:2] + step[3:] for step in ours] == [step[1:2] + step[3:] for step in theirs]
        np.testing.assert_allclose(
            [step[::2] for step in ours], [step[::2] for step in theirs], rtol=1e-12, atol=1e-12
        )


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(list(INSIDE)),
    mode=st.sampled_from(list(AutoresetMode)),
    delay=st.fixed_dictionaries({"steps": st.integers(1, 40)})
    | st.fixed_dictionaries({"episodes": st.integers(1, 4)}),
    seed=st.integers(0, 2**31),
)
def test_lanes_equal_wrapped_singles(
    name: str, mode: AutoresetMode, delay: Arguments, seed: int
) -> None:
    make = INSIDE[name]
    singles = SyncVectorEnv(
        [lambda: DelayedOversight(make(), **delay)] * LANES, autoreset_mode=mode
    )
    ours = vector.DelayedOversight(SyncVectorEnv([make] * LANES, autoreset_mode=mode), **delay)
    singles.action_space.seed(seed)
    assert_same(ours.reset(seed=seed), singles.reset(seed=seed))
    for step in range(90):
        if step == 60:
            assert_same(ours.reset(), singles.reset())
        actions = singles.action_space.sample()
        given = ours.step(actions)
        assert_same(given, singles.step(actions))
        if mode is AutoresetMode.DISABLED and (ended := given[2] | given[3]).any():
            masks = [{"reset_mask": ended.copy()} for _ in range(2)]
            assert_same(ours.reset(options=masks[0]), singles.reset(options=masks[1]))


@pytest.mark.parametrize("delay", [{"steps": 2}, {"episodes": 2}])
def test_native_grid_equals_singles_and_continues_from_a_state(delay: Arguments) -> None:
    rules: Arguments = {"size": 3, "oversight_probability": 0.6}
    ours = vector.DelayedOversight(partial_grid_vec(LANES, **rules), **delay)
    singles = SyncVectorEnv(
        [lambda: DelayedOversight(partial_grid(**rules), **delay)] * LANES,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert_same(ours.reset(seed=3), singles.reset(seed=3))
    twin = vector.DelayedOversight(partial_grid_vec(LANES, **rules), **delay)
    for step, actions in enumerate(np.random.default_rng(0).integers(4, size=(600, LANES))):
        given = ours.step(actions)
        assert_same(given, singles.step(actions))
        if step == 300:
            twin.reset(seed=9)
            twin.set_state(ours.get_state())
        if step > 300:
            assert frozen(twin.step(actions)) == frozen(given)
    other = vector.DelayedOversight(partial_grid_vec(LANES, **rules), steps=9)
    with pytest.raises(ResetNeeded):
        other.set_state(ours.get_state())
    other.reset(seed=0)
    with pytest.raises(ValueError, match=r"state\['delayed_observed'\] must be bool of shape"):
        other.set_state(ours.get_state())


def test_seeded_reset_forgets_pending_rewards() -> None:
    for delay in ({"steps": 5}, {"episodes": 1}):
        env = DelayedOversight(INSIDE["coin"](), **delay)
        assert frozen(play(env, 200)) == frozen(play(env, 200))


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_delay_combines_with_the_other_wrappers(tmp_path: Any) -> None:  # noqa: ANN401
    truth = RecordTruth(partial_grid(reward="true"), tmp_path / "truth.ledger")
    inner = PartialOversight(FixedHorizon(truth, 12), observed_probability=1.0)
    env = RecordEpisodeStatistics(DelayedOversight(inner, steps=4))
    returns = [step[4]["episode"]["r"] for step in play(env, 300) if "episode" in step[-1]]
    assert set(returns) == {-1.0, 0.0, 1.0}  # delay_by_hand, and all of it in the same episode
    env.close()


def raises(message: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_arguments_and_orders_are_refused(tmp_path: Any) -> None:  # noqa: ANN401
    make_overseen, bare = INSIDE["coin"], GAMES["CartPole"]
    raises("steps or episodes, one of them", lambda: DelayedOversight(make_overseen()))
    raises("and not both", lambda: DelayedOversight(make_overseen(), steps=1, episodes=1))
    raises(
        "steps must be an integer of at least 1, got 0",
        lambda: DelayedOversight(make_overseen(), steps=0),
    )
    raises("episodes must be .* got True", lambda: DelayedOversight(make_overseen(), episodes=True))
    order = r"DelayedOversight\(PartialOversight\(env\)\)"
    raises(order, lambda: DelayedOversight(bare(), steps=1).reset(seed=0))
    lanes = SyncVectorEnv([bare] * 2)
    raises(order, lambda: vector.DelayedOversight(lanes, steps=1).reset(seed=0))
    scaled = (NormalizeObservedReward, lambda env: TransformReward(env, float))
    for wrap in (RecordEpisodeStatistics, *scaled):
        raises(order, lambda wrap=wrap: DelayedOversight(wrap(make_overseen()), steps=1))  # type: ignore[misc]
    inner = SyncVectorEnv([lambda: RecordEpisodeStatistics(make_overseen())])
    raises(order, lambda: vector.DelayedOversight(inner, steps=1))
    delayed = DelayedOversight(partial_grid(), steps=1)
    raises(r"DelayedOversight\(PartialOversight\(env\)\)", lambda: PartialOversight(delayed))
    raises("RecordTruth around the raw", lambda: RecordTruth(delayed, tmp_path / "truth.ledger"))
    mute = partial_grid_vec(2)
    mute.metadata = {}  # its own, not that of the class
    raises("autoreset_mode", lambda: vector.DelayedOversight(mute, steps=1))
    for env in (delayed, vector.DelayedOversight(partial_grid_vec(1), steps=1)):
        with pytest.raises(ResetNeeded):
            env.step(np.zeros(1, dtype=int))
