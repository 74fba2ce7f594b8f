"""NormalizeObservedReward: a scale of rewards that does not depend on how much is observed."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from envs.wrappers.checks import if_given

Mask = NDArray[np.bool_]
COUNT, MEAN, SQUARES = range(3)


class ObservedReturn:
    """The discounted sum of each lane's observed rewards, and the deviation of all sums so far.

    Hidden steps are skipped: they neither discount nor count.

    Args:
        lanes: Number of lanes.
        gamma: Discount factor, in [0, 1].

    Raises:
        ValueError: If the discount factor is out of its range.

    >>> returns, observed = ObservedReturn(1, gamma=0.5), np.array([True])
    >>> for reward in (4.0, 2.0):  # sums of 4 and of 0.5 * 4 + 2
    ...     returns.add(observed, np.array([reward]))
    >>> returns.scale
    1.0
    >>> returns.add(observed, np.array([8.0]))  # a sum of 10
    >>> round(returns.scale ** 2, 9)
    8.0
    """

    def __init__(self, lanes: int, gamma: float) -> None:
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must lie in [0, 1], got {gamma}")
        self.gamma = gamma
        self.running = np.zeros(lanes)
        self.statistics = np.zeros(3)  # count of the sums, their mean, sum of squared deviations

    @property
    def scale(self) -> float:
        """The standard deviation of the sums, or 1.0 while all of them are equal."""
        count, _, squares = self.statistics.tolist()
        return float(np.sqrt(squares / count)) if squares > 0 else 1.0

    def add(self, observed: Mask, rewards: NDArray[Any], count: bool = True) -> None:
        """Add one step's observed rewards to the sums, and the sums to the statistics.

        Args:
            observed: Whether each lane's step was observed, [n].
            rewards: The observed rewards, [n]; those of other lanes are not read.
            count: Whether the statistics are updated.
        """
        lanes = observed.nonzero()[0]
        if not lanes.size:
            return
        sums = self.running[lanes] * self.gamma + rewards[lanes]
        self.running[lanes] = sums
        if count:
            self._merge(sums)

    def end(self, lanes: Mask | slice) -> None:
        """Begin new sums in some lanes."""
        self.running[lanes] = 0.0

    def _merge(self, sums: NDArray[np.float64]) -> None:
        """Add a batch to the statistics (Chan, Golub and LeVeque 1983)."""
        count, mean, squares = self.statistics.tolist()
        total = count + sums.size
        distance = sums.mean() - mean
        self.statistics[COUNT] = total
        self.statistics[MEAN] = mean + distance * sums.size / total
        within = np.square(sums - sums.mean()).sum()
        self.statistics[SQUARES] = squares + within + distance**2 * count * sums.size / total


class NormalizeObservedReward(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Divides rewards by the standard deviation of the discounted return of observed steps.

    Outside `PartialOversight`, Gymnasium's `NormalizeReward` also counts the zeros of hidden steps:
    the less is observed, the smaller the deviation, and the larger the rewards that it pays, so
    that an experiment which varies oversight also varies the step size. This wrapper skips hidden
    steps: they neither discount the return nor count. With oversight by episode the scale equals
    that of full oversight; with oversight by step a return has fewer terms, and so is smaller.

    All rewards are divided, also those of hidden steps. `info` is unchanged: `observed_reward` is
    not divided. The scale is 1 until two returns differ.

    Args:
        env: An environment whose `info` says what was observed: `PartialOversight(env)` or
            `PartialGrid-v0`.
        gamma: Discount factor of the return.

    Attributes:
        update_running_mean: If set to False, the scale stays fixed, as for an evaluation.

    Raises:
        ValueError: If `gamma` does not lie in [0, 1], or, from `step`, if `info` lacks `observed`.

    >>> from envs import PartialOversight
    >>> env = PartialOversight(gym.make("CartPole-v1"), observed_probability=1.0)
    >>> env = NormalizeObservedReward(env, gamma=1.0)
    >>> _ = env.reset(seed=0)
    >>> [env.step(0)[1] for _ in range(3)]  # returns of 1, then 2, then 3
    [1.0, 2.0, 1.224744871391589]
    """

    def __init__(self, env: gym.Env[Any, Any], *, gamma: float = 0.99) -> None:
        RecordConstructorArgs.__init__(self, gamma=gamma)
        gym.Wrapper.__init__(self, env)
        self.update_running_mean = True
        self.returns = ObservedReturn(1, gamma)

    @property
    def scale(self) -> float:
        """The divisor of rewards."""
        return self.returns.scale

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; the scale is kept."""
        self.returns.end(slice(None))
        return self.env.reset(seed=seed, **if_given(options))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Take a step, update the statistics if it was observed, and divide its reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "observed" not in info:
            raise ValueError(missing_infos(self.env))
        if info["observed"]:
            seen = np.array([float(info["observed_reward"])])
            self.returns.add(np.array([True]), seen, self.update_running_mean)
        return observation, float(reward) / self.scale, terminated, truncated, info


def missing_infos(env: object) -> str:
    """Return the error message for an environment whose info does not say what was observed."""
    return (
        f"NormalizeObservedReward found no 'observed' in the info of {env}: wrap the environment "
        "as NormalizeObservedReward(PartialOversight(env))"
    )
