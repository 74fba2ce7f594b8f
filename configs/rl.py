"""Presets of `python -m oversight.train`: one function per published run."""

from dataclasses import replace

from agents.config import PPOConfig
from oversight.config import TrainConfig


def default() -> TrainConfig:
    """Routed PPO at 10% oversight, in about a minute on two cores."""
    return TrainConfig()


def small() -> TrainConfig:
    """The default with modules of width 64: about twice as fast, a little less precise."""
    return TrainConfig(ppo=PPOConfig(hidden_sizes=(64, 64)))


def paper() -> TrainConfig:
    """The paper's routing and widths on PPO: the proxy as reward, and its entropy bonus of 0.1."""
    ppo = PPOConfig(hidden_sizes=(256, 256), ent_coef=0.1, mixture_coef=0.01)
    return TrainConfig(method="paper", ppo=ppo)


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
