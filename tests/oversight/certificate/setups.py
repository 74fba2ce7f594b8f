"""A quick setup, and a wrapper that makes training fail."""

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

from gymnasium.vector import VectorWrapper

from agents.ppo import PPOConfig
from envs.registration import make_truthful
from oversight.certificate import Setup, make_setup


def quick(**oversight: Any) -> Setup:  # noqa: ANN401
    """Return CartPole for two rollouts of four lanes, with half of its episodes hidden."""
    chosen = oversight or {"observed_probability": 0.5}
    setup = make_setup(partial(make_truthful, "CartPole-v1"), oversight=chosen)
    ppo = PPOConfig(hidden_sizes=(8,), n_steps=8, batch_size=16)
    return replace(setup, ppo=ppo, num_envs=4, steps=64)


class Fails(VectorWrapper[Any, Any, Any, Any, Any]):
    """Warns at the second step, and fails at the third."""

    steps = 0

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Count, and warn or fail."""
        self.steps += 1
        if self.steps == 2:
            warnings.warn("it creaks", stacklevel=1)
        if self.steps == 3:
            raise RuntimeError("it broke")
        return self.env.step(actions)
