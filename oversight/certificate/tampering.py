"""Tampered environments, which replace hidden rewards before any other part can read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper
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


TAMPERS: dict[str, Tamper] = {
    # changes any sum, mean or deviation that contains it
    "1e9": lambda rewards, generator: np.full_like(rewards, 1e9),
    # survives a product with 0, and fails every check
    "NaN": lambda rewards, generator: np.full_like(rewards, np.nan),
    "random": lambda rewards, generator: 10.0 * generator.standard_normal(rewards.shape),
    # shows a leak of the sign alone, even of that of 0.0
    "negated": lambda rewards, generator: -rewards,
}
"""What replaces hidden rewards, by name."""


class _Memory:
    """Stores the last action, with its query if agents query, and what the environment returned.

    Args:
        env: a single or a vector environment.
        taken: receives the last action as its only element.
    """

    env: Any
    last_reset: Any
    last_step: Any

    def __init__(self, env: Any, taken: list[Any]) -> None:  # noqa: ANN401
        super().__init__(env)  # type: ignore[call-arg]  # of the wrapper
        self.taken = taken

    def reset(self, **arguments: Any) -> Any:  # noqa: ANN401
        """Reset, and store the result."""
        self.last_reset = self.env.reset(**arguments)
        return self.last_reset

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Store the action, step, and store the result."""
        self.taken[:] = [action]
        self.last_step = self.env.step(action)
        return self.last_step


class _SingleMemory(_Memory, gym.Wrapper[Any, Any, Any, Any]):
    """`_Memory` of a single environment."""


class _VectorMemory(_Memory, VectorWrapper[Any, Any, Any, Any, Any]):
    """`_Memory` of a vector environment."""


class Tampers:
    """Asks an oversight of its own which rewards are hidden, and tampers with these.

    The oversight under test is not asked, since a faulty one cannot say what it should have hidden.

    Args:
        env: the environment, which pays true rewards.
        oversight: the arguments of `PartialOversight`.
        tamper: replaces hidden rewards.
        on_rewards: called with the rewards of each step.
        seed: of the tamper's draws.
        taken: holds the agent's last action with its query, if agents query; see `keep_queries`.
        pays_at_ends: whether all other steps are known to pay 0, so that only the reward of a step
            that terminates an episode can be hidden.

    Attributes:
        payment: what the oversight of its own paid at the last step, [n].
        reports: the rewards that it reported there, [n]; NaN where it observed nothing.
    """

    def __init__(  # noqa: PLR0913
        self,
        env: Any,  # noqa: ANN401
        oversight: Mapping[str, Any],
        tamper: Tamper,
        on_rewards: OnRewards,
        seed: int,
        taken: Sequence[Any] = (),
        *,
        pays_at_ends: bool = False,
    ) -> None:
        super().__init__(env)  # type: ignore[call-arg]  # of the wrapper
        self._single = isinstance(env, gym.Env)
        # two wrappers share one step: the oversight takes it, and its memory has the true results
        self._memory = _SingleMemory(env, []) if self._single else _VectorMemory(env, [])
        kind: Any = PartialOversight if self._single else vector.PartialOversight
        self._oversight = kind(self._memory, **oversight)
        self._tamper, self._on_rewards, self._taken = tamper, on_rewards, taken
        self._pays_at_ends = pays_at_ends
        self._generator = np.random.default_rng(seed)
        self.payment: Numbers = np.zeros(1 if self._single else env.num_envs)
        self.reports: Numbers = np.full_like(self.payment, np.nan)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Reset, and return what the environment returned."""
        self._oversight.reset(**arguments)
        return self._memory.last_reset  # type: ignore[no-any-return]

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and replace the rewards of hidden steps."""
        _, payment, _, _, infos = self._oversight.step(*(self._taken or [action]))
        self.payment = np.atleast_1d(payment)
        observations, rewards, terminated, *rest = self._memory.last_step
        # the flag of an episode's last step is in final_info; beside it, that of the next is False
        last = infos.get("final_info", infos)
        observed = np.atleast_1d(infos["observed"] | last["observed"])
        reports = np.where(last["observed"], last["observed_reward"], infos["observed_reward"])
        self.reports = np.where(observed, np.atleast_1d(reports), np.nan)
        hidden = np.atleast_1d(terminated) & ~observed if self._pays_at_ends else ~observed
        true = np.atleast_1d(np.asarray(rewards, dtype=np.float64))
        tampered = np.where(hidden, self._tamper(true, self._generator), true)
        self._on_rewards(observed, hidden, tampered)
        paid = float(tampered[0]) if self._single else tampered
        return observations, paid, terminated, *rest


class Tampered(Tampers, gym.Wrapper[Any, Any, Any, Any]):
    """A single environment with tampered rewards wherever a step is not observed."""


class TamperedVector(Tampers, VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment with tampered rewards wherever a step is not observed.

    It works in all autoreset modes.
    """


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
    return _SingleMemory(hidden, taken) if single else _VectorMemory(hidden, taken)
