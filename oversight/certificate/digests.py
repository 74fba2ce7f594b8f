"""Digests of values of any type: two values share one only if they are the same, bit for bit.

Order, types and everything inside count: the order of a mapping's keys, whether a sequence is a
list or a tuple, what lies under the mask of a masked array, and what a function has enclosed.
"""

import hashlib
import random
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from enum import Enum
from functools import partial
from io import BytesIO
from logging import Logger
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Literal
from weakref import CallableProxyType, ProxyType, ReferenceType

import numpy as np
import torch
from matplotlib.figure import Figure

SCALARS = frozenset({int, str, bytes, bool, complex, type(None), type(Ellipsis)})
ARRAYS = (np.ndarray, np.generic, torch.Tensor)
NAMED = (type, ModuleType, torch.dtype, torch.device, np.dtype)
REFERENCES = (ReferenceType, ProxyType, CallableProxyType)
USUAL = frozenset({dict, list, tuple, set, OrderedDict})  # what most containers are
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not one of the interpreter's own types

Opaque = Literal["refused", "by class"]


def digest_of(value: object, name: str, opaque: Opaque = "refused") -> bytes:
    """Return the digest of a value.

    Args:
        value: of any type; objects are distinguished by their classes and attributes.
        name: of the value, for errors.
        opaque: what happens to an object that has neither attributes nor a pickle, such as a lock.

    Raises:
        ValueError: if it holds an opaque object, and these are refused.
    """
    digester = _Digester(name, opaque)
    digester.add(value)
    return digester.hash.digest()


class _Digester:
    """Adds values to one hash: each part with its type, and its length or its end.

    Attributes:
        hash: of all parts so far.
    """

    def __init__(self, name: str, opaque: Opaque) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        self.name, self.opaque = name, opaque
        self.open: list[int] = []  # the containers that are being added, by their ids
        self.known: dict[int, tuple[int, object]] = {}  # objects that were added, kept alive

    def mark(self, *words: object) -> None:
        """Add words that begin a part."""
        self.hash.update(("\0".join(map(str, words)) + "\0\0").encode("utf-8", "surrogatepass"))

    def add(self, value: Any) -> None:  # noqa: ANN401
        """Add a value of any type."""
        kind = type(value)
        if kind in SCALARS:
            return self.hash.update(f"{kind.__name__}\0{value!r}\0\0".encode())
        if kind is float:  # by its bits, since NaNs differ in theirs
            return self.hash.update(b"float\0" + struct.pack("<d", value))
        if kind in USUAL:
            if not value:
                return self.mark("empty", _path(kind))
        elif self._add_leaf(value):
            return None
        if id(value) in self.open:
            return self.mark("cycle", len(self.open) - self.open.index(id(value)))
        self.open.append(id(value))
        self._add_container(value)
        self.open.pop()
        return None

    def _add_leaf(self, value: Any) -> bool:  # noqa: ANN401
        """Add a value that needs no look inside, and return whether it is one."""
        if isinstance(value, ARRAYS):
            self._add_array(value)
        elif isinstance(value, Enum):
            self.mark("enum", _path(type(value)), value.name)
        elif isinstance(value, NAMED):
            self.mark("named", _path(value) if isinstance(value, type) else repr(value))
        elif isinstance(value, REFERENCES):
            self.mark("weak reference")  # no pickle and no copy reaches through it
        else:
            return False
        return True

    def _add_container(self, value: Any) -> None:  # noqa: ANN401
        """Add what holds other values, which may hold it in turn."""
        kind = type(value)
        if isinstance(value, list | tuple | deque):
            self.mark(getattr(value, "maxlen", None))
            self._add_all(kind, value, len(value))
        elif isinstance(value, Mapping):
            self._add_all(kind, (part for pair in _items(value) for part in pair), len(value))
        elif isinstance(value, Set):  # has no order
            self._add_all(kind, sorted(self._digest_alone(part) for part in value), len(value))
        elif isinstance(value, FunctionType | MethodType | partial | CodeType):
            self._add_all(kind, parts := _parts_of_function(value), len(parts))
        else:
            self._add_object(value)
            return
        if kind.__module__ not in ("builtins", "collections") and hasattr(value, "__dict__"):
            self._add_attributes(value)

    def _add_all(self, kind: type, parts: Iterable[object], number: int) -> None:
        self.mark(_path(kind), number)
        for part in parts:
            self.add(part)

    def _add_array(self, value: Any) -> None:  # noqa: ANN401 (of NumPy or PyTorch)
        self.mark(_path(type(value)))
        if isinstance(value, torch.Tensor):
            self.mark("gradient", value.requires_grad, value.dtype)
            value = value.detach().cpu()
            value = (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()
        self.mark(value.dtype.descr if value.dtype.names else value.dtype.str, value.shape)
        if isinstance(value, np.ma.MaskedArray):
            self.add([np.ma.getmask(value), value.fill_value])
            value = value.data
        if value.dtype.hasobject:
            self.add(np.asarray(value).ravel().tolist())
        else:
            self.hash.update(np.ascontiguousarray(value).tobytes())

    def _add_object(self, value: Any) -> None:  # noqa: ANN401
        """Add an object of a class that this module does not know."""
        if id(value) in self.known:
            return self.mark("again", self.known[id(value)][0])
        self.known[id(value)] = len(self.known), value
        self.mark("object", _path(type(value)))
        state = generator_state(value)
        if isinstance(value, Figure):
            drawn = BytesIO()
            value.savefig(drawn, format="rgba")
            return self.add(drawn.getvalue())
        if state is not None:
            return self.add(state)
        if isinstance(value, Logger):  # the tree of loggers is not a part of it
            return self.mark(value.name)
        if hasattr(value, "__dict__") or _slots(value):
            self._add_attributes(value)
        is_plain = _is_plain(type(value)) and type(value) is not object
        return None if is_plain else self._add_pickled(value)

    def _add_attributes(self, value: object) -> None:
        found = dict(vars(value)) if hasattr(value, "__dict__") else {}
        found |= {name: getattr(value, name) for name in _slots(value) if hasattr(value, name)}
        self._add_all(dict, (part for pair in _items(found) for part in pair), len(found))

    def _add_pickled(self, value: Any) -> None:  # noqa: ANN401
        """Add what a pickle would hold."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:  # classes raise what they like
            if self.opaque == "refused":
                raise ValueError(
                    f"{self.name} holds an object of {_path(type(value))}, which cannot be "
                    "compared bit for bit: give numbers, strings, arrays, or objects that can be "
                    "pickled"
                ) from error
            return
        parts = reduced if isinstance(reduced, tuple) else (reduced,)
        listed = [list(each) if isinstance(each, Iterator) else each for each in parts]
        self._add_all(tuple, listed, len(listed))

    def _digest_alone(self, value: object) -> bytes:
        return digest_of(value, self.name, self.opaque)


def _items(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return keys and values; the entry `t` of an episode, beside `r` and `l`, is a duration.

    Monitors measure it. It is compared by its type.
    """
    if not {"r", "l", "t"} <= mapping.keys() or not _is_number(mapping["t"]):
        return list(mapping.items())
    return [(key, type(value) if key == "t" else value) for key, value in mapping.items()]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )


def _slots(value: object) -> list[str]:
    """Return the names of an object's attributes that are not in its `__dict__`."""
    named = [getattr(each, "__slots__", ()) for each in type(value).__mro__]
    flat = [name for names in named for name in ([names] if isinstance(names, str) else names)]
    return [name for name in flat if name not in ("__dict__", "__weakref__")]


def _is_plain(kind: type) -> bool:
    """Return whether all that an object of a class holds are its attributes.

    So it is for classes that are written in Python, down to `object`.
    """
    if kind is object:
        return True
    has_attributes = bool({"__dict__", "__slots__"} & vars(kind).keys())
    return (
        bool(kind.__flags__ & HEAP_TYPE)
        and (has_attributes or kind.__bases__ != (object,))
        and all(map(_is_plain, kind.__bases__))
    )


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _parts_of_function(value: Any) -> list[object]:  # noqa: ANN401
    """Return what a function computes with, as far as a pickle by value would hold it."""
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, CodeType):
        return [value.co_name, value.co_code, value.co_names, *value.co_consts]
    cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    attributes = {k: v for k, v in vars(value).items() if k != "__wrapped__"}
    defaults = [value.__defaults__, value.__kwdefaults__]
    return [value.__module__, value.__qualname__, value.__code__, *defaults, cells, attributes]


def _is_filled(cell: Any) -> bool:  # noqa: ANN401 (of a closure)
    try:
        return cell.cell_contents is not None or True
    except ValueError:  # it is empty
        return False


GENERATOR_STATES: dict[type, Callable[[Any], object]] = {
    random.Random: lambda generator: generator.getstate(),
    np.random.RandomState: lambda generator: generator.get_state(legacy=False),
    np.random.Generator: lambda generator: generator.bit_generator.state,
    np.random.BitGenerator: lambda generator: generator.state,
    torch.Generator: lambda generator: generator.get_state(),
}
"""How the state of a random generator is read."""


def generator_state(value: object) -> object | None:
    """Return the state of a random generator, or None if the value is something else.

    >>> generator_state(np.random.default_rng(0))["bit_generator"]
    'PCG64'
    """
    for kind, read in GENERATOR_STATES.items():
        if isinstance(value, kind):
            return read(value)
    return None
