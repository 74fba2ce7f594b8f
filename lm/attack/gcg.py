"""A small GCG: a prefix of a few tokens, found by gradients, after which facts get likelier.

Greedy coordinate gradient, Zou et al. 2023 (arXiv 2307.15043): in each step the gradient of the
loss with respect to one-hot tokens proposes swaps of single tokens; some of these are tried, and
the best is made. The prefix is universal: one for all prompts, put after the first token.

Shape suffixes: b batch, t tokens, d width, v vocabulary, p prefix.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lm.evaluation.continuations import Continuations
from lm.model.language_model import LanguageModel
from lm.training.routes import RETAIN, UNROUTED
from oversight.routing import routing


@dataclass(frozen=True, kw_only=True, slots=True)
class GCGConfig:
    """How a prefix is searched for.

    Raises:
        ValueError: if a number is below 1.
    """

    tokens: int = 8
    """tokens of the prefix"""
    steps: int = 20
    """swaps that are made at most"""
    candidates: int = 32
    """swaps that are tried in a step"""
    top: int = 64
    """tokens that the gradient proposes for each place; those tried are drawn from them"""

    def __post_init__(self) -> None:
        given = self.tokens, self.steps, self.candidates, self.top
        if min(given) < 1:
            raise ValueError(
                f"tokens, steps, candidates and top of {given} were given: give 1 or more of each"
            )


class Prefix(NamedTuple):
    """A prefix, and what it does to the prompts that it was found on."""

    tokens: Tensor
    """[p] int64, on the CPU"""
    loss: float
    """mean loss of the tokens to predict, in nats"""


def search(model: LanguageModel, prompts: Continuations, config: GCGConfig, seed: int) -> Prefix:
    """Return the best prefix that gradients lead to, from a random one.

    Args:
        model: it stays as it is.
        prompts: each with the continuation that is to get likely.
        config: how to search.
        seed: of the first prefix and of which swaps are tried.

    Raises:
        ValueError: if prefix and prompts do not fit the model's context.
    """
    generator = torch.Generator().manual_seed(seed)
    (first,) = _random(1, model, config, generator)
    now = best = Prefix(first, loss_after(model, prompts, first))
    for _ in range(config.steps):
        swaps = _swaps(now.tokens, token_gradient(model, prompts, now.tokens), config, generator)
        tried = [Prefix(tokens, loss_after(model, prompts, tokens)) for tokens in swaps]
        now = min(tried, key=lambda prefix: prefix.loss)
        best = min(best, now, key=lambda prefix: prefix.loss)
    return best


def search_at_random(
    model: LanguageModel, prompts: Continuations, config: GCGConfig, seed: int
) -> Prefix:
    """Return the best of as many random prefixes as `search` tries: its control."""
    generator = torch.Generator().manual_seed(seed)
    drawn = _random(1 + config.steps * config.candidates, model, config, generator)
    tried = (Prefix(tokens, loss_after(model, prompts, tokens)) for tokens in drawn)
    return min(tried, key=lambda prefix: prefix.loss)


@torch.no_grad()
def loss_after(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> float:
    """Return the mean loss of the tokens to predict after a prefix, in nats."""
    return float(_loss(model, prompts, model.embedded(_with(prefix, prompts).to(model.device))))


def token_gradient(model: LanguageModel, prompts: Continuations, prefix: Tensor) -> Tensor:
    """Return the gradient of the loss with respect to the prefix as one-hot tokens, [p, v].

    A token's embedding is linear in its one-hot vector: so this is the gradient with respect to
    the embedding, times the embedding of each token.
    """
    tokens_bt = _with(prefix, prompts).to(model.device)
    with torch.no_grad():
        x_btd = model.embedded(tokens_bt)
        vocabulary_vd = model.embedded(torch.arange(model.vocab_size, device=model.device)[None])[0]
    x_btd.requires_grad_()
    with routing(model, UNROUTED.to(model.device), torch.full_like(tokens_bt, RETAIN)):
        (grad_btd,) = torch.autograd.grad(_loss(model, prompts, x_btd), x_btd)
    grad_pd = grad_btd[:, 1 : 1 + len(prefix)].sum(0)
    return (grad_pd @ vocabulary_vd.mT).cpu()


def prefixed(prompts: Continuations, prefix: Tensor) -> Continuations:
    """Return prompts with a prefix after their first token."""
    lengths = prompts.lengths + len(prefix)
    return Continuations(
        beginnings=_with(prefix, prompts),
        lengths=lengths,
        sources=prompts.sources,
        tokens=prompts.tokens,
        places=prompts.places,
        shape=prompts.shape,
    )


def _with(prefix: Tensor, prompts: Continuations) -> Tensor:
    """Return the beginnings of prompts with a prefix after their first token, [b, p + t]."""
    texts = prompts.beginnings
    return torch.cat([texts[:, :1], prefix.expand(len(texts), -1), texts[:, 1:]], 1)


def _loss(model: LanguageModel, prompts: Continuations, x_btd: Tensor) -> Tensor:
    """Return the mean loss of the tokens to predict, given embedded beginnings and their prefix."""
    added = x_btd.shape[1] - prompts.beginnings.shape[1]
    last = (prompts.lengths + added - 1)[prompts.sources]
    # in the form [B, T, ...], which routes of tokens fit
    logits_btv = model.logits(model.features_of(x_btd))
    chosen = logits_btv[prompts.sources, last]
    return F.cross_entropy(chosen.float(), prompts.tokens.to(chosen.device))


def _swaps(
    prefix: Tensor, gradient_pv: Tensor, config: GCGConfig, generator: torch.Generator
) -> list[Tensor]:
    """Return prefixes with one token swapped for one that the gradient proposes."""
    top = min(config.top, gradient_pv.shape[1])
    proposed = (-gradient_pv).topk(top, dim=1).indices
    drawn = torch.randperm(proposed.numel(), generator=generator)[: config.candidates]
    swaps = []
    for number in drawn.tolist():
        place, rank = divmod(number, top)
        swapped = prefix.clone()
        swapped[place] = proposed[place, rank]
        swaps.append(swapped)
    return swaps


def _random(
    count: int, model: LanguageModel, config: GCGConfig, generator: torch.Generator
) -> Tensor:
    """Return random prefixes, [count, p]."""
    return torch.randint(model.vocab_size, (count, config.tokens), generator=generator)
