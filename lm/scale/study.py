"""What the trainings of a study take, method by method."""

from dataclasses import replace

from rich.console import Group, RenderableType

from lm.config import StudyConfig
from lm.methods import METHODS, Method
from lm.model.sizes import size
from lm.scale.estimate import Spread, Work
from lm.scale.shapes import PUBLISHED, Shape, shape_of
from lm.scale.table import estimate_table
from lm.task import CONTEXT


def study_estimate(study: StudyConfig, context: int | None = None) -> RenderableType:
    """Return a table for each kind of model that the study trains.

    Args:
        study: its settings.
        context: tokens of a row of documents; by default rows are stories.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    work = Work(study.loop.steps, study.batch_size, context or CONTEXT)
    scale = study.loop.scale
    spread = Spread("none", 1, scale.accumulate, scale.checkpoint_activations)
    kinds: dict[Shape, list[str]] = {}
    for name in study.method:
        kinds.setdefault(method_shape(study, METHODS[name], context), []).append(name)
    tables = [
        estimate_table(", ".join(names), shape, work, spread) for shape, names in kinds.items()
    ]
    return Group(*(part for table in tables for part in (table, "")))


def method_shape(study: StudyConfig, method: Method, context: int | None = None) -> Shape:
    """Return the shape of a method's model; of stories the vocabulary is that of their tokenizer.

    Raises:
        ValueError: if the shape of the pretrained model is not known.
    """
    if study.model is None:
        vocab_size = study.task.vocab_size if context is None else None
        plain = shape_of(size(study.size, vocab_size))
    else:
        name = study.model.rstrip("/").rsplit("/", 1)[-1]
        if name not in PUBLISHED:
            raise ValueError(
                f"the shape of {study.model} is not known: estimates can be made of "
                f"{', '.join(PUBLISHED)}"
            )
        plain = PUBLISHED[name]
    if method.adapted:
        return replace(plain, rank=study.adapters.rank)
    embedded = method.embedded and study.model is None
    units = study.expansion if method.expanded else 0
    return replace(plain, units=units, added_embedding=embedded)
