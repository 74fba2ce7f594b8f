"""A trained agent reaches no true reward when its environments run in other processes."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from agents import VectorEnvAdapter
from envs import PartialOversight, RecordTruth, read_ledger, summarize_episodes
from envs.wrappers import vector
from envs.wrappers.ledger import LedgerWriter
from tests.agents.factories import SETTINGS, small_agent

FEW = 4

HOLDERS_OF_TRUTH = (RecordTruth, vector.RecordTruth, LedgerWriter, gym.Env)


def reachable_objects(start: object) -> Iterator[object]:
    """Yield every object that can be reached from one by references between objects.

    Functions are followed into their closures and defaults only, since their globals, modules and
    classes are the same for all code of a process.
    """
    visited, waiting = {id(start)}, [start]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, FunctionType):
            referents: list[object] = [each.__closure__, each.__defaults__, each.__kwdefaults__]
        else:
            referents = gc.get_referents(each)
        for other in referents:
            if id(other) not in visited and not isinstance(other, ModuleType | type):
                visited.add(id(other))
                waiting.append(other)


def ledger_lane(folder: Path, number: int) -> Callable[[], gym.Env[Any, Any]]:
    """Return a function that builds a single environment with a ledger of its own."""

    def build() -> gym.Env[Any, Any]:
        grid = gym.make("PartialGrid-v0", horizon=12, flag="hidden", reward="true")
        return PartialOversight(RecordTruth(grid, folder / f"{number}.ledger"))

    return build


def agent_trained_on(lanes: VectorEnv[Any, Any, Any]) -> object:
    """Return an agent that has learned on some lanes."""
    settings = {**SETTINGS, "batch_size": 64}
    agent = small_agent("naive", VectorEnvAdapter(lanes), **settings)
    return agent.learn(3 * FEW * SETTINGS["n_steps"])


def reached_truth(agent: object, folder: Path) -> tuple[set[str], bool]:
    """Return which holders of true rewards an agent reaches, and whether it reaches the folder."""
    kinds, path = set(), False
    for each in reachable_objects(agent):
        kinds |= {kind.__name__ for kind in HOLDERS_OF_TRUTH if isinstance(each, kind)}
        path |= isinstance(each, str | bytes | PurePath) and folder.name in str(each)
    return kinds, path


def test_agent_reaches_no_truth_when_lanes_are_processes(tmp_path: Path) -> None:
    folder = tmp_path / "ledgers-of-the-lanes"
    folder.mkdir()
    lanes = AsyncVectorEnv(
        [ledger_lane(folder, number) for number in range(FEW)],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    agent = agent_trained_on(lanes)
    assert reached_truth(agent, folder) == (set(), True)  # the functions that built the lanes
    lanes.env_fns = ()
    assert reached_truth(agent, folder) == (set(), False)
    lanes.close()
    for number in range(FEW):
        assert len(summarize_episodes(read_ledger(folder / f"{number}.ledger"))) > 3


@pytest.mark.parametrize("native", [False, True])
def test_agent_reaches_the_truth_when_lanes_are_in_its_process(
    native: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "ledgers-of-the-lanes"
    folder.mkdir()
    functions = [ledger_lane(folder, number) for number in range(FEW)]
    lanes: VectorEnv[Any, Any, Any] = SyncVectorEnv(functions, autoreset_mode="SameStep")
    expected = {"RecordTruth", "LedgerWriter", "Env"}
    if native:
        grids = gym.make_vec("PartialGrid-v0", num_envs=FEW, reward="true")
        lanes = vector.PartialOversight(vector.RecordTruth(grids, folder / "truth.ledger"))
        expected -= {"Env"}
    assert reached_truth(agent_trained_on(lanes), folder) == (expected, True)
    lanes.close()
