"""What removable modules cost in a training step of gram.

Run as `python -m tests.benchmarks.modules`, with one thread: under four minutes. Models without
modules (`unrouted`) and with 1, 2, 4 and 8 of them (`gram`, default sizes) take turns on the same
stories. Each line is of one batch size and one share of labels. A ratio is that of the medians of
process time, which other work on the machine disturbs less than wall time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import tyro

from lm.config import RunConfig
from lm.corpus.world import TOPICS
from lm.data.task import TaskConfig
from lm.labels import LabelConfig
from lm.methods import BASE
from lm.models.layers import silence_modules
from lm.pretraining import Training, first_model, load_task
from lm.training.batches import Rows
from lm.training.loop import make_optimizer, update
from lm.training_data import make_training_data

FORGET = ("forest", "garden", "sea", "river")
"""The topics of the preset `profiles`; others follow them."""
MODULES = (1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    batch_sizes: tuple[int, ...] = (8, 32)
    """stories of a batch; the preset has 8"""
    recalls: tuple[float, ...] = (1.0, 0.5)
    """shares of the labels that gram is told"""
    repeats: int = 40
    """steps of each model"""
    warmup: int = 3
    """steps of each model before those that count"""
    stories: int = 2000
    """stories to draw batches from"""
    silence: float = 0.0
    """weight of the penalty on what modules write about stories of others, as --gram.silence"""
    seed: int = 0
    """seed of stories, labels and first weights"""


def training_step(args: Benchmark, modules: int, size: int, recall: float) -> Callable[[int], None]:
    """Return what takes a step of the training loop on the batch of a number."""
    topics = (*FORGET, *(topic for topic in TOPICS if topic not in FORGET))[: max(modules, 1)]
    config = RunConfig(
        task=TaskConfig(forget=topics, stories=args.stories),
        labels=LabelConfig(recall=recall),
        batch_size=size,
    )
    name = "gram" if modules else BASE
    task = load_task(config)
    data = make_training_data(config, task, name, args.seed)
    training = Training(config, task, name, args.seed, data)
    model, loop = first_model(config, name, task, args.seed), config.loop
    if modules and args.silence:
        silence_modules(model, args.silence)
    optimizer, batches = make_optimizer(model, loop), Rows(training.texts, size, args.seed)

    def step(number: int) -> None:
        update(
            model, training.table, batches(number), optimizer, loop.learning_rate, loop.clip_norm
        )

    return step


def ratios(args: Benchmark, size: int, recall: float) -> list[float]:
    """Return the milliseconds of a step without modules, then the ratios of steps with modules."""
    steps = {count: training_step(args, count, size, recall) for count in (0, *MODULES)}
    times: dict[int, list[float]] = {count: [] for count in steps}
    for number in range(args.warmup + args.repeats):
        for count, step in steps.items():
            start = time.process_time()
            step(number)
            times[count].append(time.process_time() - start)
    medians = {count: median(each[args.warmup :]) for count, each in times.items()}
    return [1e3 * medians[0], *(medians[count] / medians[0] for count in MODULES)]


def main() -> None:
    """Measure all models, and print a line for each batch size and share of labels."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(1)
    counts = " | ".join(map(str, MODULES))
    print(f"| batch | labels | no module, ms | {counts} |\n" + "| - " * 7 + "|")
    for size in args.batch_sizes:
        for recall in args.recalls:
            plain, *routed = ratios(args, size, recall)
            cells = " | ".join(f"{ratio:.2f}" for ratio in routed)
            print(f"| {size} | {recall:.0%} | {plain:.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
