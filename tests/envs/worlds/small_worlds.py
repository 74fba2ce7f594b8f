"""Arguments of a small board of each world, with the shortest horizon that it may have."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "CornerMaze-v0": {"size": 4, "horizon": 6},
    "SideRunner-v0": {"rows": 3, "columns": 4, "horizon": 6},
    "KeysChests-v0": {"size": 3, "keys": 1, "horizon": 8},
    "ColorShape-v0": {"size": 4, "horizon": 5},
    "AbsentSupervisor-v0": {"size": 3, "horizon": 6},
}
