"""A vector wrapper records every argument that it was built with, so that it can be built again."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from envs import EpisodeCoin, GridVectorEnv
from envs.wrappers import vector
from tests.envs.wrappers.test_vector import guess

ARGUMENTS: dict[str, dict[str, Any]] = {
    "PartialOversight": {
        "observed_probability": None,
        "observer": EpisodeCoin(0.25),
        "proxy": guess,
        "flag": "visible",
        "allow": ("prob",),
        "seed": 3,
    },
    "FixedHorizon": {"horizon": 7, "keep": ("observed",)},
    "RecordTruth": {"path": "truth.ledger"},
}


def test_every_wrapper_is_tried() -> None:
    assert set(ARGUMENTS) == set(vector.__all__)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_is_recorded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrapper, arguments = getattr(vector, name), ARGUMENTS[name]
    first, *others = inspect.signature(wrapper).parameters
    assert first == "env"
    assert set(others) == set(arguments)
    env = wrapper(GridVectorEnv(2, reward="true"), **arguments)
    assert env._saved_kwargs == arguments
    again = wrapper(GridVectorEnv(2, reward="true"), **env._saved_kwargs)
    assert again._saved_kwargs == arguments
