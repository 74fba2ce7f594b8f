"""Sample texts: how a model goes on with stories of each kind that it has never read."""

from typing import get_args

from lm.experiment.subject import Split, Subject
from lm.model.generation import generate
from lm.model.language_model import LanguageModel

PROMPT, ADDED = 12, 48
"""Tokens of a text that the model is given, and that it adds."""
COUNT = 2
"""Texts of each split."""


def samples(
    model: LanguageModel, task: Subject, seed: int, count: int = COUNT
) -> dict[str, list[str]]:
    """Return texts to forget and to retain, as a model goes on with them, by split.

    Args:
        model: on any device.
        task: whose texts it was trained on.
        seed: of the texts, which it was not trained on.
        count: how many of each split.
    """
    found = {}
    for split in get_args(Split):
        rows = task.prompts(split, count, seed)
        prompt = rows.now[:, :PROMPT].to(model.device)
        texts = generate(model, prompt, ADDED).tolist()
        found[split] = [_text(task, tokens) for tokens in texts]
    return found


def _text(task: Subject, tokens: list[int]) -> str:
    """Return what stands between the first end of a story and the next."""
    story = tokens[1:]
    end = story.index(task.end) if task.end in story else len(story)
    return task.decode(story[:end])
