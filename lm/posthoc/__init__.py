"""Methods that unlearn after training: RMU, CIR, layered RMU, and losses on outputs such as NPO.

Each method is one class: its fields are its settings (and the flags `--NAME.FIELD`), `summary` is
its sentence on model cards and help pages, and `train`, `objective` or `forget_loss` says what it
does. To add a method, write such a class and list it in `POSTHOC`; `lm.methods` makes it a method
by its name.
"""

from lm.posthoc.layered import LayeredRMU
from lm.posthoc.method import PostHoc
from lm.posthoc.outputs import NPO, GradDiff, MaxEnt, SimNPO
from lm.posthoc.registry import POSTHOC, PostHocSettings
from lm.posthoc.representations import CIR, RMU

__all__ = [
    "CIR",
    "NPO",
    "POSTHOC",
    "RMU",
    "GradDiff",
    "LayeredRMU",
    "MaxEnt",
    "PostHoc",
    "PostHocSettings",
    "SimNPO",
]
