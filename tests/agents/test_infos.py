"""Each lane is told its part of a vector environment's infos, whatever form that has."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from agents.vec_env import fill, observed_lanes

SAID: list[dict[str, Any]] = [
    {"flag": np.True_, "number": 1.5, "word": "left", "vector": np.array([1, 2])},
    {},
    {"number": 2, "inside": {"depth": 3, "further": {"name": "x"}}, "_private": 7},
]


class Talker(gym.Env[Any, Any]):
    """Says the same at every reset."""

    observation_space = action_space = gym.spaces.Discrete(2)

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Say it."""
        return 0, self.info


def test_what_gymnasium_batches_comes_back() -> None:
    def make(info: dict[str, Any]) -> Any:  # noqa: ANN401
        return lambda: Talker(info)

    _, infos = SyncVectorEnv([make(info) for info in SAID]).reset()
    listed: list[dict[str, Any]] = [{} for _ in SAID]
    fill(listed, infos, [0, 1, 2])
    np.testing.assert_equal(listed, SAID)


def test_other_lanes_are_left_alone() -> None:
    listed: list[dict[str, Any]] = [{}, {}]
    fill(listed, {"a": np.array([1, 2]), "_a": np.array([True, True])}, [1])
    assert listed == [{}, {"a": 2}]


def test_a_key_without_a_mask_is_of_every_lane() -> None:
    listed: list[dict[str, Any]] = [{}, {}]
    fill(listed, {"rows": np.array([1, 2]), "list": [3, 4], "word": "ab", "one": 5.0}, [0, 1])
    shared = {"word": "ab", "one": 5.0}
    assert listed == [{"rows": 1, "list": 3, **shared}, {"rows": 2, "list": 4, **shared}]


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ({}, None),
        ({"observed": np.zeros(3, dtype=np.bool_)}, None),
        ({"observed": np.array([True, True, False])}, [True, True, False]),
        (
            {"observed": np.ones(3, dtype=np.bool_), "_observed": np.array([False, True, False])},
            [False, True, False],
        ),
        ({"observed": np.array([None, True, False], dtype=object)}, [False, True, False]),
        ({"observed": True}, [True, True, True]),
    ],
)
def test_the_lanes_that_were_observed(infos: dict[str, Any], expected: list[bool] | None) -> None:
    flags = observed_lanes(infos, 3)
    assert (None if flags is None else flags.tolist()) == expected
