"""What an unlabeled text teaches, decided by the model itself while it trains.

Gradient-routed auxiliary modules let an unlabeled text teach every part ("absorption"), so that
each topic leaks into the modules of the others. The rule here is a hard step of expectation
maximization (Dempster, Laird and Rubin 1977): the module that explains a text best takes it.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256

import torch
from torch import Tensor

from lm.models.language_model import LanguageModel
from lm.training.batches import Batch, Batches
from lm.training.loop import precision
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from oversight.routing import RouteTable, routing
from oversight.runs.settings import require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class AbsorptionConfig:
    """When an unlabeled text counts as labeled with a topic, in methods that decide this.

    The advantage of a module on a text is how much lower the loss of its first tokens is with the
    module alone than with no module, in nats. If the largest advantage exceeds the threshold, the
    text is routed as if it was labeled with that module's topic; otherwise it teaches every part.

    Raises:
        ValueError: if a number is out of its range.
    """

    warmup: int = 200
    """Number of steps in which every unlabeled text teaches every part."""
    tokens: int = 32
    """Number of tokens at the beginning of a text on which modules are compared."""
    threshold: float = 2.0
    """Least advantage, in nats, by which a module takes a text."""

    def __post_init__(self) -> None:
        require_numbers(self, "warmup", least=0)
        require_numbers(self, "tokens", least=1)
        require_numbers(self, "threshold", least=0)


class AssignedBatches:
    """Batches (`lm.training.batches.Batches`) whose unlabeled texts a model in training assigns.

    A batch is a function of the step and of the weights of the model at that step, so that resumed
    training gets the same batches.

    Args:
        batches: texts with routes of `table`; an unlabeled text is unlabeled throughout.
        model: the model that is trained on the batches, with one module per topic.
        table: its `lm.training.profiles.profile_table`.
        config: when a text is assigned to a topic.
    """

    def __init__(
        self, batches: Batches, model: LanguageModel, table: RouteTable, config: AbsorptionConfig
    ) -> None:
        self.batches, self.model, self.table, self.config = batches, model, table, config

    @property
    def digest(self) -> str:
        """Content hash of the batches and of the settings by which texts are assigned."""
        return sha256(f"{self.batches.digest} {asdict(self.config)}".encode()).hexdigest()

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        batch = self.batches(step)
        rows = batch.route[:, 0] == UNLABELED
        if step < self.config.warmup or not rows.any():
            return batch
        few = Batch(*(part[rows, : self.config.tokens] for part in batch))
        best_r, module_r = advantages(self.model, self.table, few).max(dim=1)
        taken_r = torch.where(best_r > self.config.threshold, FORGET + module_r, UNLABELED)
        route = batch.route.clone()
        route[rows] = taken_r.to(route)[:, None].expand(-1, route.shape[1])
        return batch._replace(route=route)


def advantages(model: LanguageModel, table: RouteTable, batch: Batch) -> Tensor:
    """Return by how much each module alone lowers the loss of each text, in nats, [rows, modules].

    Args:
        model: a model with one module per topic, on any device.
        table: its `lm.training.profiles.profile_table`.
        batch: texts; their routes are not read.
    """
    count, rows = len(model.module_names), len(batch.inputs)
    routes = torch.tensor([RETAIN, *range(FORGET, FORGET + count)])  # no module, then each alone
    route = routes.repeat_interleave(rows)[:, None].expand(-1, batch.inputs.shape[1])
    inputs, targets = (part.repeat(1 + count, 1) for part in (batch.inputs, batch.targets))
    device = model.device
    # masks are off while gradients are off
    with torch.enable_grad(), routing(model, table, route.to(device)), precision(device):
        losses = model.token_losses(inputs.to(device), targets.to(device))
    losses_cr = losses.detach().sum(1).view(1 + count, rows)
    return (losses_cr[0] - losses_cr[1:]).T.cpu()
