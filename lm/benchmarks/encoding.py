"""Requests as tokens, split between prompt and continuation as lm-evaluation-harness does it."""

from typing import TYPE_CHECKING, NamedTuple

from lm.benchmarks.forms import Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Row(NamedTuple):
    """What a model reads, and the tokens that are to follow the last positions of it."""

    read: tuple[int, ...]
    targets: tuple[int, ...]


class Encoder:
    """Encodes requests for a context.

    A prompt and its continuation are encoded together, and the prompt alone says how many of
    these tokens are its own, so that words are cut as in running text. What does not fit is
    dropped on the left.

    Args:
        tokenizer: of the model.
        context: tokens that the model sees at most.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", context: int) -> None:
        self.tokenizer, self.context = tokenizer, context
        first = tokenizer.bos_token_id
        self.first: str = tokenizer.decode(tokenizer.eos_token_id if first is None else first)

    def rows(self, request: Request) -> list[Row]:
        """Return a row for each continuation.

        Raises:
            ValueError: if a continuation is no token, or more than the context holds.
        """
        context = request.context.rstrip()
        spaces = request.context[len(context) :]  # a word begins with the space before it
        count = len(self._tokens(context))
        return [
            self._row(self._tokens(context + spaces + continuation), count)
            for continuation in request.continuations
        ]

    def _row(self, tokens: list[int], count: int) -> Row:
        targets = tuple(tokens[count:])
        if not 1 <= len(targets) <= self.context:
            raise ValueError(
                f"one of its choices is {len(targets)} tokens after the prompt: give from 1 to "
                f"{self.context}, which the model's context holds"
            )
        return Row(tuple(tokens[-(self.context + 1) :][:-1]), targets)

    def _tokens(self, text: str) -> list[int]:
        # a text that brings the first token itself gets no second one
        special = not text.startswith(self.first)
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=special, verbose=False)
        return tokens
