"""The TensorBoard page of a run: its layout, its settings, and where a resumed run goes on."""

from collections.abc import Sequence
from pathlib import Path

from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch.utils.tensorboard.writer import SummaryWriter

from agents import ROUTES, Method, method
from oversight.config import TrainConfig
from oversight.record import as_markdown


def open_writer(
    path: Path, config: TrainConfig, modules: Sequence[str], step: int
) -> SummaryWriter:
    """Return a writer in a run's folder; what a killed run wrote after `step` is dropped."""
    writer = SummaryWriter(str(path), purge_step=step + 1 if step else 0)
    writer.add_custom_scalars(layout(modules, method(config.method)))
    writer.add_text("settings", as_markdown(config), step)
    return writer


def make_logger(writer: SummaryWriter) -> Logger:
    """Return a logger for SB3 on a writer that others share."""
    return Logger(None, [_Output(writer)])


class _Output(TensorBoardOutputFormat):
    """SB3's output on a writer that is there already; its own constructor opens a second file."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer
        self._is_closed = False


def layout(modules: Sequence[str], learns: Method) -> dict[str, dict[str, list[object]]]:
    """Return TensorBoard's custom layout: which curves share a chart.

    Args:
        modules: the names of the motivation modules.
        learns: the method, which says what else can act, and what is learned.
    """
    others = {"mixture": len(modules) > 1, "reversed": learns.appraised}
    acting = ["deployed", *modules, *(name for name, there in others.items() if there)]
    losses = ["policy_gradient_loss", "value_loss", "entropy_loss"]

    def chart(curve: str) -> list[object]:
        return _multiline([f"eval_{name}/{curve}" for name in acting])

    return {
        "true return of each module (hidden from the learner)": {
            "all episodes": chart("true_return"),
            "episodes that nobody watches": chart("true_return_unobserved"),
            "episodes with an overseen square": chart("true_return_observed"),
            "the paper's return": chart("paper_return"),
        },
        "what the learner saw": {
            "return per episode": _multiline(["rollout/ep_rew_mean"]),
            "episode length": _multiline(["rollout/ep_len_mean"]),
            "share of steps by route": _multiline([f"routing/share_{name}" for name in ROUTES]),
            "share of episodes observed": _multiline(["oversight/observed_fraction"]),
        },
        "optimization": {
            name: _multiline([f"train/{name}"])
            for name in losses + (["mixture_loss"] if learns.mixed else [])
        },
    }


def _multiline(tags: list[str]) -> list[object]:
    """Return a chart of exactly these tags, which TensorBoard takes for regular expressions."""
    return ["Multiline", [f"^{tag}$" for tag in tags]]
