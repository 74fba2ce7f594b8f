"""Selection of a checkpoint: by held-out observed episodes, which nothing learns from.

`BestCheckpoint` keeps the weights of the best score. `HeldOut` computes scores that an overseer
can know; the score of the rule `oracle_selection` is the hidden true return instead.
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
from oversight.rl.task import episodes_per_lane

Weights = Mapping[str, torch.Tensor]


class BestCheckpoint:
    """The checkpoint of the best score so far; of equal scores, the later one.

    Attributes:
        step: its environment steps; 0 if there is no checkpoint yet.
        score: its score; None if there is no checkpoint yet.
        weights: a copy of its weights; None if there is no checkpoint yet.

    >>> best = BestCheckpoint()
    >>> for step, score in enumerate([0.5, 0.75, 0.75, 0.25]):
    ...     best.offer(step, score, {})
    >>> best.step, best.score
    (2, 0.75)
    """

    def __init__(self) -> None:
        self.step = 0
        self.score: float | None = None
        self.weights: dict[str, torch.Tensor] | None = None

    def offer(self, step: int, score: float, weights: Weights) -> None:
        """Keep the weights unless an earlier score was better; a score of NaN is ignored."""
        if isnan(score) or (self.score is not None and score < self.score):
            return
        self.step, self.score = step, score
        self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def get_state(self) -> dict[str, Any]:
        """Return the state as it is stored in a checkpoint of the run."""
        return {"step": self.step, "score": self.score, "weights": self.weights}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self.step, self.score, self.weights = (state[name] for name in ("step", "score", "weights"))


POOL = 50
"""Fewest observed episodes in the mean that is a score."""

MakeEnv = Callable[[int], VecEnv]
"""Makes an environment for a number of episodes, under the oversight of the run."""


class HeldOut:
    """A stream of held-out episodes, whose observed ones select a checkpoint.

    The deployed policy plays these episodes under the oversight of the run, on levels of their own.
    They are a given share of all episodes, and the observed ones are charged to the oversight
    budget. A score is the mean observed return of the episodes that were played for it, or of the
    last `pool` episodes if these were fewer; with fewer than `pool` in all, there is no score. Only
    observed rewards are read, and training is not affected.

    The stream is not a part of the training episodes, because the mixture of the modules plays
    those and not the deployed policy, and because leaving some out would change training.

    Attributes:
        best: the best checkpoint so far.
        learned: number of observed episodes that the learner used so far.
        episodes: number of observed episodes that were held out so far.
        score: the last score; None if there was none.

    Args:
        make_env: function that makes the environment for a number of episodes, with a lane for each
            or with fewer lanes.
        share: share of all episodes that are held out, from 0 to less than 1.
        seed: seed of the run.
        limit: steps after which an episode is cut, since a policy may never end it.
        pool: fewest observed episodes of a score.
    """

    def __init__(
        self, make_env: MakeEnv, share: float, seed: int, limit: int, pool: int = POOL
    ) -> None:
        self.make_env, self.share, self.seed = make_env, share, seed
        self.limit, self.pool = limit, pool
        self.best = BestCheckpoint()
        self.learned = self.ended = self.episodes = 0
        self.score: float | None = None
        self.returns = np.zeros(0)

    def count(self, ended: int, observed: int) -> None:
        """Count episodes of the learner: all that ended, and those whose reward it observed."""
        self.ended += ended
        self.learned += observed

    def score_policy(self, policy: BasePolicy, weights: Weights, step: int) -> None:
        """Score a policy, and keep the weights if the score is the best so far.

        Args:
            policy: the policy that would be deployed.
            weights: weights of the policy that is trained.
            step: environment steps so far; they determine the levels.
        """
        episodes = round(self.ended * self.share / (1 - self.share))
        self.ended = 0
        if episodes == 0:
            return
        seed = stream_seed(self.seed, SELECTION, step)
        with closing(self.make_env(episodes)) as env:
            new = observed_returns(policy, env, seed, self.limit, episodes)
        self.episodes += len(new)
        self.returns = np.concatenate([self.returns, new])[-max(self.pool, len(new)) :]
        if len(self.returns) >= self.pool:
            self.score = float(self.returns.mean())
            self.best.offer(step, self.score, weights)

    def get_state(self) -> dict[str, Any]:
        """Return the state as it is stored in a checkpoint of the run."""
        counts = {name: getattr(self, name) for name in ("learned", "ended", "episodes", "score")}
        returns = torch.from_numpy(self.returns)
        return {"best": self.best.get_state(), "returns": returns, **counts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self.best.set_state(state["best"])
        self.returns = state["returns"].numpy()
        for name in ("learned", "ended", "episodes", "score"):
            setattr(self, name, state[name])


def observed_returns(
    policy: BasePolicy, env: VecEnv, seed: int, limit: int, episodes: int | None = None
) -> NDArray[np.float64]:
    """Play a fixed number of episodes in each lane; return those of the observed returns.

    The returns are in the order of the lanes; in the order of their ends, short episodes would come
    first. Only `info["observed"]` and `info["observed_reward"]` are read, and only until the end of
    a lane's last episode. PyTorch's generator keeps its state.

    Args:
        policy: policy that plays; its actions are sampled.
        env: the environment.
        seed: seed of levels and actions.
        limit: steps after which an episode is cut.
        episodes: how many; by default one in each lane.
    """
    left = episodes_per_lane(episodes or env.num_envs, env.num_envs)
    env.seed(seed)
    observations: Any = env.reset()
    space = env.action_space
    actions = np.zeros((env.num_envs, *(space.shape or ())), dtype=space.dtype)
    played = [_Episode() for _ in left]
    finished: list[list[_Episode]] = [[] for _ in left]
    with own_generator(seed):
        for _ in range(limit * int(left.max())):
            running = left > 0
            actions[running], _ = policy.predict(select(observations, running), deterministic=False)
            observations, _, dones, infos = env.step(actions)
            for lane in [lane for lane, info in enumerate(infos) if info and running[lane]]:
                played[lane].add(infos[lane])
            ended = running & dones
            for lane in np.flatnonzero(ended).tolist():
                finished[lane].append(played[lane])
                played[lane] = _Episode()
            left -= ended
            if not left.any():
                break
    for lane in np.flatnonzero(left).tolist():  # cut by the limit
        finished[lane].append(played[lane])
    return np.array([each.total for lane in finished for each in lane if each.observed])


class _Episode:
    """The observed return of an episode, and whether any step of it was observed."""

    def __init__(self) -> None:
        self.observed, self.total = False, 0.0

    def add(self, info: Mapping[str, Any]) -> None:
        """Add a step."""
        if info.get("observed", False):
            self.observed = True
            self.total += info["observed_reward"]


def select(observations: Any, lanes: NDArray[np.bool_]) -> Any:  # noqa: ANN401 (of any space)
    """Return the observations of some lanes."""
    if isinstance(observations, dict):
        return {name: select(part, lanes) for name, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(select(part, lanes) for part in observations)
    return observations[lanes]
