"""Methods of a user's own: recorded in the run's folder, so that any process can evaluate the run.

A run names its method, and a method that a user's program adds to `agents.METHODS` is in no other
process. What evaluation needs of it, its network and its table, is data: it is written to
`method.json` and read back, and nothing is imported. Resuming needs the program's own functions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from agents import METHODS, Method, method
from agents.methods import BUILT_IN
from agents.network import Network
from oversight.routing import RouteTable
from oversight.runs.folder import RunFolder, read_json, write_json


def method_file(folder: RunFolder) -> Path:
    """Return the file of a run that records a method of the user's own."""
    return folder.path / "method.json"


def record_method(folder: RunFolder, name: str) -> None:
    """Record the method of a run, unless every process has it."""
    chosen = method(name)
    if BUILT_IN.get(name) is chosen:
        return
    data = {
        "name": name,
        "summary": chosen.summary,
        "reward": chosen.reward,
        "table": chosen.table.as_dict(),
        "network": asdict(chosen.network),
    }
    write_json(method_file(folder), data)


@contextmanager
def recorded_method(folder: RunFolder) -> Iterator[None]:
    """Add the method that a run has recorded, if any, to `METHODS` inside this context.

    It serves evaluation only: it has the run's network, but none of the method's functions. A
    method of that name that the running program has added itself stays.

    Raises:
        ValueError: if the record is damaged.
    """
    if not method_file(folder).exists():
        yield
        return
    recorded = read_method(method_file(folder))
    before = dict(METHODS)
    if METHODS.get(recorded.name) is BUILT_IN.get(recorded.name):
        METHODS[recorded.name] = recorded
    try:
        yield
    finally:
        METHODS.clear()
        METHODS.update(before)


def read_method(path: Path) -> Method:
    """Return a recorded method.

    Raises:
        ValueError: if the file is not one that `record_method` wrote.
    """
    data = read_json(path)
    try:
        network = Network(**data.pop("network"))
        table = RouteTable(data.pop("table"))
        return Method(**data, table=table, network=network)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not the record of a method: {error}") from error
