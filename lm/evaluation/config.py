"""The settings of exams."""

from dataclasses import dataclass, field

from oversight.runs.settings import require_numbers


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
        require_numbers(self, "steps", "retain_weight", least=0)
        require_numbers(self, "batch_tokens", least=1)
        require_numbers(self, "learning_rate")


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
        require_numbers(self, "stories", "rounds", "questions", least=1)
