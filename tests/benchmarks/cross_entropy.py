"""What memory the losses of a large vocabulary take, in pieces and all at once.

Run as `python -m tests.benchmarks.cross_entropy`. Each way runs forward and backward in a process
of its own, whose peak is measured in two ways: the most bytes that tensors held at a time, and the
growth of the memory of the process.
"""

import subprocess
import sys
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor
from torch.nn import functional as F

from lm.models.language_model import OutputHead, cross_entropy
from tests.benchmarks.lm import own_peak
from tests.lm.models.live_memory import LiveBytes

WAYS = ("plain", "pieces")
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What to measure."""

    vocab_size: int = 151_936
    """tokens of the vocabulary: that of Qwen 2.5"""
    width: int = 64
    """features that the output head reads"""
    tokens: tuple[int, ...] = (1024, 2048, 4096)
    """tokens of a batch"""
    threads: int = 2
    """threads of PyTorch"""
    way: str = ""
    """the way to measure, and nothing else"""


def losses(way: str, x_btd: Tensor, head_vd: Tensor, next_bt: Tensor) -> Tensor:
    """Return the loss of each token by plain PyTorch or by the model's function."""
    if way == "pieces":
        return cross_entropy(x_btd, OutputHead(head_vd), None, next_bt)
    logits = F.linear(x_btd, head_vd).flatten(0, 1)
    return F.cross_entropy(logits, next_bt.flatten(), reduction="none")


def measure(way: str, args: Benchmark, tokens: int) -> tuple[float, float]:
    """Return the most bytes that tensors held, and the growth of the process, both in MiB."""
    torch.manual_seed(0)
    x_btd = torch.randn(4, tokens // 4, args.width, requires_grad=True)
    head_vd = torch.randn(args.vocab_size, args.width, requires_grad=True)
    next_bt = torch.randint(args.vocab_size, (4, tokens // 4))
    (torch.randn(64, 64, requires_grad=True) @ torch.randn(64, 64)).sum().backward()  # type: ignore[no-untyped-call]
    before = own_peak()
    with LiveBytes() as live:
        losses(way, x_btd, head_vd, next_bt).mean().backward()  # type: ignore[no-untyped-call]
    return live.peak / MIB, own_peak() - before


def main() -> None:
    """Measure both ways at each number of tokens, and print their figures and ratios."""
    args = tyro.cli(Benchmark)
    torch.set_num_threads(args.threads)
    if args.way:
        print(*measure(args.way, args, args.tokens[0]))
        return
    print(f"vocabulary {args.vocab_size:,}, width {args.width}: forward and backward, MiB")
    for tokens in args.tokens:
        peaks = []
        for way in WAYS:
            command = [sys.executable, "-m", "tests.benchmarks.cross_entropy", "--way", way]
            command += ["--tokens", str(tokens), "--width", str(args.width)]
            command += ["--vocab-size", str(args.vocab_size), "--threads", str(args.threads)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks.append([float(figure) for figure in printed.split()])
        (held, grown), (held_pieces, grown_pieces) = peaks
        print(
            f"{tokens} tokens: plain holds {held:.0f} and grows by {grown:.0f}; in pieces "
            f"{held_pieces:.0f} and {grown_pieces:.0f}; ratios {held_pieces / held:.3f} and "
            f"{grown_pieces / grown:.3f} (bar: 0.25)"
        )


if __name__ == "__main__":
    main()
