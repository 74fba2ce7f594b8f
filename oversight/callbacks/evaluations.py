"""Evaluation during training: the true return of each module, which the learner never sees."""

from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.tensorboard.writer import SummaryWriter

from agents import RoutedPPO
from oversight.config import TrainConfig
from oversight.evaluation import evaluate_all, policies
from oversight.pictures import module_map

CURVES = ("true_return", "true_return_observed", "true_return_unobserved", "paper_return")


class Evaluations(BaseCallback):
    """Plays every module on fresh levels of an environment of its own, every few rollouts.

    Nothing that it measures reaches the agent: it acts on copies, leaves generators untouched, and
    writes to the disk past the logger that the agent holds. It also has that logger write what the
    update before the rollout recorded, so that every curve lies at the step where it was measured
    and a checkpoint finds its past on the disk.

    Args:
        config: the settings of the run.
        writer: where the results go.
    """

    def __init__(self, config: TrainConfig, writer: SummaryWriter) -> None:
        super().__init__()
        self.config, self.writer = config, writer
        self.latest: float | None = None

    def _on_training_start(self) -> None:
        self.resumed_at = self.num_timesteps or None

    def _on_rollout_start(self) -> None:
        self._measure()

    def _on_training_end(self) -> None:
        self._measure()

    def _on_step(self) -> bool:
        return True

    def _measure(self) -> None:
        if self.num_timesteps == self.resumed_at:
            return  # written before the checkpoint was
        if self.num_timesteps // self.config.rollout % self.config.eval_every == 0:
            self._evaluate()
        self.logger.dump(self.num_timesteps)

    def _evaluate(self) -> None:
        assert isinstance(self.model, RoutedPPO)
        config = self.config
        named = policies(self.model.policy, self.model.method.deployed)  # type: ignore[arg-type]
        results = evaluate_all(named, config, config.eval_episodes, config.seed)
        for name, metrics in results.items():
            for curve in CURVES:
                tag = f"eval_{name}/{curve}"
                self.writer.add_scalar(tag, metrics[curve], self.num_timesteps)
        self.latest = results["deployed"]["true_return"]
        picture = module_map({n: p for n, p in named.items() if n != "deployed"}, config.grid)
        self.writer.add_image("modules/policies", picture, self.num_timesteps, dataformats="HWC")
        self.writer.flush()
