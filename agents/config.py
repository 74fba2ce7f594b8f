"""Settings of routed PPO, in one frozen record beside the code that reads them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOConfig:
    """Hyperparameters of PPO and of the motivation network."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of each motivation module, of the mixture and of the critic."""
    n_steps: int = 64
    """Steps per environment in one rollout; an episode cut by its end counts as unobserved."""
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
    """Largest norm of the whole gradient."""

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
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes must be positive widths, got {self.hidden_sizes}")


def _require_positive(config: PPOConfig, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise ValueError(f"{name} must be finite and positive, got {getattr(config, name)}")
