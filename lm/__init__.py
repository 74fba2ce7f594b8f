"""Language models on the routing core: a GPT, its routes, expansion and ablation, and training.

`from lm import unlearn` is the module of the command `python -m lm.unlearn`, which can be called as
the function `lm.api.unlearn`. A function of that name in this file would be replaced by the module
as soon as anything imported the command; the module is the same object in any order of imports, and
imports PyTorch only when it is called.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers see the function
    from lm.api import unlearn as unlearn
