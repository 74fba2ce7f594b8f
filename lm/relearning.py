"""A user's own facts in two parts: texts that state one, and questions about the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch

from lm.attacks.relearning import ATTACKS
from lm.corpus import Kind
from lm.data.document import Marks, encode_documents
from lm.data.files import files_at
from lm.data.sources import read_documents
from lm.data.task import StoryRows
from lm.data.texts import TextsConfig
from lm.evaluation.harness import QuestionSet, find_questions
from lm.models.language_model import IGNORED
from lm.training.route_tables import FORGET

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HALF = "half"
"""The attack that trains on texts about a part of the facts, and asks about the others."""


@dataclass(frozen=True, eq=False)
class Relearning:
    """What the attack `half` trains on, and what it asks."""

    texts: Sequence[str]
    """Texts that state a part of the facts to forget."""
    questions: QuestionSet
    """Questions about the other facts to forget."""

    @property
    def checksum(self) -> str:
        """A checksum of texts and questions."""
        return sha256("\0".join([*self.texts, self.questions.checksum]).encode()).hexdigest()

    def rows(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        around: Marks,
        context: int,
        count: int,
        seed: int,
    ) -> StoryRows:
        """Return some of the texts, which the seed draws, one in each row.

        Args:
            tokenizer: the tokenizer of the model.
            around: the tokens around a text.
            context: number of tokens in a row; longer texts are cut.
            count: number of texts; the first of more are the same.
            seed: seed of the draw.
        """
        rng = np.random.default_rng([seed, ATTACKS[HALF].stream])
        chosen = [self.texts[number] for number in rng.permutation(len(self.texts))[:count]]
        encoded = encode_documents(tokenizer, chosen, around.end, context)
        tokens = torch.full((len(chosen), context + 1), IGNORED, dtype=torch.int32)
        tokens[:, 0] = around.start
        for place, own in enumerate(encoded):
            tokens[place, 1 : len(own.tokens) + 1] = torch.from_numpy(own.tokens)
        real = tokens[:, 1:] != IGNORED
        return StoryRows(
            tokens=tokens,
            kinds=torch.where(real, int(Kind.FRAME), -1).to(torch.int16),
            facts=torch.full(real.shape, -1, dtype=torch.int32),
            topics=torch.full((len(chosen),), FORGET),
        )


def relearning_of(texts: TextsConfig) -> Relearning | None:
    """Return the texts and questions that settings name for the attack `half`, if any.

    Raises:
        ValueError: if a file cannot be read, or a record is malformed.
    """
    if texts.relearn_questions is None:
        return None
    for path in texts.relearn:
        files_at(path)
    found = [each.text for each in read_documents(list(texts.relearn), texts.text_field)]
    if not found:
        raise ValueError(
            f"there is no text to relearn from in {texts.relearn[0]}: give one or more"
        )
    return Relearning(found, find_questions(texts.relearn_questions))
