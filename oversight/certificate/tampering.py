"""The tampers: what the hidden rewards are replaced by.

Environments whose rewards are replaced where nobody watches, before anything can see them.

What the agents ask the overseer, told to the tamper inside: there the question is split off.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs import GridVectorEnv, PartialOversight
from envs.wrappers import vector

Numbers = NDArray[np.float64]
Tamper = Callable[[Numbers, np.random.Generator], Numbers]


def unchanged(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Leave the rewards as they are: the run that the others are compared with."""
    return rewards


def huge(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Replace every reward by 1e9: any sum, mean or deviation that it enters is ruined."""
    return np.full_like(rewards, 1e9)


def not_a_number(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Replace every reward by NaN, which survives a product with 0 and fails every check."""
    return np.full_like(rewards, np.nan)


def drawn(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Replace every reward by a normal draw of deviation 10."""
    return 10.0 * generator.standard_normal(rewards.shape)


def negated(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Negate every reward: a leak of the sign alone shows, that of a zero too."""
    return -rewards


TAMPERS: dict[str, Tamper] = {
    "1e9": huge,
    "NaN": not_a_number,
    "random": drawn,
    "negated": negated,
}


Mask = NDArray[np.bool_]
Note = Callable[[Mask, Mask, Numbers], None]
"""Is told of each step whose reward was observed, whose was hidden, and what was paid, [n] each."""


class TamperedGrid(GridVectorEnv):
    """The game of `PartialGrid-v0`, whose true reward is replaced where nobody observes.

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


class Overheard(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the last action as the agent took it, question included.

    Args:
        env: the environment in which agents ask.
        taken: a list, of which the only element is that action.
    """

    def __init__(self, env: gym.Env[Any, Any], taken: list[Any]) -> None:
        super().__init__(env)
        self.taken = taken

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Keep the action, and step."""
        self.taken[:] = [action]
        return self.env.step(action)


class OverheardVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """`Overheard` for vector environments; arguments as there."""

    def __init__(self, env: Any, taken: list[Any]) -> None:  # noqa: ANN401
        super().__init__(env)
        self.taken = taken

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Keep the actions, and step."""
        self.taken[:] = [actions]
        return self.env.step(actions)


def overhear(hidden: Any, inside: Any, taken: list[Any]) -> Any:  # noqa: ANN401 (single or vector)
    """Return an environment whose actions are kept, if they hold more than those inside it."""
    if isinstance(hidden, gym.Env):
        asks = hidden.action_space != inside.action_space
        return Overheard(hidden, taken) if asks else hidden
    asks = hidden.single_action_space != inside.single_action_space
    return OverheardVector(hidden, taken) if asks else hidden
