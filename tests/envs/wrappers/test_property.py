"""Whoever watches: lanes equal singles, and a hidden reward changes nothing that is given."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from envs import NoisyFlag, PartialOversight, Query
from envs.observers import InformationLevel, Observer
from envs.observers.observer import parts
from envs.wrappers import vector
from tests.envs.same import assert_same
from tests.envs.wrappers.games import GAMES, frozen
from tests.envs.wrappers.watchers import COMPOSITIONS, QUERIES, guess

LANES, STEPS = 3, 30


class Replaced(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces the reward of a step that is said to be hidden, and plants it in info."""

    hidden, kind = False, "huge"

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Replace."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.hidden:
            reward = {"huge": 1e9, "nan": np.nan, "inf": -np.inf, "sign": -float(reward)}[self.kind]
        return observation, reward, terminated, truncated, info | {"truth": float(reward)}


def cases() -> st.SearchStrategy[dict[str, Any]]:
    """Return arguments of PartialOversight that go together."""

    def allowed(observer: Observer, query: Query | None, flag: Any, **rest: Any) -> dict[str, Any]:  # noqa: ANN401
        whole = observer if query is None else query & observer
        tells = "hidden" if whole.information_level >= InformationLevel.ACTION else flag
        return {"observer": whole, "flag": tells, **rest}

    return st.builds(
        allowed,
        COMPOSITIONS,
        QUERIES,
        st.sampled_from(["hidden", "visible", NoisyFlag(0.3, 0.2)]),
        proxy=st.sampled_from([None, guess]),
        reward=st.sampled_from(["observed", "proxy"]),
        seed=st.integers(0, 2**32),
    )


def hide(env: SyncVectorEnv, hidden: Any, kind: str) -> None:  # noqa: ANN401
    for lane, single in enumerate(env.envs):
        layer: Any = single
        while not isinstance(layer, Replaced):
            layer = layer.env
        layer.hidden, layer.kind = bool(hidden[lane]), kind


@settings(max_examples=50, deadline=None)
@given(
    game=st.sampled_from(list(GAMES)),
    mode=st.sampled_from(list(AutoresetMode)),
    case=cases(),
    kind=st.sampled_from(["huge", "nan", "inf", "sign"]),
    seed=st.integers(0, 2**31),
)
def test_lanes_equal_singles_and_hidden_rewards_change_nothing(
    game: str, mode: AutoresetMode, case: dict[str, Any], kind: str, seed: int
) -> None:
    def single() -> gym.Env[Any, Any]:
        return Replaced(GAMES[game]())

    def watched() -> gym.Env[Any, Any]:
        return PartialOversight(single(), **case)

    agent_asks = any(part == Query(0.5) for part in parts(case["observer"]))
    assume(not (agent_asks and game == "Pendulum"))  # whose actions are not discrete
    inner = [SyncVectorEnv([single] * LANES, autoreset_mode=mode) for _ in range(2)]
    clean, dirty = (vector.PartialOversight(each, **case) for each in inner)
    singles, others = (SyncVectorEnv([watched] * LANES, autoreset_mode=mode) for _ in range(2))
    clean.action_space.seed(seed)
    start = clean.reset(seed=seed)
    assert_same(start, singles.reset(seed=seed))
    assert frozen(start) == frozen(dirty.reset(seed=seed))
    others.reset(seed=seed)
    for _ in range(STEPS):
        actions = clean.action_space.sample()
        given_out = clean.step(actions)
        ended = given_out[2] | given_out[3]
        seen = given_out[4].get("final_info", {}).get("observed", False) | given_out[4]["observed"]
        for tampered in (cast(SyncVectorEnv, dirty.env), others):
            hide(tampered, ~seen, kind)
        by_singles = singles.step(actions)
        assert_same(given_out, by_singles)
        assert frozen(given_out) == frozen(dirty.step(actions))
        assert frozen(by_singles) == frozen(others.step(actions))
        if mode is AutoresetMode.DISABLED and ended.any():
            for env in (clean, dirty, singles, others):
                env.reset(options={"reset_mask": ended.copy()})
