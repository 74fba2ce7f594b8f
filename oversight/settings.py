"""Settings of many runs in one small file: what all share once, and what only some have."""

import json
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
"""By dotted names, such as `ppo.gamma`."""

VERSIONS = "versions."
"""What the names of versions of packages begin with."""

OWN = ("method", "oversight_probability", "seed", "run_dir", "commit")
"""What is each run's own; the rows of the results say it."""


def pack(settings: Mapping[str, Settings]) -> dict[str, Any]:
    """Return the settings of runs as one object; what a row of results says is left out.

    >>> pack({"a": {"seed": 0, "gamma": 0.5, "noise": 0}, "b": {"gamma": 0.5, "noise": 1}})
    {'shared': {'gamma': 0.5}, 'groups': [{'runs': ['a'], 'own': {'noise': 0}}, \
{'runs': ['b'], 'own': {'noise': 1}}]}
    """
    found = {run: _without_own(each) for run, each in settings.items()}
    texts = {
        run: {name: json.dumps(value) for name, value in each.items()}
        for run, each in found.items()
    }
    shared = set.intersection(*(set(each.items()) for each in texts.values())) if texts else set()
    names = {name for name, _ in shared}
    groups: dict[str, dict[str, Any]] = {}
    for run, each in found.items():
        own = {name: value for name, value in each.items() if name not in names}
        groups.setdefault(json.dumps(own), {"runs": [], "own": own})["runs"].append(run)
    first = next(iter(found.values()), {})
    common = {name: value for name, value in first.items() if name in names}
    return {"shared": common, "groups": list(groups.values())}


def unpack(data: Mapping[str, Any], source: object) -> dict[str, Settings]:
    """Return the settings of each run, from what `pack` made of them.

    Raises:
        ValueError: if it is something else; `source` is named.
    """
    try:
        return {
            str(run): {**data["shared"], **group["own"]}
            for group in data["groups"]
            for run in group["runs"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source} does not hold the settings of runs") from error


def differences(one: Settings, other: Settings) -> dict[str, tuple[Any, Any]]:
    """Return what two runs have set differently, method, level, seed and versions apart.

    >>> differences({"seed": 0, "gamma": 0.5}, {"seed": 1, "gamma": 0.9})
    {'gamma': (0.5, 0.9)}
    """
    left, right = _without_own(one), _without_own(other)
    return {
        name: (left.get(name), right.get(name))
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name) and not name.startswith(VERSIONS)
    }


def _without_own(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in OWN}
