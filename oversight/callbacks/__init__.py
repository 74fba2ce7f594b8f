"""SB3 callbacks of a training run: its progress, its curves, its choices and its checkpoints."""

from oversight.callbacks.budget import OversightBudget
from oversight.callbacks.checkpoints import Checkpoints
from oversight.callbacks.curves import RouteCurves
from oversight.callbacks.evaluations import Evaluations
from oversight.callbacks.progress import Progress

__all__ = ["Checkpoints", "Evaluations", "OversightBudget", "Progress", "RouteCurves"]
