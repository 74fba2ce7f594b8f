"""Infos that tell what was hidden."""

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents import VectorEnvAdapter
from oversight.certificate.leaks.planted import Planted, swap, tell_oversight
from oversight.certificate.leaks.truth import Peeking, truth_of


class MergesFinalInfo(Peeking):
    """Scrubs infos, and merges the environment's own `final_info` back in."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and let `final_info` through."""
        *taken, infos = self.env.step(actions)
        if "final_info" in infos:
            infos["final_info"] |= self.truth.infos["final_info"]
        return *taken, infos


class TellsRawReward(Peeking):
    """Fills `observed_reward` before it looks at `observed`."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and fill in the truth."""
        *taken, infos = self.env.step(actions)
        infos.get("final_info", infos)["observed_reward"] = self.truth.rewards
        return *taken, infos


class TellsSuccess(Peeking):
    """Adds `is_success`, as SB3 likes it, to episodes that ended well."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401
        """Step, and add the entry where the last true reward was positive."""
        *taken, infos = self.env.step(actions)
        if "final_info" in infos:
            well = infos["_final_info"] & (self.truth.returns > 0)
            infos["final_info"] |= {"is_success": well, "_is_success": well}
        return *taken, infos


class MonitorsTruth(VectorEnvAdapter):
    """Reports the true return of an episode, as a `Monitor` around the raw environment would."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and report."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["episode"]["r"] = float(truth_of(self).returns[lane])
        return observations, rewards, dones, infos


class GuessesTimeouts(VectorEnvAdapter):
    """Takes an episode that ended without a reward for one that ran out of time."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and guess."""
        observations, rewards, dones, infos = super().step_wait()
        for lane in np.flatnonzero(dones).tolist():
            infos[lane]["TimeLimit.truncated"] = bool(truth_of(self).rewards[lane] == 0.0)
        return observations, rewards, dones, infos


LEAKS = (
    Planted(
        name="lets-info-through",
        part="info",
        says="The environment's own entry true_reward is on the list of those let through.",
        plant=tell_oversight(allow=("true_reward",)),
        shows="experience",
    ),
    Planted(
        name="final-info-not-scrubbed",
        part="info",
        says="Infos are scrubbed but for final_info, in which same-step autoreset puts the last "
        "step's, the truth among them.",
        plant=swap(outside=MergesFinalInfo),
        shows="experience",
    ),
    Planted(
        name="observed-reward-is-raw",
        part="info",
        says="observed_reward holds the true reward where observed is False.",
        plant=swap(outside=TellsRawReward),
        shows="experience",
    ),
    Planted(
        name="tells-success",
        part="info",
        says="An entry is_success is there in those episodes that ended well in truth.",
        plant=swap(outside=TellsSuccess),
        shows="experience",
    ),
    Planted(
        name="monitor-inside",
        part="info",
        says="Episode statistics come from inside the oversight, so that info['episode'] and the "
        "learner's curves hold the true return.",
        plant=swap(adapt=MonitorsTruth),
        shows="experience",
    ),
    Planted(
        name="timeout-without-reward",
        part="info",
        says="An end without a reward is taken for a time limit, which tells hidden rewards of "
        "zero from others and bootstraps their returns.",
        plant=swap(adapt=GuessesTimeouts),
        shows="experience",
    ),
)
