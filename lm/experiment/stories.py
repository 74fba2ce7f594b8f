"""Stories as what there is to unlearn: a world of topics and facts, told anew whenever asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lm.attack.attacks import ATTACKS, draw_examples
from lm.attack.rows import Row
from lm.attack.suite import GridConfig, look
from lm.corpus import Telling
from lm.evaluation.exam import Exam, ExamConfig, make_exam
from lm.experiment.subject import Split
from lm.model.language_model import LanguageModel
from lm.task import StoryRows, Task
from lm.training.routes import RETAIN


class Stories(Task):
    """A task of stories, as an experiment asks for it (`lm.experiment.subject.Subject`)."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Nothing: settings say it all."""
        return {}

    def unmarked(self, topics: Tensor) -> Tensor:
        """Return `RETAIN` for each story."""
        return torch.full_like(topics, RETAIN)

    def exam(self, seed: int, config: ExamConfig) -> Exam:
        """Return an exam of new stories, and of questions about their facts."""
        return make_exam(self, seed, config)

    def takes(self, attack: str) -> bool:
        """Return whether there are topics for an attack: all may be adjacent to those to forget."""
        own = ATTACKS.get(attack)
        return own is None or own.split == "forget" or bool(self.splits.retain)

    def examples(self, attack: str, count: int, seed: int) -> StoryRows:
        """Return new stories for an attack to train on."""
        return draw_examples(self, attack, count, seed)

    def look(
        self, model: LanguageModel, exam: Exam, attack: str, config: GridConfig, seed: int
    ) -> list[Row]:
        """Return what an attack that trains nothing of a model gets out of it."""
        return look(model, self, exam, attack, config, seed)

    def prompts(self, split: Split, count: int, seed: int) -> StoryRows:
        """Return new stories of a split; adjacent ones where none is to be retained."""
        topics = getattr(self.splits, split) or self.splits.adjacent
        number = ("forget", "retain").index(split)
        return self.tell(count, (seed, 90, number), Telling(topics=topics))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self.tokenizer.decode(list(tokens))
        return text
