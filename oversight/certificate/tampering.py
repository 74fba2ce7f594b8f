"""Tampered environments, which replace hidden rewards before any other part can read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs import PartialOversight
from envs.wrappers import vector

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
Tamper = Callable[[Numbers, np.random.Generator], Numbers]
"""Replaces rewards, [n]; it may draw from the generator."""
OnRewards = Callable[[Mask, Mask, Numbers], None]
"""Called at each step with the observed lanes, the hidden lanes, and the rewards, [n] each."""


def unchanged(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Return the rewards as they are, for the run that the others are compared with."""
    return rewards


def huge(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Return 1e9 for every reward, which changes any sum, mean or deviation that contains it."""
    return np.full_like(rewards, 1e9)


def not_a_number(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Return NaN for every reward, which survives a product with 0, and fails every check."""
    return np.full_like(rewards, np.nan)


def drawn(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Return a normal draw of standard deviation 10 for every reward."""
    return 10.0 * generator.standard_normal(rewards.shape)


def negated(rewards: Numbers, generator: np.random.Generator) -> Numbers:
    """Return the negative of every reward, so that a leak of the sign alone shows, even of 0.0."""
    return -rewards


TAMPERS: dict[str, Tamper] = {
    "1e9": huge,
    "NaN": not_a_number,
    "random": drawn,
    "negated": negated,
}


class _LastResults:
    """Stores what the environment returned last, so that two wrappers can share one step."""

    env: Any
    last_reset: Any
    last_step: Any

    def reset(self, **arguments: Any) -> Any:  # noqa: ANN401
        """Reset, and store the result."""
        self.last_reset = self.env.reset(**arguments)
        return self.last_reset

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Step, and store the result."""
        self.last_step = self.env.step(action)
        return self.last_step


class _Probe(_LastResults, gym.Wrapper[Any, Any, Any, Any]):
    """`_LastResults` of a single environment."""


class _VectorProbe(_LastResults, VectorWrapper[Any, Any, Any, Any, Any]):
    """`_LastResults` of a vector environment."""


class _Shadow:
    """Asks an oversight of its own which rewards are hidden, and tampers with these.

    The oversight under test is not asked, since a faulty one cannot say what it should have hidden.

    Args:
        probe: a probe around the environment, single or vectorized.
        oversight: a `PartialOversight` around the probe.
        tamper, on_rewards, seed, taken: as for `Tampered`.
    """

    def __init__(
        self,
        probe: Any,  # noqa: ANN401
        oversight: Any,  # noqa: ANN401
        tamper: Tamper,
        on_rewards: OnRewards,
        seed: int,
        taken: Sequence[Any],
    ) -> None:
        self._probe, self._oversight = probe, oversight
        self._tamper, self._on_rewards, self._taken = tamper, on_rewards, taken
        self._generator = np.random.default_rng(seed)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and return what the environment returned."""
        self._oversight.reset(**arguments)
        return self._probe.last_reset  # type: ignore[no-any-return]

    def step(self, action: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and return what the environment returned, and the infos of the oversight."""
        infos = self._oversight.step(*(self._taken or [action]))[4]
        return self._probe.last_step, infos

    def tampered(self, true: Numbers, observed: Mask, hidden: Mask) -> Numbers:
        """Return the rewards of one step, of which the hidden ones are tampered, [n]."""
        rewards = np.where(hidden, self._tamper(true, self._generator), true)
        self._on_rewards(observed, hidden, rewards)
        return rewards


class Tampered(gym.Wrapper[Any, Any, Any, Any]):
    """An environment with tampered rewards wherever a step is not observed.

    Args:
        env: the environment, which pays true rewards.
        oversight: the arguments of `PartialOversight`.
        tamper: replaces hidden rewards.
        on_rewards: called with the rewards of each step.
        seed: of the tamper's draws.
        taken: holds the agent's last action with its query, if agents query; see `keep_queries`.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        oversight: Mapping[str, Any],
        tamper: Tamper,
        on_rewards: OnRewards,
        seed: int,
        taken: Sequence[Any] = (),
    ) -> None:
        super().__init__(env)
        probe = _Probe(env)
        partial = PartialOversight(probe, **oversight)
        self._shadow = _Shadow(probe, partial, tamper, on_rewards, seed, taken)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and return what the environment returned."""
        return self._shadow.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Step, and replace the reward if it is hidden."""
        (observation, reward, *rest), infos = self._shadow.step(action)
        true, observed = np.array([reward], dtype=np.float64), np.array([infos["observed"]])
        return observation, float(self._shadow.tampered(true, observed, ~observed)[0]), *rest


class TamperedVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """`Tampered` for vector environments in all autoreset modes.

    Args:
        env, oversight, tamper, on_rewards, seed, taken: as for `Tampered`.
        pays_at_ends: whether all other steps are known to pay 0, so that only the reward of a step
            that terminates an episode can be hidden.
    """

    def __init__(  # noqa: PLR0913
        self,
        env: VectorEnv[Any, Any, Any],
        oversight: Mapping[str, Any],
        tamper: Tamper,
        on_rewards: OnRewards,
        seed: int,
        taken: Sequence[Any] = (),
        *,
        pays_at_ends: bool = False,
    ) -> None:
        super().__init__(env)
        probe = _VectorProbe(env)
        partial = vector.PartialOversight(probe, **oversight)
        self._pays_at_ends = pays_at_ends
        self._shadow = _Shadow(probe, partial, tamper, on_rewards, seed, taken)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and return what the environment returned."""
        return self._shadow.reset(**arguments)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and replace the rewards of hidden steps."""
        (observations, rewards, *rest), infos = self._shadow.step(actions)
        # the flag of an episode's last step is in final_info; beside it, that of the next is False
        observed = infos["observed"] | infos.get("final_info", infos)["observed"]
        hidden = rest[0] & ~observed if self._pays_at_ends else ~observed
        true = np.asarray(rewards, dtype=np.float64)
        return observations, self._shadow.tampered(true, observed, hidden), *rest


class _KeepsActions:
    """Stores the last action, query included, as the only element of the list `taken`."""

    env: Any
    taken: list[Any]

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Store the action, and step."""
        self.taken[:] = [action]
        return self.env.step(action)


class _ActionKeeper(_KeepsActions, gym.Wrapper[Any, Any, Any, Any]):
    """`_KeepsActions` of a single environment."""


class _VectorActionKeeper(_KeepsActions, VectorWrapper[Any, Any, Any, Any, Any]):
    """`_KeepsActions` of a vector environment."""


def keep_queries(hidden: Any, inside: Any, taken: list[Any]) -> Any:  # noqa: ANN401
    """Return an environment that stores actions in `taken` if agents query the overseer.

    Queries are split from actions before these reach the environment inside, where the tamper
    needs them to know what is observed.

    Args:
        hidden: the environment with oversight, single or vectorized.
        inside: the same without oversight; its actions have no query.
        taken: receives the last action.
    """
    single = isinstance(hidden, gym.Env)
    spaces = [env.action_space if single else env.single_action_space for env in (hidden, inside)]
    if spaces[0] == spaces[1]:
        return hidden
    keeper = _ActionKeeper(hidden) if single else _VectorActionKeeper(hidden)
    keeper.taken = taken
    return keeper
