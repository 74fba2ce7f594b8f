"""A prefix found by GCG on one half of the facts to forget, judged by the other half.

The halves are independent: a prefix may learn the values of the first half by heart, but not
those of the second. So what it gets of these was in the model. The control is the best of as many
random prefixes as GCG has tried.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lm.attack.asked import ask, encoded, prompted
from lm.attack.gcg import GCGConfig, prefixed, search, search_at_random
from lm.attack.rows import CONTROL, FACTS, Row
from lm.corpus import HALVES
from lm.evaluation.continuations import lay_out, log_likelihoods
from lm.evaluation.quiz import credit
from lm.model.language_model import LanguageModel
from lm.task import Task

_SEARCHES: dict[str, Callable[..., tuple[Tensor, float]]] = {
    FACTS: search,
    CONTROL: search_at_random,
}


def gcg(model: LanguageModel, task: Task, seed: int, config: GCGConfig | None = None) -> list[Row]:
    """Return the share of the second half's facts that a model knows after a prefix.

    Args:
        model: it stays as it is.
        task: what was to be unlearned.
        seed: of the questions and of the search.
        config: how the prefix is searched for.

    Raises:
        ValueError: if prefix and prompts do not fit the model's context.
    """
    config = config or GCGConfig()
    found, judged = (
        ask(task, [seed, 7 + number], parts=[half], rounds=rounds)
        for number, (half, rounds) in enumerate(zip(HALVES, (1, 2), strict=True))
    )
    right = lay_out(
        [prompted(task, question.prompt) for question in found],
        [[encoded(task, question.choices[question.answer])] for question in found],
    )
    asked = lay_out(
        [prompted(task, question.prompt) for question in judged],
        [[encoded(task, choice) for choice in question.choices] for question in judged],
    )
    longest = config.tokens + max(int(each.lengths.max()) for each in (right, asked))
    if longest > model.context:
        raise ValueError(
            f"prompts with a prefix of {config.tokens} tokens have up to {longest}, and the "
            f"context is {model.context}: give fewer tokens to GCG"
        )
    answers = torch.tensor([question.answer for question in judged])
    rows = []
    for figure, searched in _SEARCHES.items():
        prefix, _ = searched(model, right, config, seed)
        scores = log_likelihoods(model, prefixed(asked, prefix))
        known = float(credit(scores, answers).mean())
        rows.append(Row("gcg", {"tokens": config.tokens}, figure, known))
    return rows
