"""One run: a model is trained by a method, cut, repaired, examined on the way, and attacked."""

from lm.experiment.config import UnlearnConfig
from lm.experiment.run import assist, run_method

__all__ = ["UnlearnConfig", "assist", "run_method"]
