"""The methods by name, as `lm.methods` names them, and settings as they have them."""

from collections.abc import Callable
from typing import Any

from lm.model.language_model import LanguageModel
from lm.posthoc.graddiff import graddiff
from lm.posthoc.npo import npo
from lm.posthoc.rmu import rmu
from lm.posthoc.simnpo import simnpo
from lm.task import Texts

Unlearn = Callable[[LanguageModel, Texts, Texts, Any, int, int], LanguageModel]
"""From a model, stories to forget, others, the method's own settings, batch size and seed."""

POSTHOC: dict[str, Unlearn] = {"rmu": rmu, "graddiff": graddiff, "npo": npo, "simnpo": simnpo}
"""What each does to a trained model; a copy comes back."""
