"""The settings of a run, and the settings of a study of many runs, which nest those of a run.

A flag of `python -m lm.unlearn` is the name of a field. The settings of a run have no prefix on the
command line, as in `--size` or `--loop.steps`, and the settings of a method after training have the
name of the method as a prefix, as in `--rmu.steps`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from lm.attacks.config import AttackConfig, GridConfig
from lm.attacks.suite import Suite
from lm.data.task import TaskConfig
from lm.data.texts import TextsConfig
from lm.evaluation.exam import ExamConfig
from lm.labels import LabelConfig
from lm.methods import BASE, GOLD, method_of, profiles_of, require_kept_topics, require_methods
from lm.models.shapes import AdapterConfig, size
from lm.posthoc import POSTHOC, PostHocSettings
from lm.repair import RepairConfig
from lm.training.assignment import AssignmentConfig
from lm.training.branches import BranchConfig
from lm.training.distributed import ScaleConfig
from lm.training.loop import LoopConfig
from lm.training.profiles import GramConfig
from oversight.runs.settings import (
    ADDED_LATER,
    SEED,
    require_distinct,
    require_number,
    require_numbers,
)

NO_PREFIX = tyro.conf.arg(name="")
"""Gives the flags of nested settings no prefix."""


class Variation(NamedTuple):
    """What a study may vary: the settings in which runs of a method with the same seed differ."""

    recall: float
    """Share of the texts to forget that is labeled forget."""
    precision: float
    """Share of the texts labeled forget that is to be forgotten."""
    expansion: int | None
    """Number of hidden units that are added to each layer; None where a method adds none."""
    topic_count: int
    """Number of topics to forget, which are the first of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The settings of a run, except for its method and seed.

    Raises:
        ValueError: if the size is unknown, or a number is out of its range.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    """Settings of the stories and of the topics to forget."""
    data: Path | None = None
    """Folder of documents that replace the stories; `python -m lm.prepare` writes it."""
    texts: Annotated[TextsConfig, NO_PREFIX] = field(default_factory=TextsConfig)
    """Texts that replace the stories without a preparation, and questions about facts."""
    labels: Annotated[LabelConfig, NO_PREFIX] = field(default_factory=LabelConfig)
    """Quality of the labels."""
    model: str | None = None
    """Name or folder of a pretrained model to start from; by default, models are new."""
    gguf_file: str | None = None
    """File of the pretrained model, if its weights are in GGUF format."""
    size: str = "nano"
    """Shape of new models: nano, small, medium, large, tinystories-8m or others."""
    expansion: int = 64
    """Number of hidden units that a routed method adds to each layer."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Size of a pair of adapters, in methods that train a pretrained model by adapters."""
    batch_size: int = 8
    """Number of texts in a batch."""
    gram: GramConfig = field(default_factory=GramConfig)
    """Settings of gram and its variants, which have a module for each topic."""
    assignment: AssignmentConfig = field(default_factory=AssignmentConfig)
    """Settings of gram-em and filtered-em, in which a model labels unlabeled texts."""
    branch: BranchConfig = field(default_factory=BranchConfig)
    """Settings of lora-branch and finetune-branch, which learn topics after the core."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Settings of training."""
    posthoc: Annotated[PostHocSettings, NO_PREFIX] = field(default_factory=PostHocSettings)
    """Settings of the methods after training, each under its name."""
    repair: RepairConfig = field(default_factory=RepairConfig)
    """Settings of the repair of models after the ablation."""
    keep_weights: bool = field(default=False, metadata=ADDED_LATER)
    """Whether to keep the weights of large models that no run reads any more, so that they can be
    served and inspected with their modules."""
    profiles: bool = False
    """Whether to examine all capability profiles of each method, that is, every subset of its
    modules, by topic and relative to the compute of unrouted."""
    exam: ExamConfig = field(default_factory=ExamConfig)
    """Settings of the exam of models."""
    suite: Annotated[Suite, tyro.conf.arg(name="attack")] = "relearning"
    """Attacks to run. full adds LoRA, paraphrases, probes, prompts and quantization; with none,
    models are compared before any attack."""
    attack: AttackConfig = field(default_factory=AttackConfig)
    """Settings of the attacks that relearn."""
    grid: GridConfig = field(default_factory=GridConfig)
    """Settings of the attacks that only the full suite has."""

    def __post_init__(self) -> None:
        size(self.size)  # refuses unknown names
        if self.gguf_file is not None and self.model is None:
            raise ValueError(
                f"gguf_file {self.gguf_file} was given without a model: name its folder"
            )
        if self.texts.forget and self.model is None:
            raise ValueError(
                f"the texts of {self.texts.forget[0]} were given without a model: name one by "
                "--model"
            )
        if self.data is not None or self.texts.forget:
            self._require_documents()
        elif self.texts.questions or self.texts.retain_questions or self.texts.relearn:
            raise ValueError(
                "questions were given without texts: name those by --forget and --retain, or "
                "documents by --data; stories have questions of their own"
            )
        if self.profiles:
            self._require_topics()
        stories = self.task.stories
        if self.expansion < 1 or not 1 <= self.batch_size <= stories:
            raise ValueError(
                f"expansion {self.expansion} and batch_size {self.batch_size} were given: give 1 "
                f"or more of each, and a batch of at most {stories} stories"
            )

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to forget; documents have one, which is called forget."""
        stories = self.data is None and not self.texts.forget
        return self.task.forget if stories else (FORGET_TOPIC,)

    @property
    def subject(self) -> str:
        """The topics or documents to forget, in words."""
        if self.texts.forget:
            return f"the texts of {', '.join(path.name for path in self.texts.forget)}"
        return ", ".join(self.task.forget) if self.data is None else f"documents of {self.data}"

    @property
    def variation(self) -> Variation:
        """Those of the settings that a study may vary."""
        labels = self.labels
        return Variation(labels.recall, labels.precision, self.expansion, len(self.task.forget))

    def at(self, variation: Variation) -> "RunConfig":
        """Return these settings at a variation."""
        recall, precision, units, count = variation
        return replace(
            self,
            labels=replace(self.labels, recall=recall, precision=precision),
            expansion=self.expansion if units is None else units,
            task=replace(self.task, forget=self.task.forget[:count]),
        )

    def _require_topics(self) -> None:
        """Refuse profiles of what has no topics, and of a model that cannot be validated."""
        if self.data is not None or self.texts.forget:
            raise ValueError(
                f"--profiles was given with documents of {self.data or self.texts.forget[0]}, "
                "which have no topics: leave one of the two out"
            )
        if len(self.task.forget) > MOST_TOPICS:
            raise ValueError(
                f"--profiles was given with {len(self.task.forget)} topics to forget, which have "
                f"{2 ** len(self.task.forget)} profiles: give at most {MOST_TOPICS} topics"
            )
        if self.loop.scale.parallel == "fsdp":
            raise ValueError(
                "--profiles was given with fsdp, which shards the model that is to be validated: "
                "train by ddp, or in one process"
            )

    def _require_documents(self) -> None:
        """Refuse settings that apply only to stories."""
        if replace(self.task, stories=TaskConfig().stories) != TaskConfig():
            given = self.data or self.texts.forget[0]
            raise ValueError(
                f"documents of {given} were given with topics or words of stories: of the "
                "settings of the task, documents take task.stories alone, how many to train on"
            )
        if self.labels.errors != "iid":
            raise ValueError(
                f"label_errors {self.labels.errors!r} is of stories about the same entity: "
                "documents take iid"
            )


MOST_TOPICS = 8
"""Maximum number of topics whose profiles are examined: each topic doubles their number."""

FORGET_TOPIC = "forget"
"""The name of what is to be forgotten of documents."""

MAY_CHANGE = {
    *("method", "seeds", "recalls", "precisions", "expansions", "topic_counts"),
    *("attack", "workers", "run_dir", "keep_weights", "audit", "audit_every"),
    *ScaleConfig.__slots__,
}
"""Settings that a resumed study may change: its runs, their attacks, what is measured in training,
and how runs are spread over processes, but nothing that determines a run."""

RECALL = 0.9
"""The label recall of a study, by default."""
RECALLS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""The recalls of a sweep over labels, by default."""
EXPANSIONS = (16, 64, 256)
"""The expansions of a sweep over the tax, by default."""

SWEPT: Mapping[str, tuple[str, str]] = {
    "recalls": ("labels", "one recall by --label-recall"),
    "precisions": ("labels", "one precision by --label-precision"),
    "expansions": ("tax", "one number of hidden units by --expansion"),
    "topic_counts": ("tax", "the topics themselves by --forget-topics"),
}
"""The sweep that each of the lists of values belongs to, and what to give in place of the list."""


def _default_run() -> RunConfig:
    return RunConfig(labels=LabelConfig(recall=RECALL))


Sweep = Literal["none", "labels", "tax"]
"""What a study varies: nothing, the quality of labels, or what the cost of routing depends on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """Train language models, make them forget, attack them, and compare methods.

    Raises:
        ValueError: if a method is unknown, or a number is out of its range.
    """

    method: tuple[str, ...] = ("gold", "unrouted", "filtered", "modules-classified")
    """Methods to run, such as gold, filtered, era or rmu; an unknown name lists all of them."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each method is run with each of them."""
    sweep: Sweep = "none"
    """Setting to vary. labels: methods are run at each of the recalls, and of the precisions if
    some are given. tax, the cost of routing: methods are run with each of the expansions, and of
    the topic counts if some are given; those without an expansion are run once for each count. In
    both, gold and unrouted are run as well, which do not depend on labels and expansions."""
    recalls: tuple[float, ...] = RECALLS
    """Label recalls of a sweep over labels."""
    precisions: tuple[float, ...] = ()
    """Label precisions of a sweep over labels; by default that of --label-precision alone."""
    expansions: tuple[int, ...] = field(default=EXPANSIONS, metadata=ADDED_LATER)
    """Numbers of hidden units that a routed method adds to each layer, in a sweep over the tax."""
    topic_counts: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)
    """Numbers of topics to forget in a sweep over the tax, each the first of --forget-topics; by
    default all of them alone."""
    workers: int | None = None
    """Number of runs at a time, each with one thread; by default one per core."""
    run_dir: Path | None = None
    """Folder of the study; by default the next free one under runs/unlearn."""
    dry_run: bool = False
    """Print an estimate of parameters, memory and time of training, and write nothing."""
    run: Annotated[RunConfig, NO_PREFIX] = field(default_factory=_default_run)
    """The settings that all runs share."""

    def __post_init__(self) -> None:
        require_methods(self.method)
        require_kept_topics(self.method, self.run.topics)
        lists = [name for name in ("precisions", "topic_counts") if getattr(self, name)]
        require_distinct(self, "seeds", "recalls", "expansions", *lists)
        for seed in self.seeds:  # those of attacks are larger, and fit into PyTorch's 64 bits
            require_number("seeds", seed, SEED)
        require_numbers(self, "workers", "expansions", least=1)
        labels = self.run.labels
        for recall, precision in product(self.recalls, self.precisions or (labels.precision,)):
            replace(labels, recall=recall, precision=precision)  # refuses what is out of range
        self._require_sweep()
        if self.sweep == "tax":
            self._require_tax()

    def _require_sweep(self) -> None:
        """Refuse values of a sweep without it, and a setting that a sweep varies."""
        defaults = {each.name: each.default for each in fields(self)}
        for name, (sweep, instead) in SWEPT.items():
            values = getattr(self, name)
            if self.sweep != sweep and values != defaults[name]:
                raise ValueError(
                    f"{name} {values} were given without --sweep {sweep}: give it, or {instead}"
                )
        labels = self.run.labels
        if self.precisions and labels.precision != LabelConfig().precision:
            raise ValueError(
                f"label_precision {labels.precision} was given with precisions "
                f"{self.precisions} of a sweep: give --precisions alone"
            )
        if self.sweep == "labels" and labels.recall not in (RECALL, LabelConfig().recall):
            raise ValueError(
                f"label_recall {labels.recall} was given with a sweep over labels, which "
                "has its own: give --recalls"
            )

    def _require_tax(self) -> None:
        """Refuse a sweep over the tax in which nothing varies, or too many topics are counted."""
        run, counts = self.run, self.topic_counts
        if run.expansion != RunConfig().expansion:
            raise ValueError(
                f"expansion {run.expansion} was given with a sweep over the tax, which has its "
                "own: give --expansions"
            )
        if not any(method_of(name).uses_expansion for name in self.method):
            raise ValueError(
                f"--sweep tax was given with {', '.join(self.method)}, whose models have no "
                "expansion: give a --method such as modules, parameters or gram"
            )
        if not counts:
            return
        if run.data is not None or run.texts.forget:
            raise ValueError(
                f"topic_counts {counts} were given with {run.subject}, which have no topics: leave "
                "one of the two out"
            )
        if run.profiles:
            raise ValueError(
                f"topic_counts {counts} were given with --profiles, which are those of one set of "
                "topics: leave one of the two out"
            )
        if not 1 <= min(counts) <= max(counts) <= len(run.topics):
            raise ValueError(
                f"topic_counts {counts} were given, and {len(run.topics)} topics to forget: give "
                f"numbers from 1 to {len(run.topics)}, or more --forget-topics"
            )
        require_kept_topics(self.method, run.topics[: min(counts)])

    def _require_room_for_modules(self) -> None:
        """Raise a ValueError if a batch cannot hold a text for each module."""
        topics, size = self.run.topics, self.run.batch_size
        modular = [name for name in self.method if method_of(name).per_topic]
        if modular and len(topics) > size:
            raise ValueError(
                f"{modular[0]} has a module for each of {len(topics)} topics, and a batch has "
                f"{size} texts: give a --batch-size of {len(topics)} or more, or fewer topics"
            )

    def _require_modules_to_silence(self) -> None:
        """Raise a ValueError if modules are to be silenced where that is not possible."""
        run, scale = self.run, self.run.loop.scale
        if not run.gram.silence or not any(method_of(name).draws_routes for name in self.method):
            return
        odd = {
            f"--model {run.model}": run.model is not None,
            "--loop.scale.compile": scale.compile,
            f"--loop.scale.parallel {scale.parallel}": scale.parallel != "none",
            f"--loop.scale.accumulate {scale.accumulate}": scale.accumulate > 1,
        }
        for given in (name for name, refused in odd.items() if refused):
            raise ValueError(
                f"gram.silence {run.gram.silence} was given with {given}: modules are silenced "
                "only in new models that one process trains on whole batches, not compiled; give "
                "--gram.silence 0, or leave the other out"
            )

    def require_fitting_methods(self) -> None:
        """Raise a ValueError if a method needs a pretrained model, or training, that is not there.

        Without steps of training, a pretrained model stays as it is: that is the reference
        `unrouted`, and what methods after training begin with. No other method does anything then.
        """
        self._require_room_for_modules()
        self._require_modules_to_silence()
        labeled = [name for name in self.method if method_of(name).labeler]
        if labeled and self.run.loop.scale.parallel == "fsdp":
            raise ValueError(
                f"{labeled[0]} was given with fsdp, which shards the model that labels texts: "
                "train by ddp, or in one process"
            )
        adapted = [name for name in self.method if method_of(name).kind == "adapters"]
        if adapted and self.run.model is None:
            raise ValueError(f"{adapted[0]} adapts a pretrained model: name one by --model")
        experts = [name for name in self.method if method_of(name).kind == "experts"]
        if experts and self.run.model is not None:
            raise ValueError(
                f"{experts[0]} trains new models, whose MLPs are experts, and --model "
                f"{self.run.model} was given: leave it out, or choose gram or gram-lora"
            )
        for name in self.method if self.run.model and not self.run.loop.steps else ():
            if name in POSTHOC or name == BASE:
                continue
            why = (
                "is the model trained without the texts to forget"
                if method_of(name).labels.true
                else "removes only what it has routed, or left out, in training"
            )
            raise ValueError(
                f"--loop.steps 0 leaves the model as it is, and {name} {why}: give steps, or leave "
                f"only {BASE} and methods that follow training, {', '.join(POSTHOC)}"
            )

    @property
    def trainings(self) -> tuple[str, ...]:
        """The methods to run; with profiles, filtering is trained once for each that it serves."""
        if not self.run.profiles:
            return self.method
        several = (profiles_of(name, self.run.topics) for name in self.method)
        return tuple(dict.fromkeys(name for names in several for name in names))

    @property
    def variations(self) -> tuple[Variation, ...]:
        """The variations of a method to which all settings matter."""
        own = self.run.variation
        values = (
            self.recalls if self.sweep == "labels" else (own.recall,),
            self.precisions or (own.precision,),
            self.expansions if self.sweep == "tax" else (own.expansion,),
            self.topic_counts or (own.topic_count,),
        )
        return tuple(Variation(*each) for each in product(*values))

    def variations_of(self, method: str) -> tuple[Variation, ...]:
        """Return the variations of a method, which differ in the settings that matter to it."""
        own = self.run.variation
        # references of a sweep over labels have all of them
        told = (1.0 if self.sweep == "labels" else own.recall, own.precision)
        found = self.variations
        if method in (GOLD, BASE):
            found = tuple(Variation(*told, *each[2:]) for each in found)
        if not method_of(method).uses_expansion:
            found = tuple(each._replace(expansion=None) for each in found)
        return tuple(dict.fromkeys(found))
