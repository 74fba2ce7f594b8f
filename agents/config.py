"""The settings of routed PPO: its choices beyond stock PPO, and one frozen record of them all."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Timeouts = Literal["open", "hidden"]
AdvantageNormalization = Literal["all", "observed", "route", "none"]
GradientClipping = Literal["global", "target"]
Bootstrap = Literal["always", "observed", "never"]

CHOICES: dict[str, Any] = {
    "timeouts": Timeouts,
    "advantage_normalization": AdvantageNormalization,
    "gradient_clipping": GradientClipping,
    "bootstrap": Bootstrap,
}
"""Where stock PPO couples hidden samples to observed ones, and what may be done instead."""


def require_choices(**chosen: str) -> None:
    """Raise a ValueError for an option with a value that it does not have.

    >>> require_choices(bootstrap="sometimes")
    Traceback (most recent call last):
    ValueError: bootstrap must be always, observed or never, got 'sometimes'
    """
    for name, value in chosen.items():
        *allowed, last = get_args(CHOICES[name])
        if value not in (*allowed, last):
            raise ValueError(f"{name} must be {', '.join(allowed)} or {last}, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOConfig:
    """Hyperparameters of PPO and of the motivation network."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of each motivation module, of the mixture and of the critic."""
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
    mixture_coef: float = 0.1
    """Weight of the loss that teaches the mixture which outcome an observed episode had."""
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
