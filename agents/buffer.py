"""A rollout buffer that knows the route of every step once its episode has ended."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from agents.definition import Selection
from agents.options import Timeouts
from agents.outcomes import Outcomes
from agents.routes import UNRESOLVED, UNUSED, write_back
from agents.selection import selected


class RoutedSamples(NamedTuple):
    """SB3's rollout samples and, beside them, what routed PPO knows of each, [batch].

    `routes` are numbers of `ROUTES`, int64; `proxies` are the advantages of the reward paid, where
    the others are those of the labels put in its place.
    """

    observations: Tensor
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    proxies: Tensor
    routes: Tensor


class RoutedBuffer(RolloutBuffer):
    """SB3's buffer with a route per step, and minibatches drawn from a generator of its own.

    Args:
        *args: as for `RolloutBuffer`.
        seed: of the order of minibatches. The legacy generator is SB3's own, so that with the same
            seed both draw the same minibatches.
        timeouts: as for `Outcomes`.
        selection, propensity: as for `selected`, which draws from the same generator.
        **kwargs: as for `RolloutBuffer`.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        seed: int | None = None,
        timeouts: Timeouts = "open",
        selection: Selection = "outcome",
        propensity: float | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.order = np.random.RandomState(seed)
        self.selection: Selection = selection
        self.propensity = propensity
        super().__init__(*args, **kwargs)
        self.outcomes = Outcomes(self.n_envs, timeouts)

    def reset(self) -> None:
        """Empty the buffer; no route is known, and nothing is put aside."""
        self.aside = np.zeros((self.buffer_size, self.n_envs), dtype=np.float32)
        self.last_route = np.full((self.buffer_size, self.n_envs), UNRESOLVED, dtype=np.int8)
        self._taken: tuple[NDArray[np.int8], NDArray[np.int8]] | None = None
        super().reset()

    def label(
        self,
        infos: Sequence[Mapping[str, Any]],
        dones: NDArray[np.bool_],
        starts: NDArray[np.bool_],
    ) -> None:
        """Note what was seen of the step of the coming `add`, and the routes of episodes it ends.

        Args:
            infos: of the step, one for each lane.
            dones: whether the step ended the episode, [lanes].
            starts: whether the step was the first of its episode, [lanes].
        """
        self.last_route[self.pos] = self.outcomes.step(infos, dones, starts)

    def routes(self) -> NDArray[np.int8]:
        """Return the route of every step of a full buffer, [steps, lanes].

        `UNUSED` marks the steps that only reset a lane, which `get` leaves out.
        """
        if self._taken is not None:
            return write_back(*self._taken)
        return write_back(self.last_route, self.outcomes.unfinished())

    def compute_returns_and_advantage(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Compute returns and advantages as SB3 does, and settle which route each episode takes."""
        super().compute_returns_and_advantage(*args, **kwargs)
        self.proxies = self.advantages
        if self.aside.any():
            self.proxies = self.advantages + self._traced(self.aside)
        if self.selection != "outcome":
            outcomes = self.last_route, self.outcomes.unfinished()
            self._taken = selected(*outcomes, self.selection, self.order, self.propensity)

    def _traced(self, rewards: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what rewards add to the advantages, which are linear in them, [steps, lanes]."""
        traces, trace = np.empty_like(rewards), np.zeros_like(rewards[0])
        goes_on = 1 - np.append(self.episode_starts[1:], np.zeros_like(rewards[:1]), axis=0)
        for step in reversed(range(len(rewards))):
            trace = rewards[step] + self.gamma * self.gae_lambda * goes_on[step] * trace
            traces[step] = trace
        return traces

    def add(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Store one step of every lane.

        Raises:
            ValueError: if an observation or a reward is not finite.
        """
        step = self.pos
        super().add(*args, **kwargs)
        _require_finite("an observation", self.observations[step])
        _require_finite("a reward", self.rewards[step])

    def get(self, batch_size: int | None = None) -> Generator[RoutedSamples, None, None]:  # type: ignore[override]
        """Yield the rollout once, in shuffled minibatches."""
        assert self.full, "the rollout is not complete"
        tensors = self._flat()
        total = self.buffer_size * self.n_envs
        order = torch.from_numpy(self.order.permutation(total)).to(self.device)
        used = tensors.routes.index_select(0, order) != UNUSED
        order = order if used.all() else order[used]
        for rows in torch.split(order, batch_size or total):
            if len(rows):
                yield RoutedSamples(*(tensor.index_select(0, rows) for tensor in tensors))

    def used(self) -> NDArray[np.bool_]:
        """Return which steps are data, [steps, lanes]."""
        used: NDArray[np.bool_] = self.last_route != UNUSED
        return used

    def _flat(self) -> RoutedSamples:
        """Return the whole rollout as tensors, lane after lane as SB3 orders it."""
        arrays = (self.observations, self.actions.astype(np.float32, copy=False))
        scalars = (self.values, self.log_probs, self.advantages, self.returns, self.proxies)
        routes = self.routes().astype(np.int64)
        return RoutedSamples(
            *(self.to_torch(self.swap_and_flatten(array)) for array in arrays),
            *(
                self.to_torch(self.swap_and_flatten(array).flatten())
                for array in (*scalars, routes)
            ),
        )


def _require_finite(what: str, values: NDArray[Any]) -> None:
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        lane = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(
            f"the environment gave {what} that is NaN or infinite in lane {lane}: hide rewards by "
            "paying 0.0 or a proxy, with info['observed'] = False"
        )
