"""Sample texts begin as fresh stories of their split do, and end where a story ends."""

import pytest

from lm.corpus import StoryDistribution
from lm.data.task import CONTEXT, TaskConfig, make_task
from lm.datasets import PROMPT, Stories, samples
from lm.models.gpt import GPT
from lm.models.layers import GPTConfig


def test_a_sample_goes_on_with_a_story_of_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.datasets.ADDED", 3)
    task = Stories(**vars(make_task(TaskConfig(stories=8, vocab_size=512))))
    model = GPT(
        GPTConfig(vocab_size=task.vocab_size, width=8, num_layers=1, num_heads=1, context=CONTEXT)
    )
    found = samples(model, task, seed=3, count=1)
    assert found == samples(model, task, seed=3, count=1)
    for number, split in enumerate(("forget", "retain")):
        distribution = StoryDistribution(topics=getattr(task.splits, split))
        (story,) = task.sample(1, (3, 90, number), distribution).inputs.tolist()
        (text,) = found[split]
        assert text.startswith(task.tokenizer.decode(story[1:PROMPT]))
