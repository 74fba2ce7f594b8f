"""What routing costs in a language model's training step, and how fast training is.

Run as `python -m tests.benchmarks.lm`. All ways take turns on the same tokens, a third of them
labeled each way: a plain GPT with fused AdamW and no gate; the training loop on the same model,
unrouted; on an expanded model, unrouted, routed at activations, and routed at parameters. Medians
of wall time and of process time, which other work on the machine disturbs less. Peak memory is that
of a process of its own for each way.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from torch.nn.utils import clip_grad_norm_

from lm.models.gpt import GPT
from lm.models.shapes import size
from lm.training.batches import Batch
from lm.training.loop import LoopConfig, make_optimizer, update
from lm.training.route_tables import ERA, PARAMETERS, UNROUTED, era_routes
from oversight.routing import RouteTable
from tests.lm.factories import expanded_copy
from tests.lm.models.plain_gpt import copy_of

Step = Callable[[], object]
WAYS = ("plain", "loop", "expanded", "activations", "parameters")
RATIOS = (
    ("activations over unrouted, time", "activations", "expanded", "at most 1.10"),
    ("parameters over unrouted, time", "parameters", "expanded", "at most 1.15"),
    ("plain over the loop, tokens/s of the loop", "plain", "loop", "at least 0.9"),
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How to measure."""

    size: str = "nano"
    """shape of the model"""
    threads: int = 2
    """threads of PyTorch"""
    batch_size: int = 16
    """rows of a batch"""
    repeats: int = 15
    """steps of each way"""
    memory_of: str = ""
    """the way whose peak memory to print, and nothing else"""


def make(way: str, args: Benchmark) -> Step:
    """Return a training step."""
    torch.manual_seed(0)
    config = size(args.size)
    tokens = torch.randint(config.vocab_size, (args.batch_size, config.context + 1))
    labels = torch.randint(3, (args.batch_size, config.context))
    batch = Batch(tokens[:, :-1], tokens[:, 1:], labels)
    model = GPT(config)
    if way == "plain":
        return plain_step(model, batch)
    if way == "loop":
        return routed_step(model, UNROUTED, batch)
    units, layers = config.width // 2, range(config.num_layers)
    expanded = expanded_copy(model, units, layers, embedding=True)
    if way == "expanded":
        return routed_step(expanded, UNROUTED, batch)
    if way == "parameters":
        return routed_step(expanded, PARAMETERS, batch)
    weights = torch.rand(config.vocab_size)
    return routed_step(
        expanded, ERA, batch._replace(route=era_routes(batch.targets, labels, weights))
    )


def plain_step(model: GPT, batch: Batch) -> Step:
    """Return the step of a plain training loop."""
    plain, settings = copy_of(model), LoopConfig()
    optimizer = torch.optim.AdamW(plain.parameters(), settings.learning_rate, fused=True)

    def step() -> None:
        plain.loss(batch.inputs, batch.targets).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(plain.parameters(), settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    return step


def routed_step(model: GPT, table: RouteTable, batch: Batch) -> Step:
    """Return the step of the training loop."""
    settings = LoopConfig()
    optimizer = make_optimizer(model, settings)
    return lambda: update(
        model, table, batch, optimizer, settings.learning_rate, settings.clip_norm
    )


def seconds(act: Step) -> tuple[float, float]:
    """Return the wall time and the process time that an act takes."""
    wall, process = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - process


def peak_memory(way: str, args: Benchmark) -> float:
    """Return the peak memory, in MiB, of a process that takes a few steps."""
    flags = f"--size {args.size} --threads {args.threads} --batch-size {args.batch_size}"
    command = [sys.executable, "-m", "tests.benchmarks.lm", "--memory-of", way, *flags.split()]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak() -> float:
    """Return the peak memory of this process so far, in MiB; Linux only.

    `getrusage` would count the parent's as well, from before this program was loaded.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Measure all ways and print their figures, the ratios last."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    if args.memory_of:
        step = make(args.memory_of, args)
        for _ in range(3):
            step()
        print(own_peak())
        return
    steps = {way: make(way, args) for way in WAYS}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(args.repeats + 1):
        for way, step in steps.items():
            times[way].append(seconds(step))
    # the first step warms up
    medians = {
        way: [median(column) for column in zip(*rows[1:], strict=True)]
        for way, rows in times.items()
    }
    memory = {way: peak_memory(way, args) for way in WAYS}
    tokens = args.batch_size * size(args.size).context
    print(f"{args.size}, {tokens} tokens a step, {args.threads} threads")
    for way, (wall, process) in medians.items():
        print(
            f"{way:<12} wall {wall * 1e3:7.1f} ms   process {process * 1e3:7.1f} ms   "
            f"{tokens / wall:7,.0f} tokens/s   peak {memory[way]:6.0f} MiB"
        )
    for what, above, below, bar in RATIOS:
        wall, process = (a / b for a, b in zip(medians[above], medians[below], strict=True))
        print(f"{what}: wall {wall:.3f}, process {process:.3f} (bar: {bar})")
    for way in ("activations", "parameters"):
        print(f"{way} over unrouted, memory: {memory[way] / memory['expanded']:.3f} (bar: 1.10)")


if __name__ == "__main__":
    main()
