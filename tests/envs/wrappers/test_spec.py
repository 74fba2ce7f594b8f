"""A wrapper records every argument that it was built with, so that it can be built again."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from envs import EpisodeCoin, GridEnv, GridVectorEnv, wrappers
from envs.wrappers import NoisyFlag, vector
from tests.envs.wrappers.watchers import guess

ARGUMENTS: dict[str, dict[str, Any]] = {
    "DelayedOversight": {"steps": None, "episodes": 3},
    "FixedHorizon": {"horizon": 9, "keep": ("observed",)},
    "NormalizeObservedReward": {"gamma": 0.9},
    "PartialOversight": {
        "observed_probability": None,
        "observer": EpisodeCoin(0.25),
        "proxy": guess,
        "reward": "proxy",
        "flag": NoisyFlag(0.5),
        "allow": ("prob",),
        "seed": 3,
    },
    "RecordTruth": {"path": "truth.ledger"},
}


def test_every_wrapper_is_tried() -> None:
    assert set(ARGUMENTS) == set(vector.__all__) == set(wrappers.__all__) - {"NoisyFlag"}


@pytest.mark.parametrize("module", [wrappers, vector])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_is_recorded(
    name: str, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrapper, arguments = getattr(module, name), ARGUMENTS[name]

    def inside() -> Any:  # noqa: ANN401
        truth = name in ("PartialOversight", "RecordTruth", "FixedHorizon")
        reward: Any = "true" if truth else "observed"
        return GridVectorEnv(2, reward=reward) if module is vector else GridEnv(reward=reward)

    first, *others = inspect.signature(wrapper).parameters
    assert first == "env"
    assert set(others) == set(arguments)
    env = wrapper(inside(), **arguments)
    assert env._saved_kwargs == arguments
    assert wrapper(inside(), **env._saved_kwargs)._saved_kwargs == arguments
