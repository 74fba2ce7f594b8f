"""Language models on the routing core: a GPT, its routes, expansion and ablation, and training."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the module of the command is called as this function
    from lm.api import unlearn as unlearn
