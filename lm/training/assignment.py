"""Labels that another model gives to unlabeled texts, for training with a module for each topic.

In gradient-routed auxiliary modules as they were published, an unlabeled text teaches every part
("absorption"). Then the core learns each topic, too, and no module explains its texts any better.
Here a *labeler*, a model with the same modules, first trains on the labeled texts alone. The module
of the labeler that explains an unlabeled text best gives the text its topic, and the text is
retained if none does: a hard step of expectation maximization (Dempster, Laird and Rubin 1977).
The labels serve a model with modules (`gram-em`), or one that filters by them (`filtered-em`).
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
from oversight.runs.settings import UNIT, require_number, require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignmentConfig:
    """How a labeler labels unlabeled texts, in methods that have one.

    The advantage of a module on a text is how much lower the loss of its first tokens is with the
    module alone than with no module, in nats. If the largest advantage exceeds the threshold, the
    text is routed as if it was labeled with that module's topic, and otherwise as if it was labeled
    retain.

    Raises:
        ValueError: if a number is out of its range.
    """

    share: float = 0.25
    """Number of steps of the labeler, as a share of those of the training."""
    tokens: int = 64
    """Number of tokens at the beginning of a text on which modules are compared."""
    threshold: float = 5.0
    """Least advantage, in nats, by which a module takes a text."""

    def __post_init__(self) -> None:
        require_number("share", self.share, UNIT)
        require_numbers(self, "tokens", least=1)
        require_numbers(self, "threshold", least=0)

    def labeler_steps(self, training: int) -> int:
        """Return the number of steps of the labeler of a training with so many steps.

        >>> AssignmentConfig(share=0.25).labeler_steps(1200)
        300
        """
        return max(1, round(self.share * training))


class AssignedBatches:
    """Batches (`lm.training.batches.Batches`) whose unlabeled texts a model labels.

    Args:
        batches: texts with routes of `table`; an unlabeled text is unlabeled throughout.
        labeler: the model, with one module per topic; it does not change.
        table: its `lm.training.profiles.profile_table`.
        config: when a text is labeled with a topic.
        topics: whether each topic has a label of its own, `FORGET` + k, or all have `FORGET`.
    """

    def __init__(
        self,
        batches: Batches,
        labeler: LanguageModel,
        table: RouteTable,
        config: AssignmentConfig,
        *,
        topics: bool = True,
    ) -> None:
        self.batches, self.labeler, self.table, self.config = batches, labeler, table, config
        self.topics = topics

    @property
    def digest(self) -> str:
        """Content hash of the batches and of the settings by which texts are labeled."""
        content = f"{self.batches.digest} {asdict(self.config)} {self.topics}"
        return sha256(content.encode()).hexdigest()

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        batch = self.batches(step)
        rows = batch.route[:, 0] == UNLABELED
        if not rows.any():
            return batch
        few = Batch(*(part[rows, : self.config.tokens] for part in batch))
        best_r, module_r = advantages(self.labeler, self.table, few).max(dim=1)
        topic_r = FORGET + (module_r if self.topics else torch.zeros_like(module_r))
        label_r = torch.where(best_r > self.config.threshold, topic_r, RETAIN)
        route = batch.route.clone()
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
