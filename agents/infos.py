"""From the infos of a vector environment, masked arrays, to one dictionary for each lane."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Info = dict[str, Any]


def fill(listed: list[Info] | dict[int, Info], infos: Mapping[str, Any], lanes: list[int]) -> None:
    """Give each of some lanes its entry of everything in a vector environment's `infos`.

    A key belongs to the lanes of its mask `_key`, and to all of them where it has none: then an
    array or a list gives each lane its row, and anything else is given whole. Dictionaries are
    filled in the same way.

    Args:
        listed: The dictionary of each lane, written to.
        infos: Of Gymnasium's vector environments.
        lanes: The lanes to fill.

    >>> listed = [{}, {}]
    >>> fill(listed, {"speed": np.array([1, 2]), "_speed": np.array([True, False])}, [0, 1])
    >>> listed
    [{'speed': np.int64(1)}, {}]
    """
    for name, values in infos.items():
        if name[:1] == "_" and name[1:] in infos:
            continue
        mask = infos.get(f"_{name}")
        chosen = lanes if mask is None else [lane for lane in lanes if mask[lane]]
        if isinstance(values, dict):
            inside: dict[int, Info] = {lane: {} for lane in chosen}
            fill(inside, values, chosen)
            for lane in chosen:
                listed[lane][name] = inside[lane]
            continue
        rows = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        for lane in chosen:
            listed[lane][name] = values[lane] if rows else values


def observed_lanes(infos: Mapping[str, Any], num_envs: int) -> Any:  # noqa: ANN401
    """Return whether each lane's step was observed, [n], or None where none was."""
    observed = infos.get("observed")
    if observed is None:
        return None
    # arrays of objects hold None in the lanes that said nothing
    flags = np.asarray(observed, dtype=np.bool_)
    if "_observed" in infos:
        flags = flags & infos["_observed"]
    return np.broadcast_to(flags, num_envs) if flags.any() else None
