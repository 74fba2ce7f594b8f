"""Which facts a model knows: their answers complete several sentences best.

The answer must be the best of the choices by its likelihood and by its likelihood per character,
since the choices differ in length.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lm.data.facts import Fact, questions_about
from lm.evaluation.likelihoods import log_likelihoods
from lm.evaluation.quiz import encode_choices, prompt_of
from lm.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STATEMENTS = 2
"""Number of sentences that the answer must complete best."""


def known_facts(
    model: LanguageModel,
    tokenizer: "PreTrainedTokenizerBase",
    start: int,
    topic: str,
    facts: Sequence[Fact],
    seed: int,
) -> list[Fact]:
    """Return the facts that a model knows, in their order.

    Args:
        model: the model, on any device.
        tokenizer: its tokenizer.
        start: the token before a text.
        topic: name of the topic of the facts.
        facts: facts of the topic, with four different answers or more.
        seed: seed of the choices.
    """
    known = torch.ones(len(facts), dtype=torch.bool)
    for statement in range(STATEMENTS):
        records = questions_about(topic, facts, seed, statement)
        choices = [record["choices"] for record in records]
        encoded = encode_choices(
            [prompt_of(record) for record in records], choices, tokenizer, start
        )
        found = log_likelihoods(model, encoded, batch_size=64)
        known &= is_best(found, choices, torch.tensor([record["answer"] for record in records]))
    return [fact for fact, knows in zip(facts, known.tolist(), strict=True) if knows]


def is_best(likelihoods: Tensor, choices: Sequence[Sequence[str]], answers: Tensor) -> Tensor:
    """Return which answers are the only best choices by likelihood, also per character, [n] bool.

    Args:
        likelihoods: log-likelihood of each choice, [n, c].
        choices: their texts.
        answers: index of each right choice, [n].

    >>> is_best(torch.tensor([[-3.0, -2.0]]), [["Ulaanbaatar", "Rome"]], torch.tensor([0]))
    tensor([False])
    """
    lengths = torch.tensor([[len(choice) for choice in several] for several in choices])
    rival = torch.ones_like(likelihoods, dtype=torch.bool).scatter(1, answers[:, None], False)
    best = torch.ones(len(answers), dtype=torch.bool)
    for ranks in (likelihoods, likelihoods / lengths):
        own = ranks.gather(1, answers[:, None])[:, 0]
        best &= own > ranks.where(rival, -torch.inf).amax(1)
    return best
