"""RecordTruth of vector environments, in all three autoreset modes and after a resume."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from envs import partial_grid_vec, read_ledger, summarize_episodes
from envs.wrappers.vector.fixed_horizon import FixedHorizon
from envs.wrappers.vector.record_truth import RecordTruth
from tests.envs.wrappers.test_record_truth import GAMES, build, frozen

Vector = VectorEnv[Any, Any, Any]
LANES = 5


def step_by_hand(env: Vector, path: Path, plain: Vector, mode: AutoresetMode) -> list[Any]:
    """Step both alike and return the episodes that a loop over lanes makes of it."""
    rows: dict[tuple[int, int], list[Any]] = {}
    number, resetting = [0] * LANES, np.zeros(LANES, dtype=np.bool_)
    plain.action_space.seed(0)
    for _ in range(120):
        if mode is AutoresetMode.DISABLED and resetting.any():
            for each in (env, plain):
                each.reset(options={"reset_mask": resetting.copy()})
        actions = plain.action_space.sample()
        returned = env.step(actions)
        assert frozen_infos(returned) == frozen_infos(plain.step(actions))
        _, rewards, terminated, truncated, infos = returned
        for lane in range(LANES):
            number[lane] += int(resetting[lane])
            if resetting[lane] and mode is AutoresetMode.NEXT_STEP:
                continue
            ended = bool(terminated[lane] or truncated[lane])
            source = infos["final_info"] if ended and mode is AutoresetMode.SAME_STEP else infos
            observed = int(source["observed"][lane]) if "observed" in source else -1
            flags = terminated[lane] + 2 * truncated[lane]
            row = (float(rewards[lane]), observed, int(flags))
            rows.setdefault((lane, number[lane]), []).append(row)
        resetting = terminated | truncated
    return [
        (*key, sum(rewards), len(rewards), max(observed), max(ended))
        for key, steps in sorted(rows.items())
        for rewards, observed, ended in [tuple(zip(*steps, strict=True))]
    ]


def frozen_infos(value: Any) -> object:  # noqa: ANN401 (what a step returned)
    """Compare arrays of objects, as `final_obs` of SyncVectorEnv, by their items."""
    if isinstance(value, dict):
        return {key: frozen_infos(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [frozen_infos(each) for each in value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [frozen_infos(each) for each in value.tolist()]
    return None if value is None else frozen(value)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(("name", "arguments"), GAMES)
def test_records_equal_a_loop_over_lanes_and_steps_are_unchanged(
    name: str, arguments: dict[str, Any], mode: AutoresetMode, tmp_path: Path
) -> None:
    path = tmp_path / "truth.ledger"
    functions = [lambda: build(name, arguments)] * LANES
    plain = SyncVectorEnv(functions, autoreset_mode=mode)
    env = RecordTruth(SyncVectorEnv(functions, autoreset_mode=mode), path)
    assert frozen_infos(env.reset(seed=1)) == frozen_infos(plain.reset(seed=1))
    expected = step_by_hand(env, path, plain, mode)
    env.close()
    assert summarize_episodes(read_ledger(path)).tolist() == expected
    assert len(expected) > 2 * LANES


def test_records_of_the_native_environment_equal_a_loop(tmp_path: Path) -> None:
    path, rules = tmp_path / "truth.ledger", GAMES[-1][1]
    env = RecordTruth(partial_grid_vec(LANES, **rules), path)
    plain = partial_grid_vec(LANES, **rules)
    assert frozen_infos(env.reset(seed=1)) == frozen_infos(plain.reset(seed=1))
    expected = step_by_hand(env, path, plain, AutoresetMode.SAME_STEP)
    env.close()
    assert summarize_episodes(read_ledger(path)).tolist() == expected


@pytest.mark.parametrize("diverges", [False, True])
def test_repeated_steps_are_replaced_when_a_run_is_resumed(diverges: bool, tmp_path: Path) -> None:
    def run(path: Path, killed: bool) -> list[Any]:
        env = RecordTruth(partial_grid_vec(8, size=3, reward="true"), path)
        env.reset(seed=0)
        generator = np.random.default_rng(0)
        actions = generator.integers(4, size=(90, 8))
        for step in actions[:40]:
            env.step(step)
        if killed:
            state, lost = env.get_state(), actions[40:70]
            for step in (lost + 1) % 4 if diverges else lost:
                env.step(step)
            assert env._ledger is not None
            env._ledger._file.close()  # what waits in the buffer is gone
            env = RecordTruth(partial_grid_vec(8, size=3, reward="true"), path)
            env.reset(seed=0)
            env.set_state(state)
        for step in actions[40:]:
            env.step(step)
        env.close()
        episodes: list[Any] = summarize_episodes(read_ledger(path)).tolist()
        return episodes

    assert run(tmp_path / "whole", killed=False) == run(tmp_path / "killed", killed=True)


def test_recording_works_around_fixed_horizon(tmp_path: Path) -> None:
    env = RecordTruth(
        FixedHorizon(partial_grid_vec(4, reward="true"), 40), tmp_path / "truth.ledger"
    )
    env.reset(seed=0)
    for actions in np.random.default_rng(0).integers(4, size=(80, 4)):
        env.step(actions)
    env.close()
    episodes = summarize_episodes(read_ledger(tmp_path / "truth.ledger"))
    assert episodes["length"].tolist() == [40] * 8
    assert set(episodes["ended"]) == {2}


def test_environments_and_states_are_refused_when_invalid(tmp_path: Path) -> None:
    path = tmp_path / "truth.ledger"
    with pytest.raises(ValueError, match="rewards PartialOversight has changed"):
        RecordTruth(gym.make_vec("PartialGrid-v0", num_envs=2), path)
    with pytest.raises(ValueError, match="rewards PartialOversight has changed"):
        RecordTruth(gym.make_vec("PartialGrid-v0", 2, vectorization_mode="sync"), path)
    mute = partial_grid_vec(2, reward="true")
    mute.metadata = {}  # its own, not that of the class
    with pytest.raises(ValueError, match="must be an AutoresetMode, got None"):
        RecordTruth(mute, path)
    env = RecordTruth(partial_grid_vec(2, reward="true"), path)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"state must hold .*ledger_episode"):
        env.set_state(env.env.get_state())  # type: ignore[attr-defined]
    env.close()
