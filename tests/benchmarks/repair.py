"""What the repair gives back of a topic, by the labels that choose its texts.

Run as `python -m tests.benchmarks.repair`, with one thread. Each model is trained and cut once, and
repaired twice: on checked texts, and on all that the labels of its method do not call forget. No
model is attacked. The folder keeps what is finished, so that an interrupted command goes on where
it was. A model takes about a minute and a half on an idle core. With `--count`, nothing is trained:
it counts the stories to forget that a repair by the given labels reads, in seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
import tyro

from lm.config import RunConfig
from lm.evaluation.exam import Report
from lm.labels import LabelConfig, Routed
from lm.methods import BASE
from lm.pretraining import load_task
from lm.repair import RepairConfig
from lm.results import REFERENCES
from lm.run import Run
from lm.training.batches import Rows
from lm.training_data import make_training_data
from oversight.runs.statistics import estimate

STAGES = ("before", "after", "repaired", "repaired-given")
"""The exams: as trained, cut, repaired on checked texts, and repaired on what is not labeled."""
MEASURES = ("forget_loss", "mcq_forget", "retain_loss", "mcq_retain")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The runs."""

    method: tuple[str, ...] = (
        *("gold", "unrouted", "filtered"),
        *("parameters", "parameters-checked", "parameters-unlabeled"),
    )
    """methods to run; the references are run once for each seed"""
    recalls: tuple[float, ...] = (0.5, 0.75, 0.9, 0.95)
    """shares of the stories to forget that are labeled"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """seeds of the runs"""
    folder: Path = Path("runs/repair")
    """folder of the runs"""
    count: bool = False
    """count the missed stories that a repair by the given labels reads, and train nothing"""


def runs_of(benchmark: Benchmark) -> Iterator[tuple[str, float, int]]:
    """Yield method, recall and seed of each run, all of a seed before those of the next."""
    for seed, recall, method in product(benchmark.seeds, benchmark.recalls, benchmark.method):
        if method not in REFERENCES:
            yield method, recall, seed
        elif recall == benchmark.recalls[0]:
            yield method, 1.0, seed


def measured(method: str, recall: float, seed: int, folder: Path) -> dict[str, Report]:
    """Return the exams of a run by stage; what is finished is read."""
    config = RunConfig(labels=LabelConfig(recall=recall))
    task = load_task(config)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(config, task, method, seed, folder)
    before, after, model = run.repaired(lambda stage, share: None)
    given = replace(config, repair=replace(config.repair, labels="given"))
    (folder / "given").mkdir(exist_ok=True)
    other = Run(given, task, method, seed, folder / "given")
    ablated = run.stages.load("ablated")
    records = (
        before,
        after,
        run.stages.record("repaired", lambda: run.examine(model)),
        other.stages.record("repaired", lambda: other.examine(other.repair(ablated))),
    )
    return {stage: record["report"] for stage, record in zip(STAGES, records, strict=True)}


def missed(recall: float, seed: int) -> tuple[int, int]:
    """Return how many stories to forget a repair by the given labels trains on, and holds out."""
    config = RunConfig(labels=LabelConfig(recall=recall), repair=RepairConfig(labels="given"))
    task = load_task(config)
    data = make_training_data(config, task, BASE, seed)
    forget = Routed(data.repair, task.to_forget(data.repair.topics).long())
    batches = Rows(forget, config.batch_size, seed)
    read = sum(int(batches(step).route[:, 0].sum()) for step in range(config.repair.steps))
    return read, int(task.to_forget(data.held_out.topics).sum())


def row(method: str, recall: float, found: Mapping[int, dict[str, Report]]) -> str:
    """Return the row of a method at a recall: the mean over its seeds, by stage and measure."""
    cells = []
    for stage in STAGES[1:]:
        losses = iter(MEASURES)
        for loss, facts in zip(losses, losses, strict=True):
            means = [
                estimate([each[stage][name] for each in found.values()]).value
                for name in (loss, facts)
            ]
            cells.append(f"{means[0]:.2f}, {means[1]:.0%}")
    seeds = ",".join(map(str, found))
    return " | ".join([f"{recall:g}", method, seeds, *cells])


def main() -> None:
    """Run what is not finished, and print a row for each method and recall after each run."""
    benchmark = tyro.cli(Benchmark, description=__doc__)
    torch.set_num_threads(1)
    if benchmark.count:
        for recall, seed in product(benchmark.recalls, benchmark.seeds):
            print(f"{recall:g}, seed {seed}: {missed(recall, seed)}", flush=True)
        return
    headings = [f"{split} {stage}" for stage in STAGES[1:] for split in ("forget", "retain")]
    print(" | ".join(["recall", "method", "seeds", *headings]))
    found: dict[tuple[str, float], dict[int, dict[str, Report]]] = {}
    for method, recall, seed in runs_of(benchmark):
        folder = benchmark.folder / f"{method}-recall{recall:g}-seed{seed}"
        found.setdefault((method, recall), {})[seed] = measured(method, recall, seed, folder)
        print(row(method, recall, found[method, recall]), flush=True)


if __name__ == "__main__":
    main()
