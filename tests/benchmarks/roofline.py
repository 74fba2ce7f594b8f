"""How close each part of the project comes to the rate at which the machine multiplies matrices.

Run as `python -m tests.benchmarks.roofline`: about two minutes. It counts the operations of each
part with the formulas of `torch.utils.flop_counter`, and times the part. Then it times the matrix
products of that part alone, with matrices of the same shapes that nothing else pushes out of the
caches. The table has a row for each part:

- GFLOP, seconds, GFLOP/s: of the part as users run it, everything else that it does included;
- of its shapes: what its products would take alone, as a share of its time;
- of the peak: its rate, as a share of that of products of large matrices in float32.

Seconds are process time with one thread, which other work on the machine disturbs less, and wall
time with several. With `--curves` it prints how the cost of an update and of a rollout grows.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import tyro
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from agents import RoutedPPO
from lm.attacks.relearning import relearn
from lm.config import RunConfig
from lm.evaluation.exam import examine
from lm.methods import BASE
from lm.pretraining import Training, first_model, load_task
from lm.run import measure_section
from lm.training.batches import Rows
from lm.training.loop import make_optimizer, update
from lm.training_data import make_training_data
from oversight.rl.agent import make_agent
from oversight.rl.config import TrainConfig
from oversight.rl.evaluation import evaluate_all, policies
from oversight.rl.training import train
from oversight.runs.folder import RunFolder, commit
from tests.benchmarks import lm

Act = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What to measure."""

    threads: int = 1
    """threads of PyTorch"""
    repeats: int = 5
    """times that each part is timed"""
    rollouts: int = 10
    """rollouts of the default training run; 86 are the whole run"""
    rl: bool = True
    """whether to measure the parts of reinforcement learning"""
    lm: bool = True
    """whether to measure the parts of language models"""
    model: str | None = None
    """folder of a pretrained model, such as SmolLM2-135M, whose training step to measure as well"""
    curves: bool = False
    """whether to measure how costs grow with lanes and width, and nothing else"""
    out: Path | None = None
    """file for the figures, as JSON"""


def _attention(query: Any, key: Any, value: Any, *_: Any, out_val: Any, **__: Any) -> int:  # noqa: ANN401
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(
    grad: Any,  # noqa: ANN401
    query: Any,  # noqa: ANN401
    key: Any,  # noqa: ANN401
    value: Any,  # noqa: ANN401
    *_: Any,  # noqa: ANN401
    out_val: Any,  # noqa: ANN401
    **__: Any,  # noqa: ANN401
) -> int:
    shapes = grad.shape, query.shape, key.shape, value.shape
    return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]


OPERATIONS = {
    **flop_registry,
    # of the attention on a CPU, which the registry of PyTorch 2 lacks
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""The number of floating-point operations of each operator that multiplies matrices."""


class Array(NamedTuple):
    """The form of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self) -> torch.Tensor:
        """Return a tensor of this form."""
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        # as a whole, since numbers may lie in several places of a tensor
        memory = torch.zeros(last + 1, dtype=self.dtype)
        if self.dtype.is_floating_point:
            memory.uniform_(-1, 1)
        return memory.as_strided(self.shape, self.stride)


class Product(NamedTuple):
    """A product of matrices of certain forms."""

    function: Any
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the products that are computed inside this context, and their operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.times: Counter[Product] = Counter()
        self.operations: dict[Product, int] = {}

    @property
    def total(self) -> int:
        """The floating-point operations of all products."""
        return sum(count * self.operations[product] for product, count in self.times.items())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        count = OPERATIONS.get(function._overloadpacket)
        if count is None:
            with self:  # some operators are made of others
                parts = function.decompose(*args, **kwargs)
            return function(*args, **kwargs) if parts is NotImplemented else parts
        result = function(*args, **kwargs)
        product = Product(
            function, _formed(tuple(args)), tuple((k, _formed(v)) for k, v in kwargs.items())
        )
        self.times[product] += 1
        self.operations[product] = count(*args, **kwargs, out_val=result)
        return result


def _formed(value: Any) -> Any:  # noqa: ANN401
    """Return arguments with the form of each tensor in its place."""
    if isinstance(value, torch.Tensor):
        return Array(tuple(value.shape), value.stride(), value.dtype)
    return tuple(map(_formed, value)) if isinstance(value, tuple | list) else value


def _made(value: Any) -> Any:  # noqa: ANN401
    """Return arguments with a tensor in place of each form."""
    if isinstance(value, Array):
        return value.make()
    return [*map(_made, value)] if isinstance(value, tuple) else value


def clock() -> float:
    """Return process time with one thread, which other work disturbs less, or else wall time."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(act: Act, repeats: int, most: float = float("inf")) -> float:
    """Return the median time of an act, repeated until it has taken `most` seconds."""
    times: list[float] = []
    while len(times) < repeats and sum(times) < most:
        start = clock()
        act()
        times.append(clock() - start)
    return median(times)


COVERED = 0.98
"""Share of a part's operations whose products are timed; the others are rare and small."""


@torch.no_grad()
def seconds_alone(products: Products) -> float:
    """Return the time that the products take alone, one form after the other."""
    by_work = sorted(products.times, key=lambda p: -products.times[p] * products.operations[p])
    covered, taken = 0, 0.0
    for product in by_work:
        args, kwargs = _made(product.args), {k: _made(v) for k, v in product.kwargs}
        act = partial(product.function, *args, **kwargs)
        act()
        taken += products.times[product] * seconds(act, 30, most=0.2)
        covered += products.times[product] * products.operations[product]
        if covered > COVERED * products.total:
            break
    return taken * products.total / max(covered, 1)


def peak(dtype: torch.dtype, size: int = 2048) -> float:
    """Return the operations a second of products of large matrices."""
    one, other = (torch.rand(size, size).to(dtype) for _ in range(2))
    act = partial(torch.mm, one, other)
    act()
    return 2 * size**3 / seconds(act, 5, most=5.0)


class Row(NamedTuple):
    """The figures of a part."""

    part: str
    gflop: float
    seconds: float
    alone: float

    def figures(self, peak_rate: float) -> dict[str, float]:
        """Return what the table shows of the part."""
        return {
            "gflop": self.gflop,
            "seconds": self.seconds,
            "gflop_per_second": self.gflop / self.seconds,
            "share_of_its_shapes": self.alone / self.seconds,
            "share_of_peak": self.gflop * 1e9 / self.seconds / peak_rate,
        }


def measure(part: str, act: Act, repeats: int) -> Row:
    """Count the operations of a part and time it; the first execution warms up."""
    act()
    taken = seconds(act, repeats, most=20.0)
    with Products() as products:
        act()
    return Row(part, products.total / 1e9, taken, seconds_alone(products))


def trained_agent(config: TrainConfig) -> RoutedPPO:
    """Return an agent after a few rollouts, in which episodes are as short as later."""
    return make_agent(config).learn(10 * config.rollout)


def rollout_of(agent: RoutedPPO) -> Act:
    """Return what collects a rollout; from now on the agent does not learn from any."""
    agent.train = lambda: None  # type: ignore[method-assign]
    return lambda: agent.learn(agent.n_steps * agent.n_envs, reset_num_timesteps=False)


def rl_parts(args: Benchmark) -> Iterator[tuple[str, Act]]:
    """Yield the parts of reinforcement learning, with the settings of the default run."""
    config = TrainConfig(device="cpu", threads=args.threads)
    agent = trained_agent(config)
    yield "RL update", agent.train
    named = policies(agent.policy, agent.method.deployed)  # type: ignore[arg-type]
    yield (
        f"RL evaluation, {len(named) - 1} policies",
        partial(evaluate_all, named, config, config.eval_episodes, config.seed),
    )
    yield "RL rollout", rollout_of(agent)
    steps = args.rollouts * config.rollout
    share = min(1.0, steps / config.total_timesteps)
    short = replace(
        config, total_timesteps=steps, final_episodes=round(share * config.final_episodes)
    )
    yield f"RL default run, {args.rollouts} rollouts", partial(run_once, short)


def run_once(config: TrainConfig) -> None:
    """Train a run as the command does, with evaluations and checkpoints, in a new folder."""
    with TemporaryDirectory() as folder:
        train(config, RunFolder(Path(folder)))


STEPS = {
    "loop": "unrouted",
    "expanded": "expanded, unrouted",
    "activations": "routed at activations",
    "parameters": "routed at parameters",
}
"""The ways of `tests.benchmarks.lm` whose steps are measured, and what to call them."""


def lm_parts(args: Benchmark) -> Iterator[tuple[str, Act]]:
    """Yield the parts of language models, with the settings of the default study."""
    for way, name in STEPS.items():
        yield f"LM nano step, {name}", lm.make(way, lm.Benchmark(threads=args.threads))
    config = RunConfig()
    task = load_task(config)
    model, exam = first_model(config, BASE, task, seed=0), task.exam(0, config.exam)
    yield "LM nano exam", partial(examine, model, exam)
    attack = replace(config.attack, steps=5)
    examples = task.examples("same", max(attack.num_examples), 0)
    rate, shown = attack.learning_rates[0], measure_section(exam, "forget")
    yield (
        "LM nano attack, 5 steps of relearning and its exams",
        partial(relearn, model, examples, shown, rate, attack),
    )
    if args.model is not None:
        for name in (BASE, "parameters"):
            yield f"LM {Path(args.model).name} step, {name}", pretrained_step(args.model, name)


def pretrained_step(folder: str, name: str) -> Act:
    """Return a training step of a method on a pretrained model."""
    config = RunConfig(model=folder)
    task = load_task(config)
    data = make_training_data(config, task, name, 0)
    training = Training(config, task, name, 0, data)
    model = first_model(config, name, task, 0)
    optimizer = make_optimizer(model, config.loop)
    batch = Rows(training.texts, config.batch_size, 0)(0)
    rate, norm = config.loop.learning_rate, config.loop.clip_norm
    return lambda: update(model, training.table, batch, optimizer, rate, norm)


LANES, WIDTHS = (32, 64, 128, 256, 512, 1024), (16, 32, 64, 128, 256, 512)


def curves(args: Benchmark) -> dict[str, dict[int, float]]:
    """Return the microseconds of a step of experience, by lanes and by width."""
    config = TrainConfig(device="cpu", threads=args.threads)
    lanes = {lane: replace(config, num_envs=lane) for lane in LANES}
    widths = {
        width: replace(config, ppo=replace(config.ppo, hidden_sizes=(width, width)))
        for width in WIDTHS
    }
    found: dict[str, dict[int, float]] = {}
    for what, configs in {"lanes": lanes, "width": widths}.items():
        for size, each in configs.items():
            agent = make_agent(each).learn(each.rollout)
            update_seconds = seconds(agent.train, args.repeats, most=3.0)
            rollout_seconds = seconds(rollout_of(agent), args.repeats, most=3.0)
            for part, taken in (("update", update_seconds), ("rollout", rollout_seconds)):
                found.setdefault(f"{part} by {what}", {})[size] = 1e6 * taken / each.rollout
    return found


def main() -> None:
    """Measure what was asked for, print it, and write it to a file."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    if args.curves:
        found = curves(args)
        print("microseconds of a step of experience")
        for name, by_size in found.items():
            print(f"{name:<18}" + "  ".join(f"{n}: {us:.2f}" for n, us in by_size.items()))
        save(args, {"curves": found})
        return
    rates = {"float32": peak(torch.float32), "bfloat16": peak(torch.bfloat16)}
    print(f"{args.threads} threads, commit {commit()}")
    for dtype, rate in rates.items():
        print(f"large products in {dtype}: {rate / 1e9:.0f} GFLOP/s")
    print(f"{'part':<52}{'GFLOP':>9}{'seconds':>10}{'GFLOP/s':>9}{'shapes':>8}{'peak':>7}")
    table: dict[str, dict[str, float]] = {}
    for parts in [rl_parts] * args.rl + [lm_parts] * args.lm:
        for name, act in parts(args):
            row = measure(name, act, args.repeats).figures(rates["float32"])
            table[name] = row
            print(
                f"{name:<52}{row['gflop']:>9.2f}{row['seconds']:>10.4f}"
                f"{row['gflop_per_second']:>9.1f}{row['share_of_its_shapes']:>8.0%}"
                f"{row['share_of_peak']:>7.0%}",
                flush=True,
            )
    save(args, {"rates": rates, "parts": table})


def save(args: Benchmark, found: dict[str, Any]) -> None:
    """Write figures to the file that was asked for, with what they were measured by."""
    if args.out is not None:
        settings = asdict(args) | {"out": str(args.out)}
        about = {"settings": settings, "commit": commit(), "torch": torch.__version__}
        args.out.write_text(json.dumps(about | found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
