"""Sample texts: how a model goes on with stories of each kind that it has never read."""

from lm.corpus import Telling
from lm.model.generation import generate
from lm.model.language_model import LanguageModel
from lm.task import Task

PROMPT, ADDED = 12, 48
"""Tokens of a story that the model is given, and that it adds."""


def samples(model: LanguageModel, task: Task, seed: int, count: int = 2) -> dict[str, list[str]]:
    """Return stories of the topics to forget and to retain, as a model ends them, by split.

    Args:
        model: on any device.
        task: whose stories it was trained on.
        seed: of the stories, which are new.
        count: how many of each split.
    """
    found = {}
    for number, split in enumerate(("forget", "retain")):
        topics = getattr(task.splits, split) or task.splits.adjacent
        rows = task.tell(count, (seed, 90, number), Telling(topics=topics))
        prompt = rows.now[:, :PROMPT].to(model.device)
        texts = generate(model, prompt, ADDED).tolist()
        found[split] = [_text(task, tokens) for tokens in texts]
    return found


def _text(task: Task, tokens: list[int]) -> str:
    """Return what stands between the first end of a story and the next."""
    story = tokens[1:]
    end = story.index(task.end) if task.end in story else len(story)
    text: str = task.tokenizer.decode(story[:end])
    return text
