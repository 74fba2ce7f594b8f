"""Held-out observed episodes: what the overseer saw of a policy, and nobody learns from.

The best checkpoint so far: its step, its score, and a copy of its weights.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from math import isnan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from oversight.rl.config import SELECTION, stream_seed
from oversight.rl.evaluation import own_generator

Weights = Mapping[str, torch.Tensor]


class BestCheckpoint:
    """The checkpoint of the best score so far; of equals the later, which had more training.

    Attributes:
        step: environment steps after which it was kept; 0 if none was.
        score: what it was kept for; None if none was.
        weights: a copy of its weights; None if none was.

    >>> kept = BestCheckpoint()
    >>> for step, score in enumerate([0.5, 0.75, 0.75, 0.25]):
    ...     kept.offer(step, score, {})
    >>> kept.step, kept.score
    (2, 0.75)
    """

    def __init__(self) -> None:
        self.step = 0
        self.score: float | None = None
        self.weights: dict[str, torch.Tensor] | None = None

    def offer(self, step: int, score: float, weights: Weights) -> None:
        """Keep the weights if no score before was better; a score that is NaN is none."""
        if isnan(score) or (self.score is not None and score < self.score):
            return
        self.step, self.score = step, score
        self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def get_state(self) -> dict[str, Any]:
        """Return what a later `BestCheckpoint` needs to go on."""
        return {"step": self.step, "score": self.score, "weights": self.weights}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called."""
        self.step, self.score, self.weights = (state[name] for name in ("step", "score", "weights"))


POOL = 50
"""Observed episodes that a score is the mean of, at least."""

Make = Callable[[int], VecEnv]
"""From a number of lanes to a new environment, under the oversight of the run."""


class HeldOut:
    """A stream of episodes beside training, of which the observed ones choose a checkpoint.

    The deployed policy plays them, under the oversight of the run and on levels of their own, so
    many that they are a given share of all episodes; those of them that happen to be observed are
    charged to the oversight budget. A score is the mean observed return of this moment's episodes,
    or of the last `pool` where this moment has fewer; with fewer than `pool` in all there is no
    score. No reward that was not observed is read, and training is not touched.

    Why a stream of its own, and not a part of the training episodes: those are played by the
    mixture of the modules and not by what is deployed, and leaving some out would change training.

    Attributes:
        kept: the best checkpoint so far.
        learned: observed episodes that the learner used so far.
        episodes: observed episodes that were held out so far.
        score: the last score; None if there was none.

    Args:
        make: builds the environment of each moment's episodes, of one lane for each.
        share: of all episodes that are held out, from 0 to less than 1.
        seed: of the run.
        limit: steps after which an episode is cut, since a policy may never end one.
        pool: observed episodes that a score needs.
    """

    def __init__(self, make: Make, share: float, seed: int, limit: int, pool: int = POOL) -> None:
        self.make, self.share, self.seed = make, share, seed
        self.limit, self.pool = limit, pool
        self.best = BestCheckpoint()
        self.learned = self.ended = self.episodes = 0
        self.score: float | None = None
        self.returns = np.zeros(0)

    def count(self, ended: int, observed: int) -> None:
        """Count episodes of the learner: all that ended, and those whose reward it used."""
        self.ended += ended
        self.learned += observed

    def score_policy(self, policy: BasePolicy, weights: Weights, step: int) -> None:
        """Score a policy, and keep the weights that it came from if it is the best so far.

        Args:
            policy: what would be deployed.
            weights: of the policy that is trained.
            step: environment steps so far; each has levels of its own.
        """
        lanes = round(self.ended * self.share / (1 - self.share))
        self.ended = 0
        if lanes == 0:
            return
        with closing(self.make(lanes)) as env:
            new = observed_returns(policy, env, stream_seed(self.seed, SELECTION, step), self.limit)
        self.episodes += len(new)
        self.returns = np.concatenate([self.returns, new])[-max(self.pool, len(new)) :]
        if len(self.returns) >= self.pool:
            self.score = float(self.returns.mean())
            self.best.offer(step, self.score, weights)

    def get_state(self) -> dict[str, Any]:
        """Return what a later stream of the same run needs to go on."""
        counts = {name: getattr(self, name) for name in ("learned", "ended", "episodes", "score")}
        returns = torch.from_numpy(self.returns)
        return {"best": self.best.get_state(), "returns": returns, **counts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called."""
        self.best.set_state(state["best"])
        self.returns = state["returns"].numpy()
        for name in ("learned", "ended", "episodes", "score"):
            setattr(self, name, state[name])


def observed_returns(policy: BasePolicy, env: VecEnv, seed: int, limit: int) -> NDArray[np.float64]:
    """Play one episode in each lane; return the observed return of those observed at some step.

    They come in the order of the lanes, since in that of their ends short episodes would be first.
    Only `info["observed"]` and `info["observed_reward"]` are read; what is told of an episode after
    its end is not counted. PyTorch's generator is left as it was.

    Args:
        policy: what acts; its actions are sampled.
        env: what it acts in.
        seed: of levels and actions.
        limit: steps after which an episode is cut.
    """
    env.seed(seed)
    with own_generator(seed):
        return _play(policy, env, limit)


def _play(policy: BasePolicy, env: VecEnv, limit: int) -> NDArray[np.float64]:
    observations: Any = env.reset()
    space = env.action_space
    actions = np.zeros((env.num_envs, *(space.shape or ())), dtype=space.dtype)
    running = np.ones(env.num_envs, dtype=np.bool_)
    seen = np.zeros(env.num_envs, dtype=np.bool_)
    returns = np.zeros(env.num_envs)
    for _ in range(limit):
        actions[running], _ = policy.predict(observations[running], deterministic=False)
        observations, _, dones, infos = env.step(actions)
        for lane in np.flatnonzero(running).tolist():
            if infos[lane].get("observed", False):
                seen[lane] = True
                returns[lane] += infos[lane]["observed_reward"]
        running &= ~dones
        if not running.any():
            break
    return returns[seen]
