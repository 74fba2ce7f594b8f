"""The progress bar: steps, speed, time left, and the true return as last measured."""

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

from oversight.callbacks.evaluations import Evaluations


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
