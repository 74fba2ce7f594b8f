"""NormalizeObservedReward for vector environments: one scale for all lanes."""

from collections.abc import Sequence
from typing import Any

from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.wrappers.normalize_observed_reward import ObservedReturn, missing_infos
from envs.wrappers.vector.infos import Arrays, StatefulWrapper, parse_step_infos


class NormalizeObservedReward(StatefulWrapper, RecordConstructorArgs):
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
        ValueError: If `gamma` does not lie in [0, 1], or, from `step`, if infos lack `observed`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, gamma: float = 0.99) -> None:
        RecordConstructorArgs.__init__(self, gamma=gamma)
        StatefulWrapper.__init__(self, env)
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
        self._started = True
        self.returns.end((options or {}).get("reset_mask", slice(None)))
        return self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step every lane, update the statistics, and divide the rewards."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated
        if "observed" not in infos:
            raise ValueError(missing_infos(self.env))
        reset = ended if self._same_step and ended.any() else None
        observed, seen = parse_step_infos(infos, reset)
        self.returns.add(observed, seen, self.update_running_mean)
        self.returns.end(ended)
        return observations, rewards / self.scale, terminated, truncated, infos

    def _own_state(self) -> Arrays:
        return {
            "observed_return": self.returns.running,
            "return_statistics": self.returns.statistics,  # of all lanes together
        }
