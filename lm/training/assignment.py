"""Labels that a model with a module for each topic gives to unlabeled texts while it trains.

The rule is a hard step of expectation maximization (Dempster, Laird and Rubin 1977): the module
that explains a text best takes it, and the core takes a text that no module explains. Until modules
can tell texts apart, unlabeled texts teach nothing. In gradient-routed auxiliary modules as they
were published, an unlabeled text teaches every part instead ("absorption"); then the core learns
each topic first, no module explains its texts any better, and the topic stays in the core.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256

import torch
from torch import Tensor

from lm.models.language_model import LanguageModel
from lm.training.batches import Batch, Batches
from lm.training.loop import precision
from lm.training.profiles import IGNORED_TEXT
from lm.training.route_tables import FORGET, RETAIN, UNLABELED
from oversight.routing import RouteTable, routing
from oversight.runs.settings import require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignmentConfig:
    """How a model labels unlabeled texts, in methods in which it does.

    The advantage of a module on a text is how much lower the loss of its first tokens is with the
    module alone than with no module, in nats. If the largest advantage exceeds the threshold, the
    text is routed as if it was labeled with that module's topic, and otherwise as if it was labeled
    retain.

    Raises:
        ValueError: if a number is out of its range.
    """

    warmup: int = 400
    """Number of steps in which unlabeled texts teach nothing."""
    tokens: int = 64
    """Number of tokens at the beginning of a text on which modules are compared."""
    threshold: float = 2.0
    """Least advantage, in nats, by which a module takes a text."""

    def __post_init__(self) -> None:
        require_numbers(self, "warmup", least=0)
        require_numbers(self, "tokens", least=1)
        require_numbers(self, "threshold", least=0)


class AssignedBatches:
    """Batches (`lm.training.batches.Batches`) whose unlabeled texts a model in training labels.

    A batch is a function of the step and of the weights of the model at that step, so that resumed
    training gets the same batches.

    Args:
        batches: texts with routes of `table`; an unlabeled text is unlabeled throughout.
        model: the model that is trained on the batches, with one module per topic.
        table: its `lm.training.profiles.profile_table`.
        config: when a text is labeled, and with what.
    """

    def __init__(
        self, batches: Batches, model: LanguageModel, table: RouteTable, config: AssignmentConfig
    ) -> None:
        self.batches, self.model, self.table, self.config = batches, model, table, config

    @property
    def digest(self) -> str:
        """Content hash of the batches and of the settings by which texts are labeled."""
        return sha256(f"{self.batches.digest} {asdict(self.config)}".encode()).hexdigest()

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        batch = self.batches(step)
        rows = batch.route[:, 0] == UNLABELED
        if not rows.any():
            return batch
        route = batch.route.clone()
        if step < self.config.warmup:
            route[rows] = self.table.route_names.index(IGNORED_TEXT)
        else:
            few = Batch(*(part[rows, : self.config.tokens] for part in batch))
            best_r, module_r = advantages(self.model, self.table, few).max(dim=1)
            label_r = torch.where(best_r > self.config.threshold, FORGET + module_r, RETAIN)
            route[rows] = label_r.to(route)[:, None].expand(-1, route.shape[1])
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
