"""The environment as training sees it: what it must pay and say, and what is labeled and paid.

- `require_reward` refuses an environment that says of itself that it pays another reward than the
  method learns from.
- `RolloutEnv` labels each step of a rollout, and pays what the method learns from.
"""

import warnings
from collections.abc import Iterable
from reprlib import repr as shorten
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.boards import AgentChannel
from agents.method_definition import Method, Reward
from agents.rollout_buffer import (
    Rewards,
    RewardSource,
    RoutedBuffer,
    Step,
)
from agents.spaces import (
    MEND_REWARDS,
    MEND_SOURCE,
    require_finite,
    require_finite_observations,
    to_environment,
)
from agents.vec_env import VectorEnvAdapter, refusals_of_rewards

Bootstrap = Literal["always", "observed", "never"]

PAID = "paid_reward"
"""Attribute by which an environment says what it pays: `observed`, `proxy` or `true`."""


def paid_rewards(env: VecEnv) -> set[str]:
    """Return what the lanes of an environment say that they pay; empty if they do not say."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    if isinstance(env, VectorEnvAdapter):
        return _paid_by_vector(env.venv)
    try:
        # asked for first, since a missing attribute ends the process of a lane
        if not all(env.env_method("has_wrapper_attr", PAID)):
            return set()
        return _words(env.get_attr(PAID))
    except (AttributeError, NotImplementedError, TypeError):  # lanes that are no environments
        return set()


def _paid_by_vector(env: VectorEnv[Any, Any, Any]) -> set[str]:
    """Return what the lanes of a Gymnasium vector environment say that they pay."""
    while isinstance(env, VectorWrapper) and not hasattr(type(env), PAID):
        env = env.env
    if hasattr(type(env), PAID):
        return _words([getattr(env, PAID)])
    if not isinstance(env, SyncVectorEnv | AsyncVectorEnv):
        return set()
    return _words(env.get_attr(PAID)) if all(env.call("has_wrapper_attr", PAID)) else set()


def _words(given: Iterable[object]) -> set[str]:
    """Return the names of rewards among some values; an environment may mean something else."""
    return {each for each in given if isinstance(each, str) and each in get_args(Reward)}


def require_reward(method: Method, env: VecEnv) -> None:
    """Raise a ValueError for an environment that pays another reward than a method learns from."""
    others = sorted(paid_rewards(env) - {method.reward})
    if others:
        raise ValueError(
            f"method {method.name!r} learns from the {method.reward} reward, but the environment "
            f"pays the {' and '.join(others)} reward: make the environment with "
            f"reward={method.reward!r}, or choose another method"
        )


def warn_of_normalized_rewards(env: VecEnv) -> None:
    """Warn if SB3's `VecNormalize` scales rewards of which an oversight hides some."""
    layer: Any = env
    while isinstance(layer, VecEnvWrapper):
        if (
            isinstance(layer, VecNormalize)
            and layer.norm_reward
            and "observed" in paid_rewards(env)
        ):
            warnings.warn(
                "VecNormalize scales rewards of which some are hidden: these count as 0.0, so that "
                "the scale depends on how many are observed, and info['observed_reward'] stays "
                "unscaled. Set norm_reward=False, and put NormalizeObservedReward around "
                "PartialOversight, which uses observed rewards alone",
                stacklevel=2,
            )
        layer = layer.venv


class RolloutEnv(VecEnvWrapper):
    """The environment of one rollout: labels each step, and pays what the method learns from.

    The rollout buffer gets the labels of a step before SB3's loop adds the step itself. The
    environment gets the actions of its own space; see `agents.spaces`.

    Args:
        venv: the environment.
        source: returns the reward of each lane in a step.
        buffer: the rollout buffer.
        starts: whether the first step starts an episode, [lanes].
        bootstrap: as for `RoutedPPO`.
    """

    def __init__(
        self,
        venv: VecEnv,
        source: RewardSource,
        buffer: RoutedBuffer,
        starts: NDArray[np.bool_],
        bootstrap: Bootstrap,
    ) -> None:
        super().__init__(venv)
        self.source, self.buffer = source, buffer
        self.starts, self.bootstrap = starts, bootstrap
        self.says_observed = False  # whether an info has said `observed`, yes or no
        self.says_anything = False  # whether there was an info that could have said so
        self.agent_channel: AgentChannel | None = None
        self.before: Any = None

    def watch_agent(self, agent_channel: AgentChannel, observations: Any) -> None:  # noqa: ANN401
        """Let steps show which channel of observations moves, until that is known.

        Args:
            agent_channel: finds the channel.
            observations: those before the first step.
        """
        self.agent_channel, self.before = agent_channel, observations

    def reset(self) -> Any:  # noqa: ANN401 (of any space)
        """Reset the environment."""
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Pass on the actions of a policy as those of the environment's space."""
        self.venv.step_async(to_environment(self.action_space, actions))

    def step_wait(self) -> VecEnvStepReturn:
        """Step every lane, label the step, and return the rewards to learn from.

        Raises:
            ValueError: if a reward or the last observation of an episode is no finite number, or a
                step is observed whose observed reward is not stated.
        """
        with refusals_of_rewards():
            observations, paid, dones, infos = self.venv.step_wait()
        infos = infos or [{} for _ in dones]  # some VecEnvs give none where nothing happened
        require_finite("a reward that the environment paid", paid, MEND_REWARDS)
        if not isinstance(self.action_space, spaces.Discrete):
            # the buffer would refuse it one step later, after a Gaussian policy has broken down
            require_finite_observations("an observation of the environment", observations)
        if not self.says_observed:
            self.says_observed = any("observed" in info for info in infos)
            self.says_anything |= bool(dones.any()) or any(infos)
        if self.agent_channel is not None and not self.agent_channel.found:
            assert isinstance(observations, np.ndarray), "boards are arrays"
            resting = [bool(info.get("resetting", False)) for info in infos]
            self.agent_channel.watch(self.before, observations, ~dones & ~np.array(resting))
            self.before = observations
        rewards = rewards_of(self.source, Step(observations, paid, dones, infos))
        self.buffer.label(infos, dones, self.starts)
        self.buffer.add_residual(paid - rewards)
        self.starts = dones
        for lane in np.flatnonzero(dones):
            last = infos[lane].get("terminal_observation")
            if last is not None:
                what = "a last observation of the environment"
                require_finite_observations(what, last, batched=False)
        if self.bootstrap != "always":
            observed = self.buffer.outcomes.observed & (self.bootstrap == "observed")
            for lane in np.flatnonzero(dones & ~observed):
                # SB3 adds the value of this observation to the reward, if there is one
                infos[lane].pop("terminal_observation", None)
        return self.source.show(observations), rewards, dones, infos

    def never_says_observed(self) -> bool:
        """Return whether infos do not say what is observed, as far as the steps can show."""
        env: VecEnv = self.venv
        while isinstance(env, VecEnvWrapper):
            env = env.venv
        if isinstance(env, VectorEnvAdapter):  # whose infos are empty where nothing happened
            return not env.states_oversight
        return self.says_anything and not self.says_observed


def rewards_of(source: RewardSource, step: Step) -> Rewards:
    """Return the rewards that a method's source gives for a step, [lanes].

    Raises:
        ValueError: if they are not one finite number for each lane.
    """
    given = source(step)
    rewards, lanes = np.asarray(given), len(step.paid)
    name = type(source).__name__
    if rewards.shape != (lanes,) or rewards.dtype.kind not in "fiub":
        raise ValueError(
            f"the reward source {name} must return a number for each of {lanes} lanes, got "
            f"{' '.join(shorten(given).split())}: return an array of shape ({lanes},)"
        )
    with np.errstate(over="ignore"):  # which the next line tells
        rewards = rewards.astype(np.float32, copy=False)
    require_finite(f"a reward of the source {name}", rewards, MEND_SOURCE)
    return rewards


def warn_of_no_oversight(method: Method) -> None:
    """Warn that everything counts as hidden."""
    warnings.warn(
        f"no info of the environment says 'observed', so that method {method.name!r} takes every "
        "episode for hidden: wrap the environment in envs.PartialOversight, or put 'observed' and "
        "'observed_reward' into the info of every step",
        stacklevel=2,
    )
