"""The settings of a run, all but its method and seed.

The settings of the command: which runs there are, and what all of them share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lm.attacks.relearning import AttackConfig
from lm.attacks.suite import GridConfig, Suite
from lm.data.task import TaskConfig
from lm.evaluation.exam import ExamConfig
from lm.labels import Errors, LabelConfig
from lm.methods import METHODS
from lm.models.hf_layers import AdapterConfig
from lm.models.layers import size
from lm.posthoc import GradDiffConfig, NPOConfig, SimNPOConfig
from lm.repair import RepairConfig
from lm.rmu import RMUConfig
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
    """shape of a new model, one of `lm.models.layers.SIZES`"""
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


Sweep = Literal["none", "labels"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """The part of the settings that says what models are to start from."""

    model: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dry:
    """The part of the settings that says whether anything is done."""

    dry_run: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """Train language models, cut out what they are to forget, attack them, and compare methods."""

    method: tuple[str, ...] = ("gold", "unrouted", "filtered", "modules-classified")
    """Methods to run: those that the README lists, such as gold, filtered, era or rmu."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each method is run with each of them."""
    label_recall: float = 0.9
    """Share of the stories to forget that is labeled so."""
    label_precision: float = 1.0
    """Share of the stories labeled so that is to be forgotten."""
    label_errors: Errors = "iid"
    """Whether each story is mislabeled by itself, or all stories of an entity together."""
    sweep: Sweep = "none"
    """What to vary. labels: the methods are run at each of `recalls`, gold and unrouted once."""
    recalls: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    """Shares of labels of a sweep over labels."""
    workers: int | None = None
    """Runs at a time, one thread each; by default one for each core."""
    run_dir: Path | None = None
    """Folder of the study; by default the next free one under runs/unlearn."""
    dry_run: bool = False
    """Tell parameters, memory and time of training, and write nothing."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """What there is to unlearn."""
    data: Path | None = None
    """Folder of documents to unlearn in place of stories; `python -m lm.prepare` writes some."""
    model: str | None = None
    """Name or folder of a pretrained model to go on from, in place of new ones."""
    gguf_file: str | None = None
    """File of the pretrained model, where its weights are in one of that format."""
    size: str = "nano"
    """Shape of new models: nano, small, medium, large, tinystories-8m or others."""
    expansion: int = 64
    """Hidden units that a routed method adds to each layer."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Size of a pair of adapters, in methods that train a pretrained model by these."""
    batch_size: int = 8
    """Stories of a batch."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How models are trained."""
    rmu: RMUConfig = field(default_factory=RMUConfig)
    """How rmu misdirects representations."""
    graddiff: GradDiffConfig = field(default_factory=GradDiffConfig)
    """How graddiff raises the loss on stories to forget."""
    npo: NPOConfig = field(default_factory=NPOConfig)
    """How npo makes stories to forget less likely than they were."""
    simnpo: SimNPOConfig = field(default_factory=SimNPOConfig)
    """How simnpo makes the tokens of stories to forget unlikely."""
    repair: RepairConfig = field(default_factory=RepairConfig)
    """How models are repaired after something is cut out."""
    exam: ExamConfig = field(default_factory=ExamConfig)
    """What they are asked."""
    suite: Annotated[Suite, tyro.conf.arg(name="attack")] = "relearning"
    """Attacks. full: relearning by LoRA, too, probes, prompts, quantization; minutes a method."""
    attack: AttackConfig = field(default_factory=AttackConfig)
    """How they relearn when they are attacked."""
    grid: GridConfig = field(default_factory=GridConfig)
    """Settings of the attacks that only --attack full has."""

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything is written."""
        require_methods(self.method)
        for name, values in (("seeds", self.seeds), ("recalls", self.recalls)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} {values} were given: give one or more, each once")
        if min(self.seeds) < 0:
            raise ValueError(f"seeds {self.seeds} were given: give seeds from 0 on")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        for recall in (self.label_recall, *self.recalls):
            self.run_config(recall)

    def require_model(self) -> None:
        """Raise a ValueError if a method is to adapt a pretrained model, and none is named."""
        adapted = [name for name in self.method if METHODS[name].adapted]
        if adapted and self.model is None:
            raise ValueError(f"{adapted[0]} adapts a pretrained model: name one by --model")

    @property
    def what(self) -> str:
        """What is to be forgotten, in words."""
        return ", ".join(self.task.forget) if self.data is None else f"documents of {self.data}"

    def labels(self, recall: float) -> LabelConfig:
        """Return how good the labels are at a recall."""
        return LabelConfig(recall=recall, precision=self.label_precision, errors=self.label_errors)

    def run_config(self, recall: float) -> UnlearnConfig:
        """Return the settings of a run at a recall."""
        return UnlearnConfig(
            task=self.task,
            data=self.data,
            labels=self.labels(recall),
            model=self.model,
            gguf_file=self.gguf_file,
            size=self.size,
            expansion=self.expansion,
            adapters=self.adapters,
            batch_size=self.batch_size,
            loop=self.loop,
            rmu=self.rmu,
            graddiff=self.graddiff,
            npo=self.npo,
            simnpo=self.simnpo,
            repair=self.repair,
            exam=self.exam,
            attack=self.attack,
            suite=self.suite,
            grid=self.grid,
        )


def require_methods(names: Sequence[str]) -> None:
    """Raise a ValueError for a method that there is not, for none, or for one named twice."""
    for name in names:
        if name not in METHODS:
            near = get_close_matches(name, METHODS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"unknown method {name!r}: {hint}choose from {', '.join(METHODS)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"methods {names} were given: give one or more, each once")
