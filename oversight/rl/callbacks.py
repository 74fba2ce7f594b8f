"""The oversight budget: observed episodes that a run spends on learning and on choosing.

Checkpoints between rollouts, and a clean stop where one is asked for.

Curves of what the learner was shown: which routes its steps took.

Evaluation during training: the true return of each module, which the learner never sees.

When a run is measured: between rollouts, every few of them, and once for each step count.

The progress bar: steps, speed, time left, and the true return as last measured.
"""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text
from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.tensorboard.writer import SummaryWriter

from agents import ROUTES, RoutedPPO
from agents.checkpoint import State, state_bytes, training_state
from agents.rollout_buffer import NEGATIVE, POSITIVE, UNUSED
from oversight.rl.checkpoint_selection import BestCheckpoint, HeldOut
from oversight.rl.config import TrainConfig
from oversight.rl.evaluation import evaluate_all, policies
from oversight.rl.rendering import module_map
from oversight.runs.folder import replace_file


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


Tell = Callable[[str, float, int], object]
"""Is told the name of a number, the number, and the environment steps so far."""


def nobody(name: str, value: float, step: int) -> None:
    """Tell nobody."""


class OversightBudget(Moments):
    """Counts the observed episodes that the learner uses, and spends held-out ones beside them.

    An oracle, which is paid the truth, uses every episode.

    Args:
        held_out: the stream of held-out episodes, which keeps the counts.
        every: rollouts from one choice to the next.
        tell: where the scores go.
    """

    def __init__(self, held_out: HeldOut, every: int, tell: Tell = nobody) -> None:
        super().__init__(every)
        self.held_out, self.tell = held_out, tell

    def measure(self) -> None:
        """Judge the deployed module by held-out observed episodes."""
        held_out, agent, step = self.held_out, self.agent, self.num_timesteps
        held_out.score_policy(agent.deployed(), agent.policy.state_dict(), step)
        self.tell("selection/held_out_episodes", held_out.episodes, step)
        if held_out.score is not None:
            self.tell("selection/observed_score", held_out.score, step)

    def _on_rollout_end(self) -> None:
        routes = self.agent.rollout_buffer.last_route
        ends = routes[routes >= 0]
        paid_truth = self.agent.method.reward == "true"
        observed = ends.size if paid_truth else np.isin(ends, (POSITIVE, NEGATIVE)).sum()
        self.held_out.count(ends.size, int(observed))


class Checkpoints(BaseCallback):
    """Writes the training state every few rollouts, and when the run is interrupted.

    Between rollouts the state is complete, so that a run that goes on from it is bit for bit the
    uninterrupted one. The first interrupt waits for such a moment; the second one does not.

    Args:
        path: where the state goes.
        every: rollouts between checkpoints.
        beside: returns what else is kept in the state, beside the agent's.
    """

    def __init__(self, path: Path, every: int, beside: Callable[[], State]) -> None:
        super().__init__()
        self.path, self.every, self.beside = path, every, beside
        self.rollouts = 0
        self.interrupted = False
        self.handlers: dict[signal.Signals, Any] = {}

    def _on_training_start(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
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

    def _on_step(self) -> bool:
        return True

    def write(self) -> None:
        """Write the state; only between rollouts."""
        assert isinstance(self.model, RoutedPPO)
        state = {"agent": training_state(self.model), **self.beside()}
        replace_file(self.path, state_bytes(state))

    def restore_signals(self) -> None:
        """Give interrupts back to whoever had them before."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> Any:  # noqa: ANN401
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


class RouteCurves(BaseCallback):
    """Records the share of each rollout's steps that took each route, and of observed episodes."""

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, RoutedPPO)
        buffer = self.model.rollout_buffer
        ends, steps = buffer.last_route, buffer.routes()
        steps = steps[steps != UNUSED]
        for number, name in enumerate(ROUTES):
            self.logger.record(f"routing/share_{name}", float(np.mean(steps == number)))
        ended = ends[ends >= 0]
        observed = np.isin(ended, [POSITIVE, NEGATIVE])
        self.logger.record(
            "oversight/observed_fraction", float(observed.mean()) if ended.size else 0.0
        )

    def _on_step(self) -> bool:
        return True


CURVES = ("true_return", "true_return_observed", "true_return_unobserved", "paper_return")


class Evaluations(Moments):
    """Plays every module on fresh levels of an environment of its own, every few rollouts.

    Nothing that it measures reaches the agent: it acts on copies, leaves generators untouched, and
    writes to the disk past the logger that the agent holds. It also has that logger write what the
    update before the rollout recorded, so that every curve lies at the step where it was measured
    and a checkpoint finds its past on the disk.

    Args:
        config: the settings of the run.
        writer: where the results go.
        oracle_selection: keeps the checkpoint of the best true return; a choice that no overseer could make.
        pictures: whether a picture of the modules goes there too.
    """

    def __init__(
        self,
        config: TrainConfig,
        writer: SummaryWriter,
        oracle_selection: BestCheckpoint,
        pictures: bool = True,
    ) -> None:
        super().__init__(config.eval_every)
        self.config, self.writer = config, writer
        self.best, self.pictures = oracle_selection, pictures
        self.latest: float | None = None

    def pause(self) -> None:
        """Evaluate if it is due, and have the logger write."""
        super().pause()
        self.logger.dump(self.num_timesteps)

    def measure(self) -> None:
        """Evaluate every module, and keep the weights of the best true return."""
        config, agent = self.config, self.agent
        named = policies(agent.policy, agent.method.deployed)  # type: ignore[arg-type]
        results = evaluate_all(named, config, config.eval_episodes, config.seed)
        for name, metrics in results.items():
            for curve in CURVES:
                tag = f"eval_{name}/{curve}"
                self.writer.add_scalar(tag, metrics[curve], self.num_timesteps)
        self.latest = results["deployed"]["true_return"]
        self.best.offer(self.num_timesteps, self.latest, agent.policy.state_dict())
        if self.pictures:
            picture = module_map({n: p for n, p in named.items() if n != "deployed"}, config.grid)
            tag = "modules/policies"
            self.writer.add_image(tag, picture, self.num_timesteps, dataformats="HWC")
        self.writer.flush()


class Progress(BaseCallback):
    """Shows how far training is; the return is that of `Evaluations`, not what the learner saw.

    Args:
        total: environment steps at which training ends.
        evaluations: where the true return comes from.
        console: where to draw.
    """

    def __init__(self, total: int, evaluations: Evaluations, console: Console) -> None:
        super().__init__()
        self.total, self.evaluations, self.console = total, evaluations, console

    def _on_training_start(self) -> None:
        self.bar = Bar(
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

    def _on_step(self) -> bool:
        return True

    def stop(self) -> None:
        """Leave the bar as it stands."""
        if hasattr(self, "bar"):
            self.bar.stop()


class _Speed(ProgressColumn):
    """Environment steps per second."""

    def render(self, task: Task) -> Text:
        """Return the speed over the last seconds."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} steps/s")
