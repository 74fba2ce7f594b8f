"""What TensorBoard shows of a run: the learner's curves, those of each policy, and HPARAMS.

The learner is one of TensorBoard's runs, named after method, oversight probability and seed. Each
policy is a run below it, so that policies share charts and have colors of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from agents import ROUTES, Method
from oversight.rl.agent import task_of
from oversight.rl.config import TrainConfig, run_name
from oversight.rl.rendering import Picture
from oversight.rl.result_files import DEPLOYED, LOGS
from oversight.runs.folder import as_markdown, flat

SHOWN = ("method", "oversight_probability", "seed", "total_timesteps", "ppo.learning_rate")
"""The settings that HPARAMS shows first; it shows five, and the others on demand."""
_NO_HYPERPARAMETERS = {
    *("run_dir", "device", "threads", "checkpoint_every"),
    *("eval_every", "eval_episodes", "final_episodes", "audit", "audit_every"),
}
_FINAL = ".final"


class Dashboard:
    """The TensorBoard logs of one run.

    Points that an earlier process of the same run wrote after `step` are purged.

    Attributes:
        learner: receives the learner's curves, and pictures.
        curves: the metrics of each policy that are drawn, with the titles of their charts.

    Args:
        run: folder of the run.
        config: settings of the run.
        trained: the method that is trained.
        step: environment steps that have been trained.
    """

    def __init__(self, run: Path, config: TrainConfig, trained: Method, step: int) -> None:
        self.config, self.deployed = config, trained.deployed
        self.curves = task_of(config).curves
        self.path, self._purge = run / LOGS / run_name(config), step + 1 if step else 0
        self.learner = self._writer(self.path)
        self.learner.add_custom_scalars(layout(trained, self.curves))
        self.learner.add_text("settings", as_markdown(config), step)
        self._policies: dict[str, SummaryWriter] = {}

    def add_evaluation(self, results: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Add a point to the curves of each policy, and write everything to the disk."""
        for name, metrics in self._by_run(results):
            if name not in self._policies:
                self._policies[name] = self._writer(self.path / name)
            for curve in self.curves:
                if isfinite(metrics[curve]):  # NaN is what there were no episodes of
                    self._policies[name].add_scalar(f"eval/{curve}", metrics[curve], step)
        for writer in (self.learner, *self._policies.values()):
            writer.flush()

    def add_picture(self, picture: Picture | None, step: int) -> None:
        """Add a picture of what the modules do, if there is one."""
        if picture is not None:
            self.learner.add_image("modules/policies", picture, step, dataformats="HWC")

    def add_final(self, results: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Write settings and final metrics for HPARAMS, in place of those of an earlier end."""
        for old in self.path.glob(f"*{_FINAL}"):
            old.unlink()
        final = {f"final/{name}": results["deployed"][name] for name in self.curves}
        for name, metrics in results.items():
            if name not in ("deployed", self.deployed):
                final[f"final/true_return_{name}"] = metrics["true_return"]
        final = {tag: value for tag, value in final.items() if isfinite(value)}
        with SummaryWriter(str(self.path), filename_suffix=_FINAL) as writer:
            for summary in hparams_summaries(self.config, list(final)):
                writer._get_file_writer().add_summary(summary)
            for tag, value in final.items():
                writer.add_scalar(tag, value, step)
        self._move_after_others()

    def _move_after_others(self) -> None:
        """Name the final file by a later second than the learner's, which would purge its points.

        TensorBoard reads the files of a run in the order of their names.
        """
        for path in self.path.glob(f"*{_FINAL}"):
            *head, seconds, tail = path.name.split(".", maxsplit=4)
            name = ".".join([*head, f"{int(seconds) + 1:010d}", tail])
            path.rename(path.with_name(name))

    def close(self) -> None:
        """Close all files."""
        for writer in (self.learner, *self._policies.values()):
            writer.close()

    def _by_run(
        self, results: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the name of each policy's run; the deployed module has two names and one run."""
        for name, metrics in results.items():
            if name != "deployed":
                yield name + DEPLOYED * (name == self.deployed), metrics

    def _writer(self, path: Path) -> SummaryWriter:
        return SummaryWriter(str(path), purge_step=self._purge)


def hparams_summaries(config: TrainConfig, metrics: Sequence[str]) -> list[Summary]:
    """Return the records of HPARAMS: its columns, the settings of a run, and that the run ended.

    `SummaryWriter.add_hparams` would make a run of its own for them.

    Args:
        config: settings of the run.
        metrics: tags of the metrics that are shown beside the settings.
    """
    settings = {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in flat(asdict(config))
        if name not in _NO_HYPERPARAMETERS
    }
    columns, start, end = hparams(settings, dict.fromkeys(metrics, 0.0))  # type: ignore[no-untyped-call]
    plugin = columns.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(plugin.content)
    for each in data.experiment.hparam_infos:
        each.differs = each.name in SHOWN  # TensorBoard puts these first
    plugin.content = data.SerializeToString()
    return [columns, start, end]


def make_logger(writer: SummaryWriter) -> Logger:
    """Return a logger for SB3 that writes to a shared writer."""
    return Logger(None, [_Output(writer)])


class _Output(TensorBoardOutputFormat):
    """SB3's output on an existing writer; the constructor of SB3 would open a second file."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer
        self._is_closed = False


def layout(trained: Method, curves: Mapping[str, str]) -> dict[str, dict[str, list[object]]]:
    """Return TensorBoard's custom layout: the charts, with titles in words.

    A chart has one tag, since TensorBoard gives all tags of a run the same color.

    Args:
        trained: the method, which determines the losses.
        curves: the metrics of each policy that are drawn, with the titles of their charts.
    """
    losses = ["policy_gradient_loss", "value_loss", "entropy_loss"]
    return {
        "true return of each policy (hidden from the learner)": {
            title: _chart(f"eval/{name}") for name, title in curves.items()
        },
        "what the learner saw": {
            "return per episode": _chart("rollout/ep_rew_mean"),
            "episode length": _chart("rollout/ep_len_mean"),
            **{f"share of steps: {name}": _chart(f"routing/share_{name}") for name in ROUTES},
            "share of episodes observed": _chart("oversight/observed_fraction"),
        },
        "optimization": {
            name: _chart(f"train/{name}")
            for name in [*losses, *(each.name for each in trained.auxiliary)]
        },
    }


def _chart(tag: str) -> list[object]:
    """Return a chart of exactly this tag, which TensorBoard reads as a regular expression."""
    return ["Multiline", [f"^{tag}$"]]
