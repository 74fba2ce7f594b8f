"""What an audit of gradients costs the training of a language model, relative to a step.

Run as `python -m tests.benchmarks.lm_audit`. Each batch of the default study is audited, as by
`--loop.audit`, and then trained on. Medians of process time, which other work on the machine
disturbs less than wall time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
import tyro

from lm.config import StudyConfig
from lm.data.task import TaskConfig
from lm.pretraining import Training, first_model, load_task
from lm.training.batches import Rows
from lm.training.gradient_audit import gradient_shares
from lm.training.loop import make_optimizer, update
from lm.training_data import make_training_data


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    methods: tuple[str, ...] = ("modules", "gram")
    """methods of lm.unlearn"""
    threads: int = 1
    """threads of PyTorch"""
    batches: int = 40
    """batches to measure on, after two that warm up"""


def seconds(act: Callable[[], object]) -> float:
    """Return the process time of a call."""
    started = time.process_time()
    act()
    return time.process_time() - started


def measure(method: str, batches: int) -> tuple[float, float]:
    """Return the seconds of an audit and of a step, medians over batches."""
    run = replace(StudyConfig().run, task=TaskConfig(stories=1600))
    task = load_task(run)
    training = Training(run, task, method, 0, make_training_data(run, task, method, 0))
    model = first_model(run, method, task, 0)
    rows, loop, table = Rows(training.texts, run.batch_size), run.loop, training.table
    optimizer = make_optimizer(model, loop)
    audits, steps = [], []
    for number in range(batches + 2):
        batch = rows(number)
        audits.append(seconds(partial(gradient_shares, model, table, batch)))
        step = partial(update, model, table, batch, optimizer, loop.learning_rate, loop.clip_norm)
        steps.append(seconds(step))
    return median(audits[2:]), median(steps[2:])


def main() -> None:
    """Print the times of each method, and the cost at the default interval."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    every = StudyConfig().run.loop.audit_every
    for method in args.methods:
        audit, step = measure(method, args.batches)
        print(
            f"{method}: audit {audit:.3f} s, step {step:.3f} s, "
            f"{audit / step / every:.1%} of training every {every} steps"
        )


if __name__ == "__main__":
    main()
