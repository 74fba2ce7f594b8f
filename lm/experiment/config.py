"""The settings of a run, all but its method and seed."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from lm.attack.relearning import AttackConfig
from lm.attack.suite import GridConfig, Suite
from lm.evaluation.exam import ExamConfig
from lm.experiment.repair import RepairConfig
from lm.hf.adapters import AdapterConfig
from lm.labels import LabelConfig
from lm.model.sizes import size
from lm.posthoc.graddiff import GradDiffConfig
from lm.posthoc.npo import NPOConfig
from lm.posthoc.rmu import RMUConfig
from lm.posthoc.simnpo import SimNPOConfig
from lm.task import TaskConfig
from lm.training.loop import LoopConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlearnConfig:
    """What methods have in common.

    Raises:
        ValueError: if there is no such size, or a number is out of its range.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    """what there is to unlearn"""
    data: Path | None = None
    """folder of prepared documents to unlearn in place of stories"""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """how good the labels are"""
    model: str | None = None
    """name or folder of a pretrained model to go on from; by default a new one is trained"""
    gguf_file: str | None = None
    """its file, where the weights are in one of that format"""
    size: str = "nano"
    """shape of a new model, one of `lm.model.sizes.SIZES`"""
    expansion: int = 64
    """hidden units that a routed method adds to each layer"""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """size of a pair of adapters at each linear map, in methods that add these"""
    batch_size: int = 8
    """stories of a batch"""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """how models are trained"""
    rmu: RMUConfig = field(default_factory=RMUConfig)
    """how representations are misdirected, by the methods that do"""
    graddiff: GradDiffConfig = field(default_factory=GradDiffConfig)
    """how the loss on stories to forget is raised, by the method that does"""
    npo: NPOConfig = field(default_factory=NPOConfig)
    """how stories to forget are made less likely than they were"""
    simnpo: SimNPOConfig = field(default_factory=SimNPOConfig)
    """how their tokens are made unlikely"""
    repair: RepairConfig = field(default_factory=RepairConfig)
    """how models are repaired after something is cut out"""
    exam: ExamConfig = field(default_factory=ExamConfig)
    """what they are asked"""
    attack: AttackConfig = field(default_factory=AttackConfig)
    """how they relearn when they are attacked"""
    suite: Suite = "relearning"
    """which attacks there are"""
    grid: GridConfig = field(default_factory=GridConfig)
    """the settings of attacks that only the full suite has"""

    def __post_init__(self) -> None:
        size(self.size)  # refuses unknown names
        if self.gguf_file is not None and self.model is None:
            raise ValueError(
                f"gguf_file {self.gguf_file} was given without a model: name its folder"
            )
        if self.data is not None:
            self._require_documents()
        stories = self.task.stories
        if self.expansion < 1 or not 1 <= self.batch_size <= stories:
            raise ValueError(
                f"expansion {self.expansion} and batch_size {self.batch_size} were given: give 1 "
                f"or more of each, and a batch of at most {stories} stories"
            )

    def _require_documents(self) -> None:
        """Refuse what is said of stories alone."""
        if replace(self.task, stories=TaskConfig().stories) != TaskConfig():
            raise ValueError(
                f"documents of {self.data} were given with topics or words of stories: of the "
                "settings of the task, documents take task.stories alone, how many to train on"
            )
        if self.labels.errors != "iid":
            raise ValueError(
                f"label_errors {self.labels.errors!r} is of stories about the same entity: "
                "documents take iid"
            )
