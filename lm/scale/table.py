"""The estimate of a study as a table: parameters, memory, tokens, operations and time."""

from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lm.scale.estimate import PEAK, Memory, Spread, Work, memory, operations, tokens_per_second
from lm.scale.shapes import Shape

GIB = 2**30
UTILIZATIONS = (0.2, 0.3, 0.4)


def estimate_table(title: str, shape: Shape, work: Work, spread: Spread) -> RenderableType:
    """Return what training a model takes, on one GPU and on eight.

    Args:
        title: what is trained.
        shape: of the model.
        work: what it is trained on.
        spread: the settings of a piece; `parallel` and `gpus` are of the table.
    """
    per_token = operations(shape, work.context)
    facts = {
        "parameters": f"{shape.total:,}",
        "of the embedding": f"{shape.embedding:,}",
        "added": f"{shape.added:,}",
        "trained": f"{shape.trained:,}",
        "tokens": f"{work.tokens:,} ({work.steps:,} steps x {work.rows:,} x {work.context:,})",
        "operations per token": f"{per_token:.3g}",
        "operations in all": f"{per_token * work.tokens:.3g}",
    }
    about = Table(title=title, show_header=False, box=None, title_justify="left")
    for what, figure in facts.items():
        about.add_row(what, Text(figure))
    note = (
        f"Estimates; the speed is that at a share of {PEAK / 1e12:.0f} TFLOP/s, the peak of an "
        "H100 in bfloat16, and was not measured."
    )
    return Group(about, "", _memory(shape, work, spread), "", _speed(shape, work), note)


def _memory(shape: Shape, work: Work, spread: Spread) -> Table:
    table = Table("GiB per GPU", *Memory._fields, "total", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    ways = {
        "1 GPU": spread._replace(parallel="none", gpus=1),
        "8 GPUs, ddp": spread._replace(parallel="ddp", gpus=8),
        "8 GPUs, fsdp": spread._replace(parallel="fsdp", gpus=8),
    }
    for name, way in ways.items():
        parts = memory(shape, work, way)
        table.add_row(name, *(f"{part / GIB:.2f}" for part in (*parts, parts.total)))
    return table


def _speed(shape: Shape, work: Work) -> Table:
    table = Table("tokens/s, time", *(f"{share:.0%}" for share in UTILIZATIONS), box=None)
    for gpus in (1, 8):
        speeds = [tokens_per_second(shape, work.context, share, gpus) for share in UTILIZATIONS]
        cells = [f"{s:,.0f}, {timedelta(seconds=round(work.tokens / s))}" for s in speeds]
        table.add_row("1 GPU" if gpus == 1 else f"{gpus} GPUs", *cells)
    return table
