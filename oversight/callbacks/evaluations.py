"""Evaluation during training: the true return of each module, which the learner never sees."""

from torch.utils.tensorboard.writer import SummaryWriter

from oversight.callbacks.moments import Moments
from oversight.config import TrainConfig
from oversight.evaluation import evaluate_all, policies
from oversight.pictures import module_map
from oversight.selection import Kept

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
        leaky: keeps the checkpoint of the best true return; a choice that no overseer could make.
        pictures: whether a picture of the modules goes there too.
    """

    def __init__(
        self, config: TrainConfig, writer: SummaryWriter, leaky: Kept, pictures: bool = True
    ) -> None:
        super().__init__(config.eval_every)
        self.config, self.writer = config, writer
        self.leaky, self.pictures = leaky, pictures
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
        self.leaky.offer(self.num_timesteps, self.latest, agent.policy.state_dict())
        if self.pictures:
            picture = module_map({n: p for n, p in named.items() if n != "deployed"}, config.grid)
            tag = "modules/policies"
            self.writer.add_image(tag, picture, self.num_timesteps, dataformats="HWC")
        self.writer.flush()
