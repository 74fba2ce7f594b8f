"""NormalizeObservedReward for vector environments: one scale for all lanes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from envs.wrappers.normalize_observed_reward import ObservedReturn, missing_infos
from envs.wrappers.vector.infos import parse_infos


class NormalizeObservedReward(VectorWrapper[Any, Any, Any, Any, Any], RecordConstructorArgs):
    """Divides rewards by the standard deviation of the discounted return of observed steps.

    One lane equals `envs.wrappers.NormalizeObservedReward`. The lanes share their statistics and
    so the scale. Every autoreset mode is kept; a step that only resets is not observed, and so is
    skipped.

    Args:
        env: A vector environment whose `infos` say what was observed:
            `vector.PartialOversight(env)`, lanes of `PartialOversight`, or `PartialGrid-v0`.
        gamma: Discount factor of the return.

    Attributes:
        update_running_mean: If set to False, the scale stays fixed, as for an evaluation.

    Raises:
        ValueError: As for the single wrapper.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, gamma: float = 0.99) -> None:
        RecordConstructorArgs.__init__(self, gamma=gamma)
        VectorWrapper.__init__(self, env)
        self.update_running_mean = True
        self.returns = ObservedReturn(env.num_envs, gamma)
        self._same_step = env.metadata.get("autoreset_mode") is AutoresetMode.SAME_STEP

    @property
    def scale(self) -> float:
        """The divisor of rewards."""
        return self.returns.scale

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every lane, or in those of `reset_mask`; the scale is kept."""
        self.returns.end((options or {}).get("reset_mask", slice(None)))
        return self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step every lane, update the statistics, and divide the rewards."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated
        if "observed" not in infos:
            raise ValueError(missing_infos(self.env))
        observed, seen = parse_infos(infos)
        if self._same_step and ended.any():
            last, seen_last = parse_infos(infos["final_info"])
            observed, seen = np.where(ended, last, observed), np.where(ended, seen_last, seen)
        self.returns.add(observed, seen, self.update_running_mean)
        self.returns.end(ended)
        return observations, rewards / self.scale, terminated, truncated, infos

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Copy the environment's state, which it must have, and the statistics."""
        state: dict[str, NDArray[Any]] = self.env.get_state()  # type: ignore[attr-defined]
        return {**state, **self.returns.get_state()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue exactly where `get_state` was called."""
        self.env.set_state(self.returns.set_state(state))  # type: ignore[attr-defined]
