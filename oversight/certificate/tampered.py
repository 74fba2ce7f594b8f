"""Environments whose rewards are replaced where nobody watches, before anything can see them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs import GridVectorEnv, PartialOversight
from envs.wrappers import vector
from oversight.certificate.tamper import Numbers, Tamper

Mask = NDArray[np.bool_]
Note = Callable[[Mask, Mask, Numbers], None]
"""Is told of each step whose reward was observed, whose was hidden, and what was paid, [n] each."""


class TamperedGrid(GridVectorEnv):
    """`PartialGrid-v0` as it is trained on, whose truth is another where nobody watches.

    Hidden are the rewards of the squares that nobody watches; other steps are known to pay 0.

    Args:
        tamper: what replaces a hidden reward.
        note: is told what was paid in truth.
        seed: of the tamper's draws.
        **arguments: as for `GridVectorEnv`.
    """

    def __init__(self, tamper: Tamper, note: Note, seed: int, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self._tamper, self._note = tamper, note
        self._generator = np.random.default_rng(seed)

    def true_reward(self) -> Numbers:
        """Return the truth where somebody watches, and the tampered one elsewhere."""
        board, true = self._board, super().true_reward()
        squares = np.stack([board.agent == board.diamond, board.agent == board.ghost], axis=-1)
        observed = np.logical_or.reduce(squares & board.overseen, axis=-1)
        hidden = np.logical_or.reduce(squares & ~board.overseen, axis=-1)
        told = np.where(hidden, self._tamper(true, self._generator), true)
        self._note(observed, hidden, told)
        return told


class Tampered(gym.Wrapper[Any, Any, Any, Any]):
    """Any environment, whose rewards are replaced where an observer does not watch.

    Which steps those are is asked of a `PartialOversight` of its own around the same environment,
    not of the one under test: a faulty one cannot say what it should have hidden.

    Args:
        env: the environment that pays the truth.
        oversight: the arguments of `PartialOversight`.
        tamper: what replaces a hidden reward.
        note: is told what was paid.
        seed: of the tamper's draws.
        taken: the last action as the agent took it, where `overhear` keeps it: with its question.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        oversight: Mapping[str, Any],
        tamper: Tamper,
        note: Note,
        seed: int,
        taken: Sequence[Any] = (),
    ) -> None:
        super().__init__(env)
        self._taken = taken
        self._tamper, self._note = tamper, note
        self._probe = _Probe(env)
        self._shadow = PartialOversight(self._probe, **oversight)
        self._generator = np.random.default_rng(seed)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset both, and return what the environment returned."""
        self._shadow.reset(**arguments)
        return self._probe.start

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and replace the reward if nobody watches."""
        seen = self._shadow.step(*(self._taken or [action]))[4]
        observation, reward, *rest = self._probe.step_taken
        observed, true = np.array([seen["observed"]]), np.array([reward], dtype=np.float64)
        told = np.where(observed, true, self._tamper(true, self._generator))
        self._note(observed, ~observed, told)
        return observation, float(told[0]), *rest


class _Probe(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps what the environment returned, so that the shadow above steps it only once."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        self.start = self.env.reset(**arguments)
        return self.start

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        self.step_taken = self.env.step(action)
        return self.step_taken


class TamperedVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """`Tampered` for vector environments, in all autoreset modes; arguments as there."""

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        oversight: Mapping[str, Any],
        tamper: Tamper,
        note: Note,
        seed: int,
        taken: Sequence[Any] = (),
    ) -> None:
        super().__init__(env)
        self._taken = taken
        self._tamper, self._note = tamper, note
        self._probe = _VectorProbe(env)
        self._shadow = vector.PartialOversight(self._probe, **oversight)
        self._generator = np.random.default_rng(seed)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset both, and return what the environment returned."""
        self._shadow.reset(**arguments)
        return self._probe.start

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and replace the rewards of the lanes that nobody watches."""
        seen = self._shadow.step(*(self._taken or [actions]))[4]
        # an ended lane has its flag in final_info, and beside it that of the next episode: False
        observed = seen["observed"] | seen.get("final_info", seen)["observed"]
        observations, rewards, *rest = self._probe.step_taken
        true = np.asarray(rewards, dtype=np.float64)
        told = np.where(observed, true, self._tamper(true, self._generator))
        self._note(observed, ~observed, told)
        return observations, told, *rest


class _VectorProbe(VectorWrapper[Any, Any, Any, Any, Any]):
    """As `_Probe`."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        self.start = self.env.reset(**arguments)
        return self.start

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        self.step_taken = self.env.step(actions)
        return self.step_taken
