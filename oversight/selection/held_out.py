"""Held-out observed episodes: what the overseer saw of a policy, and nobody learns from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from oversight.build import SELECTION, make_env, stream_seed
from oversight.config import TrainConfig
from oversight.evaluation import own_generator
from oversight.selection.kept import Kept, Weights

POOL = 50
"""Observed episodes that a score is the mean of, at least."""


class HeldOut:
    """A stream of episodes beside training, of which the observed ones choose a checkpoint.

    The deployed policy plays them, under the oversight of the run and on levels of their own, so
    many that they are the share `held_out` of all episodes; those of them that happen to be
    observed are charged to the oversight budget. A score is the mean observed return of this
    moment's episodes, or of the last `POOL` where this moment has fewer; with fewer than `POOL` in
    all there is no score. No reward that was not observed is read, and training is not touched.

    Why a stream of its own, and not a part of the training episodes: those are played by the
    mixture of the modules and not by what is deployed, and leaving some out would change training.

    Attributes:
        kept: the best checkpoint so far.
        learned: observed episodes that the learner used so far.
        episodes: observed episodes that were held out so far.
        score: the last score; None if there was none.

    Args:
        config: the settings of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.kept = Kept()
        self.learned = self.ended = self.episodes = 0
        self.score: float | None = None
        self.returns = np.zeros(0)

    def count(self, ended: int, observed: int) -> None:
        """Count episodes of the learner: all that ended, and those whose reward it used."""
        self.ended += ended
        self.learned += observed

    def judge(self, policy: BasePolicy, weights: Weights, step: int) -> None:
        """Score a policy, and keep the weights that it came from if it is the best so far.

        Args:
            policy: what would be deployed.
            weights: of the policy that is trained.
            step: environment steps so far.
        """
        share = self.config.held_out
        lanes = round(self.ended * share / (1 - share))
        self.ended = 0
        if lanes == 0:
            return
        new = observed_returns(policy, self.config, lanes, step)
        self.episodes += len(new)
        self.returns = np.concatenate([self.returns, new])[-max(POOL, len(new)) :]
        if len(self.returns) >= POOL:
            self.score = float(self.returns.mean())
            self.kept.offer(step, self.score, weights)

    def get_state(self) -> dict[str, Any]:
        """Return what a later stream of the same run needs to go on."""
        counts = {name: getattr(self, name) for name in ("learned", "ended", "episodes", "score")}
        returns = torch.from_numpy(self.returns)
        return {"kept": self.kept.get_state(), "returns": returns, **counts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called."""
        self.kept.set_state(state["kept"])
        self.returns = state["returns"].numpy()
        for name in ("learned", "ended", "episodes", "score"):
            setattr(self, name, state[name])


def observed_returns(
    policy: BasePolicy, config: TrainConfig, lanes: int, step: int
) -> NDArray[np.float64]:
    """Play one episode in each lane; return the observed return of the observed ones.

    They come in the order of the lanes, since in that of their ends short episodes would be first.

    Args:
        policy: what acts.
        config: the settings of the run.
        lanes: episodes to play.
        step: of training; each has levels of its own.
    """
    seed = stream_seed(config.seed, SELECTION, step)
    with own_generator(seed):
        return _play(policy, make_env(config, lanes, reward="observed"), seed)


def _play(policy: BasePolicy, env: Any, seed: int) -> NDArray[np.float64]:  # noqa: ANN401
    observations, _ = env.reset(seed=seed)
    actions = np.zeros(env.num_envs, dtype=np.int64)
    running = np.ones(env.num_envs, dtype=np.bool_)
    seen = np.zeros(env.num_envs, dtype=np.bool_)
    returns = np.zeros(env.num_envs)
    while running.any():
        actions[running], _ = policy.predict(observations[running], deterministic=False)
        observations, _, terminated, truncated, infos = env.step(actions)
        ended = (terminated | truncated) & running
        if ended.any():
            last = infos["final_info"]
            watched = ended & last["observed"]
            seen |= watched
            returns[watched] = last["observed_reward"][watched]
            running &= ~ended
    return returns[seen]
