"""RoutedPPO: SB3's PPO with a route for every sample, and its settings.

It differs from SB3's PPO in three places: a rollout step labels routes and pays what the method
learns from (`RolloutEnv`), an update weights each sample's gradient by its route, and choices in
which stock PPO couples hidden samples to observed ones are options.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.boards import CenteredBoard, ScoreMapFeatures, require_boards
from agents.losses import AdvantageNormalization, Objective
from agents.method_definition import Method
from agents.methods import METHODS, resolve
from agents.policy import MotivationPolicy
from agents.policy_arguments import (
    check_convolutions,
    check_widths,
    policy_class,
    require_fit,
)
from agents.ppo_arguments import (
    TIMESTEPS,
    buffer_class,
    check_normalization,
    fitting_buffer,
    policy_arguments,
    refusals_of_parts,
    refusals_of_sb3,
    require_batch_size,
    require_names,
    require_parts,
    require_propensity,
    require_rollout,
    require_settings,
    reward_source,
)
from agents.reward_model import Learner
from agents.rollout_buffer import (
    RoutedBuffer,
    RoutedSamples,
    Timeouts,
    in_route_order,
    require_choice,
)
from agents.rollout_env import (
    Bootstrap,
    RolloutEnv,
    require_reward,
    warn_of_no_oversight,
    warn_of_normalized_rewards,
)
from agents.spaces import (
    require_finite_observations,
    require_spaces,
    require_start_of_zero,
    to_environment,
)
from agents.vec_env import adapted, require_env
from oversight.routing import Gate, RouteTable, routing, skip_unreached
from oversight.runs.settings import POSITIVE, require_number

Statistics = dict[str, list[Tensor]]
GradientClipping = Literal["global", "target"]

CHOICES: dict[str, Any] = {
    "timeouts": Timeouts,
    "advantage_normalization": AdvantageNormalization,
    "gradient_clipping": GradientClipping,
    "bootstrap": Bootstrap,
}
"""Where stock PPO couples hidden samples to observed ones, and what may be done instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOConfig:
    """Hyperparameters of PPO and of the motivation network."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of each motivation module, of the mixture and of the critic."""
    conv_channels: tuple[int, ...] = ()
    """Channels of 3 x 3 convolutions that read observations which are stacks of planes, such as
    16 16, below all modules and the critic. By default observations are flattened. Centered boards
    are read without them."""
    centered: bool = False
    """Whether observations that are stacks of planes are shown centered on the agent, whose channel
    is found by what moves."""
    masked_channels: tuple[int, ...] = ()
    """Channels of an observation, along its first axis, that the motivation modules do not see: 3
    is the plane of oversight of PartialGrid-v0. The mixture and the critic see all of them."""
    agent_channel: int | None = None
    """Channel of an observation, along its first axis, that shows where the agent is: 0 in
    PartialGrid-v0, where a run sets it. With it the methods that score positions, reward-map and
    imputed-map, score each one by itself; without it, observations as a whole."""
    n_steps: int = 64
    """Steps per environment in one rollout; an episode that the rollout's end cuts is labeled by
    what was observed of it up to there."""
    batch_size: int = 512
    """Samples per minibatch; at most num_envs x n_steps."""
    n_epochs: int = 1
    """Passes over each rollout."""
    learning_rate: float = 2.5e-3
    """Step size of Adam at the start."""
    anneal: bool = True
    """Whether the learning rate falls linearly to zero over the run."""
    gamma: float = 0.97
    """Discount factor, the paper's."""
    gae_lambda: float = 0.9
    """Trade-off of bias and variance in generalized advantage estimation."""
    clip_range: float = 0.1
    """How far the probability ratio may move before its gradient is clipped."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    mixture_coef: float = 0.05
    """Weight of the loss that teaches the mixture which outcome an observed episode had."""
    kl_coef: float = 0.1
    """Weight of the divergence of the policy from the reference of the method kl."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient, or of each target's."""
    advantage_normalization: AdvantageNormalization = "all"
    """Which samples' mean and deviation normalize advantages. all: the whole minibatch, as in SB3;
    then observed samples shift and scale hidden ones, and the reverse. observed: the observed
    samples, for all; route: the samples of the same route; none: no normalization."""
    gradient_clipping: GradientClipping = "global"
    """What max_grad_norm bounds. global: one norm over all parameters, as in SB3, so that a large
    gradient of one module shrinks those of the others; target: the norm of each target's gradient
    by itself."""
    bootstrap: Bootstrap = "always"
    """After which time limits the critic's value is added to the reward. always: as in SB3, which
    pays hidden episodes a reward that nobody observed; observed: only if the episode was observed;
    never."""
    timeouts: Timeouts = "open"
    """Route of an unobserved episode that a time limit or the end of the rollout cuts. open: right
    where only the end of an episode pays, so that nothing was hidden; hidden: right where every
    step pays, since hidden rewards, paid as zeros, would otherwise teach like observed ones."""
    propensity: float | None = None
    """Probability that the end of an episode is observed, for the methods that need it. By default
    that of the run's oversight, where the run sets it."""

    def __post_init__(self) -> None:
        """Refuse what no PPO can run on."""
        for name in ("learning_rate", "max_grad_norm"):  # which RoutedPPO may switch off
            require_number(name, getattr(self, name), POSITIVE)
        require_settings(asdict(self))
        for name, choices in CHOICES.items():
            require_choice(name, getattr(self, name), choices)
        check_widths("hidden_sizes", self.hidden_sizes)
        check_convolutions(self.conv_channels)


class RoutedPPO(PPO):
    """Proximal policy optimization whose gradients follow a route table.

    The environment pays the reward that `method.reward` names, and says in `info` what the
    overseer observed (`observed`, `observed_reward`); nothing else of it is read. With a policy
    without gates and a table of ones it is SB3's PPO, bit for bit. `save`, callbacks and
    `evaluate_policy` work as in SB3.

    `RoutedPPO.load` is SB3's own and unpickles: load only files that you trust. For a run folder
    of somebody else use `oversight.evaluate`, which reads weights alone.

    Args:
        policy: "MotivationPolicy", or any SB3 actor-critic policy for a table of ones.
        env: a Gymnasium environment or vector environment, or an SB3 one.
        method: a `Method` or the name of one.
        mixture_coef: as in `PPOConfig`.
        kl_coef: as in `PPOConfig`.
        timeouts: as in `PPOConfig`.
        advantage_normalization: as in `PPOConfig`; see `agents.losses.normalized`. SB3's
            `normalize_advantage=False` is `none` as well.
        gradient_clipping: as in `PPOConfig`.
        bootstrap: as in `PPOConfig`. The end of a rollout is bootstrapped in any case.
        propensity: as in `PPOConfig`: `filtered-coin` and `oracle-sampled` keep an episode with
            this probability, `ipw` divides by it, and other methods do not read it.
        agent_channel: as in `PPOConfig`; see `RewardMap`.
        **kwargs: as for `PPO`. A `rollout_buffer_class` must be a subclass of `RoutedBuffer`, and
            `rollout_buffer_kwargs` are its further arguments.

    Warns:
        UserWarning: once, after the first rollout in which no info says `observed`, unless nothing
            that is observed changes what is learned, as with `naive` and `oracle`.

    Raises:
        ValueError: if an argument is out of its range, a batch is larger than a rollout, the gates
            of the policy are not the targets of the table, or the environment says that it pays
            another reward than `method.reward`, as `envs.PartialOversight` does.

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
        mixture_coef: float = 0.05,
        *,
        kl_coef: float = 0.1,
        timeouts: Timeouts = "open",
        advantage_normalization: AdvantageNormalization = "all",
        gradient_clipping: GradientClipping = "global",
        bootstrap: Bootstrap = "always",
        propensity: float | None = None,
        agent_channel: int | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.method, self.propensity, self.timeouts = resolve(method), propensity, timeouts
        self.mixture_coef, self.kl_coef = mixture_coef, kl_coef
        self.agent_channel = agent_channel
        self.advantage_normalization = check_normalization(advantage_normalization, kwargs)
        self.gradient_clipping, self.bootstrap = gradient_clipping, bootstrap
        self._check_settings(kwargs)
        self._warned_of_no_oversight = False
        normalizes = kwargs.get("normalize_advantage", True)
        normalization: AdvantageNormalization = (
            self.advantage_normalization if normalizes else "none"
        )
        require_batch_size(kwargs.get("batch_size", 64), normalization)
        chosen, given = policy_class(policy, self.policy_aliases), policy_arguments(kwargs)
        if issubclass(chosen, MotivationPolicy):
            parts = asdict(self.method.network) | {"agent_channel": agent_channel}
            kwargs["policy_kwargs"] = parts | given
        kwargs["rollout_buffer_class"] = buffer_class(kwargs)
        with refusals_of_sb3():
            # SB3's annotations leave out None, which `load` passes, and vector environments
            super().__init__(policy, env, **kwargs)  # type: ignore[arg-type]
        if self.env is not None and kwargs.get("_init_setup_model", True):
            require_reward(self.method, self.env)

    def _check_settings(self, further: Mapping[str, Any] | None = None) -> None:
        """Refuse settings out of their range, none of their choices, or that the method lacks."""
        for name, choices in CHOICES.items():
            require_choice(name, getattr(self, name), choices)
        require_settings(vars(self) | dict(further or {}))
        require_propensity(self.method, self.propensity)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:  # noqa: ANN401
        env = adapted(require_env(env), marks_resets=True)
        require_spaces(env.observation_space, env.action_space)
        return PPO._wrap_env(env, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        self.method = resolve(self.method)  # `load` replaces attributes by what it is given
        self._check_settings()
        if self.method.network.score_maps:
            require_boards(self.observation_space)
        require_rollout(self.batch_size, self.n_steps, self.n_envs)
        if not issubclass(self.policy_class, MotivationPolicy):
            require_fit(self.policy_class, self.observation_space, self.policy_kwargs)
            name = self.policy_class.__name__
            require_start_of_zero(name, self.observation_space, self.action_space)
        self.rollout_buffer_class = fitting_buffer(
            self.rollout_buffer_class, self.observation_space
        )
        self.rollout_buffer_kwargs = {
            **self.rollout_buffer_kwargs,
            "seed": self.seed,
            "timeouts": self.timeouts,
            "assignment": self.method.assignment,
            "propensity": self.propensity,
            "scored": bool(self.method.network.score_maps),
        }
        if self.seed is not None:  # SB3's CNN samples it, to learn the size of its output
            self.observation_space.seed(self.seed)
        with refusals_of_parts():
            super()._setup_model()
        gates = [module for module in self.policy.modules() if isinstance(module, Gate)]
        self.routed = bool(gates)
        reward_map = getattr(self.policy, "reward_map", None)
        features = getattr(self.policy, "features_extractor", None)
        require_parts(self.method, self.policy, gates, reward_map is not None)
        learner = Learner(
            observation_space=self.observation_space,
            seed=self.seed,
            timeouts=self.timeouts,
            agent_channel=self.agent_channel,
            table=self.method.table,
            reward_map=reward_map,
            score_maps=features if isinstance(features, ScoreMapFeatures) else None,
        )
        self.reward_source = reward_source(self.method, learner)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout as SB3 does, with a route for each step, of the method's rewards."""
        starts, source = self._last_episode_starts, self.reward_source
        assert starts is not None, "SB3's learn resets the environment first"
        require_finite_observations("an observation of the environment", self._last_obs)
        self._last_obs = source.show(self._last_obs)
        rollout = RolloutEnv(env, source, self.rollout_buffer, starts, self.bootstrap)
        features = getattr(self.policy, "features_extractor", None)
        if isinstance(features, CenteredBoard):
            rollout.watch_agent(features.agent, self._last_obs)
        goes_on = super().collect_rollouts(rollout, callback, rollout_buffer, n_rollout_steps)
        may_warn = self._reads_oversight() and not self._warned_of_no_oversight
        if may_warn and rollout.never_says_observed():
            self._warned_of_no_oversight = True
            warn_of_no_oversight(self.method)
        return goes_on

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: Any = None) -> None:  # noqa: ANN401 (as in SB3)
        """Read the infos of episodes as SB3 does, in the lanes that have any."""
        told = [lane for lane, info in enumerate(infos) if info]
        some = None if dones is None else dones[told]
        super()._update_info_buffer([infos[lane] for lane in told], some)

    def _reads_oversight(self) -> bool:
        """Return whether training would differ if other steps were observed."""
        normalized_by_it = self.advantage_normalization in ("observed", "route")
        by_settings = normalized_by_it or self.bootstrap == "observed"
        return self.method.reward != "true" and (self.method.reads_oversight or by_settings)

    def _setup_learn(self, total_timesteps: int, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (as in SB3)
        """Check again what the environment pays, since `set_env` and `load` may have changed it."""
        require_number("total_timesteps", total_timesteps, TIMESTEPS)
        if self.env is not None:
            require_reward(self.method, self.env)
            warn_of_normalized_rewards(self.env)
        return super()._setup_learn(total_timesteps, *args, **kwargs)

    def set_env(self, env: Any, force_reset: bool = True) -> None:  # noqa: ANN401 (also vector ones)
        """Replace the environment as SB3 does, by one of as many lanes and the same spaces."""
        with refusals_of_sb3():
            super().set_env(env, force_reset)

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 (as in SB3)
        """Load an agent as SB3 does; further arguments replace settings, as `method` does."""
        require_names(cls, kwargs)
        if "advantage_normalization" in kwargs:
            check_normalization(kwargs["advantage_normalization"], kwargs)
        return super().load(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401 (as in SB3)
        """Return actions of the action space, and the state given; as in SB3."""
        actions, state = super().predict(*args, **kwargs)
        if not isinstance(self.policy, MotivationPolicy):  # which does so itself
            actions = to_environment(self.action_space, actions)
        return actions, state

    def train(self) -> None:
        """Update the policy from the rollout, each sample along its route."""
        self.table = self.method.table_for(self.rollout_buffer.routes, self.propensity)
        objective = self._objective()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        statistics: Statistics = defaultdict(list)
        for _ in range(self.n_epochs):
            stopped = self._epoch(objective, statistics)
            self._n_updates += 1
            if stopped:
                break
        self._record(statistics)
        # last, since it may fit a part of the policy, which the update above has read
        self.reward_source.fit()

    def _objective(self) -> Objective:
        """Return what the update minimizes; SB3, too, reads schedules once for all minibatches."""
        left, bound = self._current_progress_remaining, self.clip_range_vf
        return Objective(
            policy=self.policy,
            clip_range=self.clip_range(left),  # type: ignore[operator]
            clip_range_vf=None if bound is None else bound(left),  # type: ignore[operator]
            ent_coef=self.ent_coef,
            vf_coef=self.vf_coef,
            mixture_coef=self.mixture_coef,
            kl_coef=self.kl_coef,
            normalization=self.advantage_normalization if self.normalize_advantage else "none",
            auxiliary=self.method.auxiliary,
        )

    def _epoch(self, objective: Objective, statistics: Statistics) -> bool:
        """Pass over the rollout once; return whether the policy moved too far to continue."""
        parts = self._clipped_together()
        for samples in self.rollout_buffer.get(self.batch_size):
            with self._routing(samples.routes):
                terms = objective.terms(samples)
                for name, term in terms.items():
                    statistics[name].append(term.detach())
                # as in SB3, the minibatch that moves the policy too far is not learned from
                if self.target_kl is not None and terms["approx_kl"] > 1.5 * self.target_kl:
                    return True
                self.policy.optimizer.zero_grad()
                terms["loss"].backward()  # type: ignore[no-untyped-call]
            self._add_separate_gradients(objective, samples, statistics)
            if self.routed:
                # Adam's momentum would move a target that no sample of the minibatch reached
                skip_unreached(self.policy.optimizer)
            for part in parts:
                nn.utils.clip_grad_norm_(part, self.max_grad_norm)
            self.policy.optimizer.step()
        return False

    def _clipped_together(self) -> list[list[nn.Parameter]]:
        if self.gradient_clipping == "global":
            return [list(self.policy.parameters())]
        return [group["params"] for group in self.policy.optimizer.param_groups]

    def _add_separate_gradients(
        self, objective: Objective, samples: RoutedSamples, statistics: Statistics
    ) -> None:
        """Add the gradients of the losses that have a table of their own."""
        for auxiliary in objective.separate:
            rows = auxiliary.rows(self.policy, samples)
            if rows is None or not len(rows):
                continue
            with self._routing(samples.routes.index_select(0, rows), auxiliary.table):
                term, weight = auxiliary.weighted(objective, samples, rows)
                (weight * term).backward()  # type: ignore[no-untyped-call]
            statistics[auxiliary.name].append(term.detach())

    def _routing(
        self, routes: Tensor, table: RouteTable | None = None
    ) -> AbstractContextManager[None]:
        if not self.routed:
            return nullcontext()
        return routing(self.policy, in_route_order(table or self.table), routes)

    def _record(self, statistics: Statistics) -> None:
        for name, terms in statistics.items():
            self.logger.record(f"train/{name}", torch.stack(terms).mean().item())
        used, buffer = self.rollout_buffer.used(), self.rollout_buffer
        explained = explained_variance(buffer.values[used], buffer.returns[used])
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "reward_source"]  # `load` builds one

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
