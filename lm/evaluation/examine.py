"""A model's report: its losses and scores in each section of an exam, as one flat table."""

from torch import Tensor

from lm.evaluation.calibration import CalibrationConfig, calibrate
from lm.evaluation.exam import Exam, Section
from lm.evaluation.losses import Losses, losses
from lm.evaluation.quiz import score
from lm.model.language_model import LanguageModel

Report = dict[str, float]
"""Figures by name."""


def examine(model: LanguageModel, exam: Exam, bias: Tensor | None = None) -> Report:
    """Return a model's losses and scores in all sections.

    Of a section `forget`: `forget_loss` and `forget_fact_loss` in nats, and the shares of right
    answers `mcq_forget`, `mcq_forget_control` and `cloze_forget`. Of a split also its floor,
    `forget_floor`. `fact_guess_loss` is the loss of guessing a value. What an exam does not ask,
    such as facts where none are known, is not in the report.

    Args:
        model: read where it is, without routes.
        exam: the sections.
        bias: [v], added to the logits; none by default.
    """
    report: Report = {}
    for name, section in exam.sections.items():
        report |= examine_section(model, name, section, bias)
    floors = {f"{name}_floor": nats for name, nats in exam.floors.items()}
    return report | floors | ({} if exam.guess is None else {"fact_guess_loss": exam.guess})


def examine_section(
    model: LanguageModel, name: str, section: Section, bias: Tensor | None = None
) -> Report:
    """Return a model's losses and scores in one section, by the names that `examine` gives them."""
    report = _told(name, losses(model, section.rows, bias))
    if section.quiz is None:
        return report
    choice, control, cloze = score(model, section.quiz, bias)
    return report | {
        f"mcq_{name}": choice,
        f"mcq_{name}_control": control,
        f"cloze_{name}": cloze,
    }


def examine_calibrated(
    model: LanguageModel, exam: Exam, config: CalibrationConfig | None = None
) -> Report:
    """Return a model's losses in the splits with an output bias that is trained first.

    Of a split `forget`: `forget_calibrated_loss` and `forget_calibrated_fact_loss`, in nats. The
    bias is trained on other stories than those it is read on.

    Args:
        model: it stays as it is.
        exam: the sections, and stories to calibrate on.
        config: how to train the bias.
    """
    practice = exam.practice
    others = [practice[name] for name in ("retain", "adjacent") if name in practice]
    bias = calibrate(
        model, practice["forget"], others[0], others[1] if others[1:] else None, config
    )
    report: Report = {}
    for name in practice:
        report |= _told(f"{name}_calibrated", losses(model, exam.sections[name].rows, bias))
    return report


def _told(name: str, found: Losses) -> Report:
    facts = {} if found.facts is None else {f"{name}_fact_loss": found.facts}
    return {f"{name}_loss": found.loss, **facts}
