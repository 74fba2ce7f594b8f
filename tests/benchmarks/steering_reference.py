"""Whether our vector of contrastive activation addition is that of the package steering-vectors.

Run as `python -m tests.benchmarks.steering_reference`, or with `--model FOLDER` and `--text` of a
pretrained model. It prints, for each block, the largest difference of an entry of the mean
difference of contrast pairs to that of `steering_vectors.train_steering_vector`, and the largest
entry.

The package is no dependency: 0.12.2 wants transformers below 5, and this project wants 5.23 or
later, so that no resolver installs both. It works with transformers 5 all the same:
`pip install --no-deps steering-vectors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import tyro
from torch import Tensor, nn

from lm.models.gpt import GPT
from lm.models.gpt_export import to_causal_lm
from lm.models.hf import RoutedCausalLM
from lm.models.hf_loading import load_pretrained
from lm.models.shapes import size
from lm.steering.config import CorpusConfig, RunConfig
from lm.steering.corpus import load_corpus
from lm.steering.vectors import Source, concept_places, likely_others, mean_residuals


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What to compare."""

    model: str | None = None
    """folder of a pretrained model; by default an untrained nano GPT, exported"""
    pairs: int = 16
    """number of contrast pairs"""
    blocks: tuple[int, ...] = (0, 1, 2, 3)
    """the blocks to compare"""


class _Tokens:
    """A tokenizer of texts that are token numbers, so that both see the same tokens.

    It has what the package asks of a tokenizer of transformers.
    """

    pad_token_id = eos_token_id = 0
    pad_token = eos_token = "0"
    padding_side = "right"

    def __call__(self, texts: Sequence[str], **_: object) -> "_Encoded":
        rows = [torch.tensor([int(token) for token in text.split()]) for text in texts]
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        return _Encoded(input_ids=ids, attention_mask=mask)


class _Encoded(dict[str, Tensor]):
    """The encoded texts, on any device."""

    def to(self, device: torch.device) -> "_Encoded":
        return _Encoded({name: each.to(device) for name, each in self.items()})


def theirs(
    plain: nn.Module, pairs: Sequence[tuple[str, str]], blocks: Sequence[int]
) -> dict[int, Tensor]:
    """Return the vectors of the package."""
    from steering_vectors import train_steering_vector  # noqa: PLC0415 (not a dependency)

    made = train_steering_vector(plain, _Tokens(), list(pairs), layers=list(blocks), batch_size=4)
    return dict(made.layer_activations)


def main(args: Benchmark) -> None:
    """Print the differences of the vectors of each block."""
    torch.set_num_threads(1)
    config = RunConfig(corpus=CorpusConfig(train_rows=2000), model=args.model)
    corpus = load_corpus(config, 0)
    if args.model is None:
        shape = replace(size("nano", len(corpus.vocabulary)), context=corpus.context)
        plain = to_causal_lm(GPT(shape, 0))
    else:
        plain = load_pretrained(args.model).model
    model = RoutedCausalLM(plain)
    source = Source(model, corpus, args.blocks, args.pairs, 0, 0)
    rows, at = (each[: args.pairs] for each in concept_places(corpus))
    other, numbers = rows.clone(), torch.arange(len(rows))
    other[numbers, at] = likely_others(source, rows, at)
    here = torch.zeros(rows[:, 1:].shape, dtype=torch.bool)
    here[numbers, at] = True
    ours = [mean_residuals(model, each, here, args.blocks) for each in (rows, other)]
    pairs = [
        (_text(one[: place + 1]), _text(two[: place + 1]))
        for one, two, place in zip(rows, other, at.tolist(), strict=True)
    ]
    found = theirs(plain, pairs, args.blocks)
    for block in args.blocks:
        expected = found[block].double()
        difference = (ours[0][block] - ours[1][block] - expected).abs().max()
        largest = float(expected.abs().max())
        print(f"block {block}: largest difference {float(difference):.1e}, entry {largest:.2f}")


def _text(tokens: Tensor) -> str:
    return " ".join(map(str, tokens.tolist()))


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
