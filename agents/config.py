"""Settings of routed PPO, in one frozen record beside the code that reads them."""

from dataclasses import dataclass

from agents.method import (
    CHOICES,
    AdvantageNormalization,
    Bootstrap,
    GradientClipping,
    Timeouts,
    require_choices,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOConfig:
    """Hyperparameters of PPO and of the motivation network."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of each motivation module, of the mixture and of the critic."""
    masked_channels: tuple[int, ...] = ()
    """Parts of an observation, along its first axis, that the motivation modules do not see: 3 is
    the plane of oversight of PartialGrid-v0. The mixture and the critic see all of it."""
    agent_channel: int | None = None
    """The plane of an observation, along its first axis, that says where the agent is: 0 in
    PartialGrid-v0, where a run sets it. With it the methods that judge places, reward-map and
    imputed-map, judge each by itself; without it, observations as a whole."""
    n_steps: int = 64
    """Steps per environment in one rollout; an episode cut by its end is judged as far as it was
    observed."""
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
    mixture_coef: float = 0.1
    """Weight of the loss that teaches the mixture which outcome an observed episode had."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient, or of each target's."""
    advantage_normalization: AdvantageNormalization = "all"
    """Whose mean and deviation normalize advantages. all: those of the whole minibatch, as in SB3;
    this pushes hidden samples of no advantage, and scales observed ones by the spread of hidden
    ones. observed: those of observed samples, for all; route: each route's own; none."""
    gradient_clipping: GradientClipping = "global"
    """What max_grad_norm bounds. global: one norm over all parameters, as in SB3, by which the
    gradient of one module shrinks that of another; target: the norm of each target by itself."""
    bootstrap: Bootstrap = "always"
    """After which time limits the critic's value is added to the reward. always: as in SB3, which
    pays hidden episodes what nobody saw; observed: only if the episode was observed; never."""
    timeouts: Timeouts = "open"
    """Route of an unobserved episode that a time limit or the end of the rollout cuts. open: right
    where only the end pays, so that nothing was hidden; hidden: right where every step pays, or
    hidden rewards, paid as zeros, would teach like observed ones."""
    propensity: float | None = None
    """Chance that the end of an episode is observed, for the methods that must know it. By default
    that of the run's oversight, where the run sets it."""

    def __post_init__(self) -> None:
        """Refuse what no PPO can run on."""
        _require_positive(self, "n_steps", "batch_size", "n_epochs", "learning_rate", "clip_range")
        _require_positive(self, "max_grad_norm")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("ent_coef", "vf_coef", "mixture_coef"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"{name} must be finite and not negative, got {getattr(self, name)}"
                )
        if self.propensity is not None and not 0 < self.propensity <= 1:
            raise ValueError(f"propensity must be above 0 and at most 1, got {self.propensity}")
        require_choices(**{name: getattr(self, name) for name in CHOICES})
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes must be positive widths, got {self.hidden_sizes}")


def _require_positive(config: PPOConfig, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise ValueError(f"{name} must be finite and positive, got {getattr(config, name)}")
