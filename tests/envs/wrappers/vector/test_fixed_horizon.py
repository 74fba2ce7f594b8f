"""FixedHorizon of the native vector environment equals that of single ones, lane by lane."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import FixedHorizon, partial_grid, partial_grid_vec
from envs.wrappers.vector.fixed_horizon import FixedHorizon as VectorFixedHorizon
from envs.wrappers.vector.record_truth import RecordTruth
from tests.envs.comparison import assert_same


@settings(max_examples=25, deadline=None)
@given(
    lanes=st.integers(1, 9),
    horizon=st.integers(1, 12),
    limit=st.integers(1, 12),
    seed=st.integers(0, 2**31),
    keep=st.sampled_from([(), ("observed",), ("observed", "observed_reward")]),
)
def test_vector_wrapper_equals_single_environments(
    lanes: int, horizon: int, limit: int, seed: int, keep: tuple[str, ...]
) -> None:
    rules: dict[str, Any] = {"size": 3, "horizon": limit, "oversight_probability": 0.5}
    ours = VectorFixedHorizon(partial_grid_vec(lanes, **rules), horizon, keep=keep)
    theirs = SyncVectorEnv(
        [lambda: FixedHorizon(partial_grid(**rules), horizon, keep=keep)] * lanes,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    generator = np.random.default_rng(seed)
    for start in (seed, None):
        assert_same(ours.reset(seed=start), theirs.reset(seed=start))
        for _ in range(30):
            actions = generator.integers(4, size=lanes)
            mine, other = ours.step(actions), theirs.step(actions)
            if not keep and "final_info" in mine[4]:
                assert mine[4].pop("final_info") == {}
                other[4].pop("final_info")
            assert_same(mine, other)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_singles_run_in_every_mode(mode: AutoresetMode) -> None:
    env = SyncVectorEnv(
        [lambda: FixedHorizon(gym.make("CartPole-v1"), 15)] * 3, autoreset_mode=mode
    )
    env.reset(seed=0)
    ends = []
    for step in range(1, 48):
        _, _, terminated, truncated, _ = env.step(np.zeros(3, dtype=np.int64))
        assert not terminated.any()
        assert truncated.all() == truncated.any()
        if truncated.all():
            ends.append(step)
            if mode is AutoresetMode.DISABLED:
                env.reset(options={"reset_mask": truncated.copy()})
    assert ends == ([15, 31, 47] if mode is AutoresetMode.NEXT_STEP else [15, 30, 45])


def test_environment_is_refused_when_its_lanes_cannot_be_restored(tmp_path: Path) -> None:
    for mode in AutoresetMode:
        sync = SyncVectorEnv([partial_grid] * 2, autoreset_mode=mode)
        with pytest.raises(ValueError, match="batch those with SyncVectorEnv"):
            VectorFixedHorizon(sync, 9)
    recorded = RecordTruth(partial_grid_vec(2, reward="true"), tmp_path / "truth.ledger")
    with pytest.raises(ValueError, match=r"RecordTruth\(FixedHorizon\(env, horizon\), path\)"):
        VectorFixedHorizon(recorded, 9)
    recorded.close()


def test_arguments_and_calls_are_refused_when_invalid() -> None:
    with pytest.raises(ValueError, match=r"horizon must be .* got 0"):
        VectorFixedHorizon(partial_grid_vec(2), 0)
    env = VectorFixedHorizon(partial_grid_vec(2), 9, keep=["nothing"])
    with pytest.raises(ResetNeeded):
        env.step([0, 0])
    with pytest.raises(ValueError, match="no entry 'nothing'"):
        env.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        env.reset(options={"reset_mask": np.ones(2, dtype=np.bool_)})
