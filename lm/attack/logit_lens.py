"""The logit lens: what the output head reads in the residual stream before the last layer.

After nostalgebraist 2020, "interpreting GPT: the logit lens". Knowledge that late layers suppress
shows in earlier ones (Lucki et al. 2024, arXiv 2409.18025).
"""

from lm.attack.rows import FACTS, Row
from lm.evaluation.quiz import Quiz, score
from lm.model.language_model import LanguageModel


def logit_lens(model: LanguageModel, quiz: Quiz) -> list[Row]:
    """Return the share of questions that are answered right by what each layer leaves.

    That of the last layer is the model's own.
    """
    return [
        Row("logit-lens", {"layer": layer}, FACTS, score(model, quiz, layer=layer).choice)
        for layer in range(len(model.layers()))
    ]
