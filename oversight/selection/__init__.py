"""Which checkpoint to deploy: the last one, or one chosen by a score, with the score's source told.

- `last`: training ends, and that is it.
- `observed`: early stopping and checkpoint choice on held-out observed episodes, `HeldOut`.
- `leaky`: the best true return in the evaluations during training. It peeks, and is there to show
  the size of the leak.
"""

from oversight.selection.held_out import HeldOut, observed_returns
from oversight.selection.kept import RULES, Kept, Rule, Weights

__all__ = ["RULES", "HeldOut", "Kept", "Rule", "Weights", "observed_returns"]
