"""RoutedPPO: SB3's PPO with a route for every sample."""

from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.losses import objective_of
from agents.method import (
    AdvantageNormalization,
    Bootstrap,
    GradientClipping,
    Timeouts,
    check_normalization,
    check_propensity,
    require_choices,
    require_gates,
    require_rollout,
    table_of,
)
from agents.methods import METHODS, Method, resolve
from agents.policy import MotivationPolicy
from agents.reward_model import Labelled, RewardModel, labels_of, reward_source
from agents.rollout_buffer import RoutedBuffer, RoutedSamples
from agents.vec_env import adapted, require_arrays
from oversight.routing import Gate, RouteTable, routing, skip_unreached

PARTS = ("modules", "mixture", "trunk", "has_reward_map")
Statistics = dict[str, list[Tensor]]


class RoutedPPO(PPO):
    """Proximal policy optimization whose gradients follow a route table.

    The environment pays the reward that `method.reward` names, and says in `info` what the
    overseer saw (`observed`, `observed_reward`); nothing else of it is read. With a policy without
    gates and a table of ones it is SB3's PPO, bit for bit. `save`, callbacks and `evaluate_policy`
    work as in SB3.

    `RoutedPPO.load` is SB3's own and unpickles: load only files that you trust. For a run folder
    of somebody else use `oversight.evaluate`, which reads weights alone.

    Args:
        policy: "MotivationPolicy", or any SB3 actor-critic policy for a table of ones.
        env: a Gymnasium environment or vector environment, or an SB3 one.
        method: a `Method` or the name of one.
        mixture_coef: weight of the loss that teaches the mixture.
        timeouts: the route of an unobserved episode that a time limit or the end of the rollout
            cuts. `open`: unfinished episodes earn nothing, so that nothing was hidden. `hidden`:
            every step may pay, so that rewards were hidden.
        advantage_normalization: whose mean and deviation normalize advantages: `all` samples of
            the minibatch as in SB3, the `observed` ones, each `route` its own, or `none`; see
            `agents.losses.normalized`. `normalize_advantage=False` is `none` as well.
        gradient_clipping: `global`, one norm over all parameters as in SB3, or `target`: one norm
            for each target, so that no module's gradient shrinks another's.
        bootstrap: after which time limits the critic's value of the last observation is added to
            the reward: `always` as in SB3, after `observed` episodes only, or `never`. The end of
            a rollout is bootstrapped in any case.
        propensity: chance that the end of an episode is observed, by design: the chance with which
            `filtered-coin` and `oracle-sampled` keep an episode, and by which `ipw` divides. Other
            methods do not read it.
        agent_channel: the channel of an observation that shows where the agent is, for methods
            that score each position; see `RewardMap`.
        **kwargs: as for `PPO`.

    Raises:
        ValueError: if a batch is larger than a rollout, or the policy has no gates for the table.

    >>> import envs, gymnasium as gym
    >>> env = gym.make_vec("PartialGrid-v0", num_envs=8)
    >>> agent = RoutedPPO("MotivationPolicy", env, "routed", n_steps=8, batch_size=64, seed=0)
    >>> agent.learn(128).deployed().module_names
    ('goal',)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        **PPO.policy_aliases,
        "MotivationPolicy": MotivationPolicy,
    }
    rollout_buffer: RoutedBuffer

    def __init__(  # noqa: PLR0913 (SB3 passes flat keyword arguments)
        self,
        policy: str | type[BasePolicy] = "MotivationPolicy",
        env: GymEnv | VectorEnv[Any, Any, Any] | str | None = None,
        method: Method | str = METHODS["routed"],
        mixture_coef: float = 0.1,
        *,
        timeouts: Timeouts = "open",
        advantage_normalization: AdvantageNormalization = "all",
        gradient_clipping: GradientClipping = "global",
        bootstrap: Bootstrap = "always",
        propensity: float | None = None,
        agent_channel: int | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.method = resolve(method)
        self.mixture_coef, self.agent_channel = mixture_coef, agent_channel
        self.propensity = check_propensity(self.method, propensity)
        require_choices(gradient_clipping=gradient_clipping, bootstrap=bootstrap)
        self.advantage_normalization = check_normalization(advantage_normalization, kwargs)
        self.gradient_clipping, self.bootstrap = gradient_clipping, bootstrap
        chosen = self.policy_aliases.get(policy) if isinstance(policy, str) else policy
        if chosen is not None and issubclass(chosen, MotivationPolicy):
            named = {part: getattr(self.method, part) for part in PARTS} | {
                "agent_channel": agent_channel
            }
            kwargs["policy_kwargs"] = named | (kwargs.get("policy_kwargs") or {})
        kwargs["rollout_buffer_class"] = RoutedBuffer
        kwargs["rollout_buffer_kwargs"] = {
            "seed": kwargs.get("seed"),
            "timeouts": timeouts,
            "selection": self.method.selection,
            "propensity": self.propensity,
        }
        # SB3's annotations leave out None, which `load` passes, and vector environments
        super().__init__(policy, env, **kwargs)  # type: ignore[arg-type]

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:  # noqa: ANN401
        wrapped = PPO._wrap_env(adapted(env), verbose, monitor_wrapper)
        require_arrays(wrapped.observation_space)
        return wrapped

    def _setup_model(self) -> None:
        require_rollout(self.batch_size, self.n_steps, self.n_envs)
        super()._setup_model()
        self.routed = any(isinstance(module, Gate) for module in self.policy.modules())
        timeouts = self.rollout_buffer_kwargs["timeouts"]
        own, space = getattr(self.policy, "reward_map", None), self.observation_space
        self.guess = reward_source(self.method, space, self.seed, timeouts, self.agent_channel, own)
        require_gates(self.method, self.policy, self.routed)

    def _update_info_buffer(
        self, infos: list[dict[str, Any]], dones: NDArray[Any] | None = None
    ) -> None:
        # SB3 calls this once per step, between the environment's step and the buffer's `add`
        super()._update_info_buffer(infos, dones)
        assert dones is not None, "SB3's rollout loop passes the flags of the step"
        assert self._last_episode_starts is not None
        self.rollout_buffer.label(infos, dones, self._last_episode_starts)
        if self.bootstrap != "always":
            observed = self.rollout_buffer.outcomes.observed & (self.bootstrap == "observed")
            for lane in np.flatnonzero(dones & ~observed):
                # SB3 adds the value of this observation to the reward, if there is one
                infos[lane].pop("terminal_observation", None)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout as SB3 does, of the rewards that the method learns from."""
        if self.guess is not None:
            env = Labelled(env, labels_of(self.method, self.guess), self.rollout_buffer)
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)

    def train(self) -> None:
        """Update the policy from the rollout, each sample along its route."""
        self.table = table_of(self.method, self.rollout_buffer.routes, self.propensity)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        statistics: Statistics = defaultdict(list)
        for _ in range(self.n_epochs):
            stopped = self._epoch(statistics)
            self._n_updates += 1
            if stopped:
                break
        self._record(statistics)
        if isinstance(self.guess, RewardModel):
            self.guess.fit()  # last: it may be a part of the policy, which has now been updated

    def _epoch(self, statistics: Statistics) -> bool:
        """Pass over the rollout once; return whether the policy moved too far to go on."""
        parts = self._clipped_together()
        for samples in self.rollout_buffer.get(self.batch_size):
            with self._routing(samples.routes):
                terms = objective_of(self).terms(self.policy, samples)
                for name, term in terms.items():
                    statistics[name].append(term.detach())
                if self.target_kl is not None and terms["approx_kl"] > 1.5 * self.target_kl:
                    return True
                self.policy.optimizer.zero_grad()
                terms["loss"].backward()  # type: ignore[no-untyped-call]
            self._learn_from_proxy(samples, statistics)
            if self.routed:
                skip_unreached(self.policy.optimizer)
            for part in parts:
                nn.utils.clip_grad_norm_(part, self.max_grad_norm)
            self.policy.optimizer.step()
        return False

    def _clipped_together(self) -> list[list[nn.Parameter]]:
        if self.gradient_clipping == "global":
            return [list(self.policy.parameters())]
        return [group["params"] for group in self.policy.optimizer.param_groups]

    def _learn_from_proxy(self, samples: RoutedSamples, statistics: Statistics) -> None:
        """Add the gradient of the second policy loss, where the method has one."""
        table = self.method.proxy_table
        if table is None:
            return
        if len(rows := table.rows(samples.routes).any(-1).nonzero().squeeze(-1)):
            with self._routing(samples.routes.index_select(0, rows), table):
                loss = objective_of(self).proxy_term(self.policy, samples, rows)
                loss.backward()  # type: ignore[no-untyped-call]
            statistics["proxy_loss"].append(loss.detach())

    def _routing(
        self, routes: Tensor, table: RouteTable | None = None
    ) -> AbstractContextManager[None]:
        return routing(self.policy, table or self.table, routes) if self.routed else nullcontext()

    def _record(self, statistics: Statistics) -> None:
        for name, terms in statistics.items():
            self.logger.record(f"train/{name}", torch.stack(terms).mean().item())
        used, buffer = self.rollout_buffer.used(), self.rollout_buffer
        explained = explained_variance(buffer.values[used], buffer.returns[used])
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "guess"]  # `load` builds a new one

    def deployed(self) -> MotivationPolicy:
        """Return the policy to deploy: the designated module alone."""
        return self.with_module(self.method.deployed)

    def with_module(self, name: str) -> MotivationPolicy:
        """Return a policy in which the named motivation module is the only one.

        Raises:
            ValueError: if the policy has no such module.
        """
        if not isinstance(self.policy, MotivationPolicy):
            raise ValueError(f"{type(self.policy).__name__} has no motivation modules")
        return self.policy.alone(name)
