"""When a run is measured: between rollouts, every few of them, and once for each step count."""

from stable_baselines3.common.callbacks import BaseCallback

from agents import RoutedPPO


class Moments(BaseCallback):
    """Calls `measure` before the first rollout, every few rollouts, and at the end if it is due.

    A run that goes on from a checkpoint does not measure at its first moment, which came before
    the checkpoint was written.

    Args:
        every: rollouts from one moment to the next.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every

    @property
    def agent(self) -> RoutedPPO:
        """The agent that is trained."""
        assert isinstance(self.model, RoutedPPO)
        return self.model

    def measure(self) -> None:
        """Measure the agent as it is now."""
        raise NotImplementedError

    def pause(self) -> None:
        """Measure if it is due; called at every moment between rollouts, but at no moment twice."""
        rollout = self.agent.n_steps * self.agent.n_envs
        if self.num_timesteps // rollout % self.every == 0:
            self.measure()

    def _on_training_start(self) -> None:
        self.resumed_at = self.num_timesteps or None

    def _on_rollout_start(self) -> None:
        self._pause()

    def _on_training_end(self) -> None:
        self._pause()

    def _on_step(self) -> bool:
        return True

    def _pause(self) -> None:
        if self.num_timesteps != self.resumed_at:
            self.pause()
