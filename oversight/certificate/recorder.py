"""Recorder: notes, step by step, everything that a learner has or is given."""

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from agents import RoutedPPO
from agents.checkpoint import learner_state
from oversight.certificate.trace import Trace
from oversight.selection import HeldOut

ARRAYS = (
    *("observations", "actions", "rewards", "episode_starts"),
    *("values", "log_probs", "advantages", "returns", "last_route"),
)


class Recorder(BaseCallback):
    """Fills a trace with these channels.

    - experience: observations, rewards, ends and infos, at every step;
    - rollout buffer: every array, at the end of each rollout;
    - parameters, optimizer, generators: after each update, and at the end;
    - checkpoints: at the same moments, which one is kept, its weights, and what it was chosen by.

    Args:
        trace: what is filled.
        held_out: what chooses checkpoints; it must have chosen when the recorder is called.
    """

    def __init__(self, trace: Trace, held_out: HeldOut) -> None:
        super().__init__()
        self.trace, self.held_out = trace, held_out

    def _note(self, channel: str, **values: object) -> None:
        for name, value in values.items():
            self.trace.note(channel, self.num_timesteps, name, value)

    def _on_training_start(self) -> None:
        infos: Any = self.training_env.reset_infos
        self._note("experience", observations=self.model._last_obs, infos=infos)

    def _on_step(self) -> bool:
        given = {name: self.locals[name] for name in ("rewards", "dones", "infos")}
        self._note("experience", observations=self.locals["new_obs"], **given)
        return True

    def _on_rollout_start(self) -> None:
        self._learned()

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self._note("rollout buffer", **{name: getattr(buffer, name) for name in ARRAYS})

    def _on_training_end(self) -> None:
        self._learned()

    def _learned(self) -> None:
        """Note all that an update can change."""
        assert isinstance(self.model, RoutedPPO)
        state = learner_state(self.model)
        self._note("parameters", **state.pop("policy"))
        self._note("optimizer", **{name: state.pop(name) for name in ("optimizer", "num_updates")})
        self._note("generators", **state)
        self._note("checkpoints", **self.held_out.get_state())


class Scalars(KVWriter):
    """Notes the scalars that the learner's own logger writes to TensorBoard, but for the clock's.

    Args:
        trace: what is filled.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Note every scalar of one moment."""
        for name, value in sorted(key_values.items()):
            if not name.startswith("time/"):
                self.trace.note("scalars", step, name, value)

    def close(self) -> None:
        """Do nothing: there is no file."""
