"""Texts of a user that replace the stories: what to forget, what to retain, and questions."""

from dataclasses import dataclass
from pathlib import Path

from lm.data.files import files_at
from lm.data.labeling import LabelerConfig
from lm.data.preparation import PreparationConfig
from lm.data.records import TEXT
from lm.data.sources import LIST, WORDS, Lists
from oversight.runs.settings import require_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class TextsConfig:
    """Texts to forget and to retain, and multiple-choice questions about their facts.

    Raises:
        ValueError: if one of both kinds of texts is missing, or questions are asked about none.
    """

    forget: tuple[Path, ...] = ()
    """Files or folders of texts to forget, in any format that `python -m lm.prepare` reads. Routed
    methods such as lora-pair train the model on them, and remove the part that has learned them.
    Methods such as npo remove what the model already knows of them, if --loop.steps is 0."""
    retain: tuple[Path, ...] = ()
    """Files or folders of texts to retain."""
    text_field: str | None = None
    """Field of a record that holds the text; by default `text`, or `messages` in records without
    it. Dots lead to nested fields, as in meta.text."""
    forget_field: str | None = None
    """Field of a record to forget that holds the words of its text that are to be forgotten, such
    as `completion` in the texts of `python -m lm.facts`; by default all words are. Methods after
    training, such as npo, and lora-reversed then forget these words alone."""
    context: int = 256
    """Maximum number of tokens of a text, its end included; longer texts are cut."""
    questions: str | None = None
    """Questions about what is to be forgotten: a file of records, or the name of a benchmark
    of `python -m lm.ask`. They are asked before and after unlearning, and under attack."""
    retain_questions: str | None = None
    """Questions about what is to be retained, in the same forms."""
    relearn: tuple[Path, ...] = ()
    """Files or folders of texts that state a part of the facts to forget, on which the attack
    `half` trains."""
    relearn_questions: str | None = None
    """Questions about the other facts to forget, which the attack `half` asks, in the same
    forms."""

    def __post_init__(self) -> None:
        require_numbers(self, "context", least=2)
        if bool(self.relearn) != bool(self.relearn_questions):
            raise ValueError(
                "of --relearn and --relearn-questions, one was given: give both, texts that state "
                "a part of the facts to forget and questions about the others"
            )
        if self.forget_field is not None and not self.forget:
            raise ValueError(
                f"--forget-field {self.forget_field} was given without texts: name those to forget "
                "by --forget"
            )
        for name, other in (("forget", "retain"), ("retain", "forget")):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(
                    f"texts to {name} were given, and none to {other}: name files by --{other}"
                )

    @property
    def preparation(self) -> PreparationConfig:
        """How the texts become labeled documents: by the list that each is in.

        Raises:
            ValueError: if there is no such file, or it cannot be read.
        """
        for path in (*self.forget, *self.retain):
            files_at(path)
        return PreparationConfig(
            source=Lists(
                forget=self.forget,
                retain=self.retain,
                field=self.text_field or TEXT,
                words=self.forget_field,
            ),
            labeler=(
                LabelerConfig(labeler="field", field=LIST, forget_values=("forget",))
                if self.forget_field is None
                else LabelerConfig(labeler="words", field=WORDS)
            ),
            context=self.context,
        )
