"""The settings of exams."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationConfig:
    """How to train the output bias.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 200
    """Number of steps of Adam."""
    learning_rate: float = 0.05
    """Initial learning rate, which decays linearly to 0."""
    retain_weight: float = 100.0
    """Weight of the losses on retain and on adjacent stories; forget stories have weight 1."""
    batch_tokens: int = 256
    """Tokens that are drawn from each set of stories per step, or all if there are fewer."""
    seed: int = 0
    """Seed of the draw of tokens."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch_tokens < 1:
            raise ValueError(
                f"steps {self.steps} and batch_tokens {self.batch_tokens} were given: give 0 or "
                "more and 1 or more"
            )
        if self.learning_rate <= 0 or self.retain_weight < 0:
            raise ValueError(
                f"learning_rate {self.learning_rate} and retain_weight {self.retain_weight} were "
                "given: give one above 0 and one from 0 on"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamConfig:
    """The size of an exam.

    Raises:
        ValueError: if a number is below 1.
    """

    stories: int = 64
    """Number of stories for each split; other sections of an exam have a quarter of that."""
    rounds: int = 2
    """Number of questions about each fact, each in another story."""
    questions: int | None = None
    """Maximum number of questions in a section, drawn at random; None asks all."""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """How the output bias for calibrated losses is trained."""

    def __post_init__(self) -> None:
        asked = 1 if self.questions is None else self.questions
        if min(self.stories, self.rounds, asked) < 1:
            raise ValueError(
                f"an exam of {self.stories} stories, {self.rounds} rounds and {asked} questions "
                "was asked for: give 1 or more of each"
            )
