"""Presets of `python -m oversight.train`: one function per published run."""

from dataclasses import replace

from agents.config import PPOConfig
from oversight.config import TrainConfig


def default() -> TrainConfig:
    """Routed PPO at 10% oversight, in about a minute on two cores."""
    return TrainConfig()


def small() -> TrainConfig:
    """The default with modules of width 64: faster, and less reliable."""
    return TrainConfig(ppo=PPOConfig(hidden_sizes=(64, 64)))


def paper() -> TrainConfig:
    """The paper's routing, widths and REINFORCE-like update, at six times its learning rate."""
    # One batch of the whole rollout and one pass make PPO's loss that of REINFORCE with a baseline,
    # and lambda = 1 its Monte-Carlo return. What still differs: advantages are normalized, the
    # critic is not linear, and a rollout's end is bootstrapped.
    ppo = PPOConfig(
        hidden_sizes=(256, 256),
        n_steps=32,
        batch_size=128 * 32,
        learning_rate=3e-4,
        anneal=False,
        gae_lambda=1.0,
        ent_coef=0.1,
        mixture_coef=0.01,
        max_grad_norm=1e9,
    )
    return TrainConfig(
        method="paper", num_envs=128, total_timesteps=4_000_000, eval_every=50, ppo=ppo
    )


def smoke() -> TrainConfig:
    """A run of seconds, to see that everything works; it learns next to nothing."""
    ppo = PPOConfig(hidden_sizes=(16, 16), n_steps=32, batch_size=512, n_epochs=1)
    return replace(
        TrainConfig(num_envs=32, total_timesteps=8192, ppo=ppo),
        eval_every=2,
        eval_episodes=64,
        final_episodes=256,
        checkpoint_every=1,
    )


PRESETS = {"default": default, "small": small, "paper": paper, "smoke": smoke}
