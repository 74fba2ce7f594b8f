"""The methods after training by name, and their settings as flags."""

from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

import tyro

from lm.posthoc.layered import LayeredRMU
from lm.posthoc.method import PostHoc
from lm.posthoc.outputs import NPO, GradDiff, MaxEnt, SimNPO
from lm.posthoc.representations import CIR, RMU

POSTHOC: dict[str, type[PostHoc]] = {
    each.name: each for each in (RMU, GradDiff, NPO, SimNPO, MaxEnt, CIR, LayeredRMU)
}
"""The methods by name, in the order of tables."""

_FIELDS: list[tuple[str, Any, Any]] = [
    (
        name.replace("-", "_"),
        Annotated[method, tyro.conf.arg(help=(method.__doc__ or "").split("\n")[0])],
        field(default_factory=method),
    )
    for name, method in POSTHOC.items()
]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostHocSettings(make_dataclass("_PostHocSettings", _FIELDS, frozen=True, kw_only=True)):  # type: ignore[misc] # made from the registry
    """The settings of all methods of `POSTHOC`, each in a field of its name, with `_` for `-`."""

    def method(self, name: str) -> PostHoc:
        """Return a method with its settings."""
        found: PostHoc = getattr(self, name.replace("-", "_"))
        return found
