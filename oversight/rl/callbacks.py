"""Callbacks of a training run: measurements between rollouts, checkpoints, curves, progress."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.tensorboard.writer import SummaryWriter

from agents import ROUTES, RoutedPPO
from agents.checkpoint import State, state_bytes, training_state
from agents.gradient_audit import audit_update
from agents.rollout_buffer import NEGATIVE, POSITIVE, UNUSED
from oversight.rl.agent import task_of
from oversight.rl.checkpoint_selection import BestCheckpoint, HeldOut
from oversight.rl.config import TrainConfig
from oversight.rl.dashboard import Dashboard
from oversight.rl.evaluation import evaluate_all, policies
from oversight.runs.folder import replace_file


class RolloutCallback(BaseCallback):
    """Acts before or after rollouts of a routed agent, and never inside them."""

    @property
    def agent(self) -> RoutedPPO:
        """The agent that is trained."""
        assert isinstance(self.model, RoutedPPO)
        return self.model

    def _on_step(self) -> bool:
        return True


class PeriodicCallback(RolloutCallback):
    """Calls `measure` between rollouts: before the first one, every few, and after the last one.

    The measurement after the last rollout takes place only if it is due. A resumed run does not
    repeat the one that took place before its checkpoint was written.

    Args:
        every: rollouts from one measurement to the next.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every

    def measure(self) -> None:
        """Measure the agent in its present state."""
        raise NotImplementedError

    def between_rollouts(self) -> None:
        """Measure if it is due; called once for each number of environment steps."""
        rollout = self.agent.n_steps * self.agent.n_envs
        if self.num_timesteps // rollout % self.every == 0:
            self.measure()

    def _on_training_start(self) -> None:
        self.resumed_at = self.num_timesteps or None

    def _on_rollout_start(self) -> None:
        if self.num_timesteps != self.resumed_at:
            self.between_rollouts()

    def _on_training_end(self) -> None:
        if self.num_timesteps != self.resumed_at:
            self.between_rollouts()


def observed_ends(agent: RoutedPPO) -> NDArray[np.bool_]:
    """Return, for each episode that ended in the last rollout, whether it was observed."""
    routes = agent.rollout_buffer.last_route
    observed: NDArray[np.bool_] = np.isin(routes[routes >= 0], (POSITIVE, NEGATIVE))
    return observed


class OversightBudget(PeriodicCallback):
    """Counts the observed episodes that the learner uses, and selects a checkpoint by others.

    An oracle, which receives the true reward, uses every episode.

    Args:
        held_out: the stream of held-out episodes, which keeps the counts.
        every: rollouts from one selection to the next.
        writer: TensorBoard writer that receives the scores, if given.
    """

    def __init__(self, held_out: HeldOut, every: int, writer: SummaryWriter | None = None) -> None:
        super().__init__(every)
        self.held_out, self.writer = held_out, writer

    def measure(self) -> None:
        """Score the deployed module by held-out observed episodes."""
        held_out, agent, step = self.held_out, self.agent, self.num_timesteps
        held_out.score_policy(agent.deployed(), agent.policy.state_dict(), step)
        if self.writer is None:
            return
        self.writer.add_scalar("selection/held_out_episodes", held_out.episodes, step)
        if held_out.score is not None:
            self.writer.add_scalar("selection/observed_score", held_out.score, step)

    def _on_rollout_end(self) -> None:
        observed = observed_ends(self.agent)
        paid_truth = self.agent.method.reward == "true"
        self.held_out.count(observed.size, observed.size if paid_truth else int(observed.sum()))


class Checkpoints(RolloutCallback):
    """Writes the training state every few rollouts, and when the run is interrupted.

    Between rollouts the state is complete, so that a resumed run equals the uninterrupted one bit
    for bit. The first interrupt therefore waits for the end of the rollout; the second does not.

    Args:
        path: path of the file.
        every: rollouts between checkpoints.
        run_state: function that returns the part of the state that the agent does not have.
    """

    def __init__(self, path: Path, every: int, run_state: Callable[[], State]) -> None:
        super().__init__()
        self.path, self.every, self.run_state = path, every, run_state
        self.rollouts = 0
        self.interrupted = False
        self.handlers: dict[signal.Signals, Any] = {}

    def _on_training_start(self) -> None:
        if threading.current_thread() is threading.main_thread():  # others may not
            self.handlers = {
                number: signal.signal(number, self._interrupt)
                for number in (signal.SIGINT, signal.SIGTERM)
            }

    def _on_rollout_start(self) -> None:
        if self.interrupted or (self.rollouts and self.rollouts % self.every == 0):
            self.write()
        if self.interrupted:
            raise KeyboardInterrupt
        self.rollouts += 1

    def write(self) -> None:
        """Write the state; call this between rollouts only."""
        state = {"agent": training_state(self.agent), **self.run_state()}
        replace_file(self.path, state_bytes(state))

    def restore_signals(self) -> None:
        """Restore the signal handlers that were installed before training."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> Any:  # noqa: ANN401
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


class RouteCurves(RolloutCallback):
    """Records the share of each rollout's steps that took each route, and of observed episodes."""

    def _on_rollout_end(self) -> None:
        steps = self.agent.rollout_buffer.routes()
        steps = steps[steps != UNUSED]
        for number, name in enumerate(ROUTES):
            self.logger.record(f"routing/share_{name}", float(np.mean(steps == number)))
        observed = observed_ends(self.agent)
        share = float(observed.mean()) if observed.size else 0.0
        self.logger.record("oversight/observed_fraction", share)


class GradientAudit(RolloutCallback):
    """Records the gradient that each route sends to each target, before every few updates.

    The agent, its buffers and all generators are left as they were, so that training gives the same
    weights with it and without.

    Args:
        every: updates from one audit to the next.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every

    def _on_rollout_end(self) -> None:
        update = self.num_timesteps // (self.agent.n_steps * self.agent.n_envs) - 1
        if update % self.every:
            return
        for route, norms in audit_update(self.agent).items():
            for target, norm in norms.items():
                self.logger.record(f"audit/{route}/{target}", norm)


class Evaluations(PeriodicCallback):
    """Evaluates every module on levels of its own, every few rollouts.

    Nothing that this callback measures reaches the agent: policies act as copies, the generators
    keep their states, and results bypass the agent's logger. It also makes that logger write what
    the update before the rollout recorded, so that every curve has its points at the step of their
    measurement and all of them are on the disk before a checkpoint is.

    Args:
        config: settings of the run.
        writer: TensorBoard writer that receives the results.
        best: keeps the checkpoint of the best true return, which no overseer could select.
        pictures: whether the writer also receives a picture of the modules after training began.
    """

    def __init__(
        self,
        config: TrainConfig,
        dashboard: Dashboard,
        best: BestCheckpoint,
        pictures: bool = True,
    ) -> None:
        super().__init__(config.eval_every)
        self.config, self.dashboard = config, dashboard
        self.best, self.pictures = best, pictures
        self.latest: float | None = None

    def between_rollouts(self) -> None:
        """Evaluate if it is due, and make the logger write."""
        super().between_rollouts()
        self.logger.dump(self.num_timesteps)

    def measure(self) -> None:
        """Evaluate every module, and keep the weights of the best true return."""
        config, agent = self.config, self.agent
        named = policies(agent.policy, agent.method.deployed)  # type: ignore[arg-type]
        results = evaluate_all(named, config, config.eval_episodes, config.seed)
        self.latest = results["deployed"]["true_return"]
        self.best.offer(self.num_timesteps, self.latest, agent.policy.state_dict())
        if self.pictures and self.num_timesteps:  # an untrained network is not worth a picture
            modules = {name: policy for name, policy in named.items() if name != "deployed"}
            self.dashboard.add_picture(task_of(config).picture(modules), self.num_timesteps)
        self.dashboard.add_evaluation(results, self.num_timesteps)


class ProgressBar(RolloutCallback):
    """A bar with speed, time left, and the true return of the last evaluation.

    Args:
        total: environment steps at which training ends.
        evaluations: callback that knows the last true return.
        console: console to draw on.
    """

    def __init__(self, total: int, evaluations: Evaluations, console: Console) -> None:
        super().__init__()
        self.total, self.evaluations, self.console = total, evaluations, console

    def _on_training_start(self) -> None:
        self.bar = Progress(
            BarColumn(16),
            TextColumn("{task.percentage:.0f}%"),
            _Speed(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[result]}"),
            console=self.console,
        )
        done = self.num_timesteps
        self.task = self.bar.add_task("training", total=self.total, completed=done, result="")
        self.bar.start()

    def _on_rollout_end(self) -> None:
        latest = self.evaluations.latest
        result = "" if latest is None else f"true return {latest:+.2f}"
        self.bar.update(self.task, completed=self.num_timesteps, result=result)

    def stop(self) -> None:
        """Stop drawing, and leave the bar on the screen."""
        if hasattr(self, "bar"):
            self.bar.stop()


class _Speed(ProgressColumn):
    """Environment steps per second."""

    def render(self, task: Task) -> Text:
        """Return the speed over the last seconds as text."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} steps/s")
