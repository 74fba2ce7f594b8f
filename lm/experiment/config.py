"""The settings of a run, all but its method and seed."""

from dataclasses import dataclass, field, replace

from lm.attack.relearning import AttackConfig
from lm.evaluation.exam import ExamConfig
from lm.experiment.repair import RepairConfig
from lm.labels import LabelConfig
from lm.methods import Method
from lm.model.sizes import GPTConfig, size
from lm.rmu import RMUConfig
from lm.task import CONTEXT, TaskConfig
from lm.training.loop import LoopConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlearnConfig:
    """What methods have in common.

    Raises:
        ValueError: if there is no such size, or a number is out of its range.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    """what there is to unlearn"""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """how good the labels are"""
    size: str = "nano"
    """shape of the model, one of `lm.model.sizes.SIZES`"""
    expansion: int = 64
    """hidden units that a routed method adds to each layer"""
    batch_size: int = 8
    """stories of a batch"""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """how models are trained"""
    rmu: RMUConfig = field(default_factory=RMUConfig)
    """how representations are misdirected, by the method that does"""
    repair: RepairConfig = field(default_factory=RepairConfig)
    """how models are repaired after something is cut out"""
    exam: ExamConfig = field(default_factory=ExamConfig)
    """what they are asked"""
    attack: AttackConfig = field(default_factory=AttackConfig)
    """how they are attacked"""

    def __post_init__(self) -> None:
        size(self.size)  # refuses unknown names
        if self.expansion < 1 or not 1 <= self.batch_size <= self.task.stories:
            raise ValueError(
                f"expansion {self.expansion} and batch_size {self.batch_size} were given: give 1 "
                f"or more of both, and a batch of at most {self.task.stories} stories"
            )

    def shape(self, vocab_size: int, method: Method) -> GPTConfig:
        """Return the shape of a method's model for a vocabulary."""
        plain = replace(size(self.size, vocab_size), context=CONTEXT)
        if not method.expanded:
            return plain
        layers = tuple(range(plain.num_layers))
        return replace(
            plain,
            expansion=self.expansion,
            expanded_layers=layers,
            added_embedding=method.embedded,
        )
