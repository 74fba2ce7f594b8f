"""A model's report: its losses and scores in each section of an exam, as one flat table."""

from torch import Tensor

from lm.evaluation.calibration import CalibrationConfig, calibrate
from lm.evaluation.exam import Exam
from lm.evaluation.losses import losses
from lm.evaluation.quiz import score
from lm.model.language_model import LanguageModel

Report = dict[str, float]
"""Figures by name."""


def examine(model: LanguageModel, exam: Exam, bias: Tensor | None = None) -> Report:
    """Return a model's losses and scores in all sections.

    Of a section `forget`: `forget_loss` and `forget_fact_loss` in nats, and the shares of right
    answers `mcq_forget`, `mcq_forget_control` and `cloze_forget`. Of a split also its floor,
    `forget_floor`. `fact_guess_loss` is the loss of guessing a value.

    Args:
        model: read where it is, without routes.
        exam: the sections.
        bias: [v], added to the logits; none by default.
    """
    report: Report = {}
    for name, section in exam.sections.items():
        loss, facts = losses(model, section.rows, bias)
        choice, control, cloze = score(model, section.quiz, bias)
        report |= {
            f"{name}_loss": loss,
            f"{name}_fact_loss": facts,
            f"mcq_{name}": choice,
            f"mcq_{name}_control": control,
            f"cloze_{name}": cloze,
        }
    floors = {f"{name}_floor": nats for name, nats in exam.floors.items()}
    return report | floors | {"fact_guess_loss": exam.guess}


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
        loss, facts = losses(model, exam.sections[name].rows, bias)
        report |= {f"{name}_calibrated_loss": loss, f"{name}_calibrated_fact_loss": facts}
    return report
