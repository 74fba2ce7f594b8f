"""The agent and its logger receive none of the true returns that evaluation measures."""

from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.logger import Logger

from oversight.rl.grid_task import PartialGridTask
from tests.oversight.rl.trained_runs import TINY, rollouts, run_train


def test_agent_logger_receives_no_true_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: set[str] = set()
    record = Logger.record

    def spy(self: Logger, key: str, value: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        recorded.add(key)
        record(self, key, value, *args, **kwargs)

    monkeypatch.setattr(Logger, "record", spy)
    assert run_train(*TINY, *rollouts(2), "--run-dir", tmp_path / "run") == 0
    assert "train/loss" in recorded
    assert not [key for key in recorded if "eval" in key or "true" in key]


@pytest.mark.parametrize("method", ["routed", "paper", "unrouted", "naive", "filtered", "oracle"])
def test_only_the_oracle_trains_on_true_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    paid: list[tuple[int, str]] = []
    make_env = PartialGridTask.make_env

    def spy(self: PartialGridTask, num_envs: int, reward: Any) -> Any:  # noqa: ANN401
        paid.append((num_envs, reward))
        return make_env(self, num_envs, reward)

    monkeypatch.setattr(PartialGridTask, "make_env", spy)
    flags = ("--method", method, "--run-dir", tmp_path / "run")
    assert run_train(*TINY, *rollouts(1), *flags) == 0
    assert {reward == "true" for _, reward in paid} == {method == "oracle"}
